package explain

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"peel/trace"
)

// arpConflict: two machines claim one address at the same time.
func arpConflict(t *facts) []*trace.Finding {
	claims := map[netip.Addr][]*trace.Event{} // a claim by each MAC in turn
	var order []netip.Addr
	for _, e := range t.Events {
		m := e.ARP
		if m == nil || m.Request && m.Sender != m.Target || m.Sender.IsUnspecified() || shared(m.SenderMAC) {
			continue
		}
		list := claims[m.Sender]
		if len(list) == 0 {
			order = append(order, m.Sender)
		} else if list[len(list)-1].ARP.SenderMAC == m.SenderMAC {
			list[len(list)-1] = e
			continue
		}
		if len(list) < 3 {
			claims[m.Sender] = append(list, e)
		}
	}
	var out []*trace.Finding
	for _, ip := range order {
		list := claims[ip]
		if len(list) < 2 {
			continue
		}
		a, b := list[0], list[1]
		how := "The first claims it again after the second did"
		evidence := []int{a.ID, b.ID}
		if len(list) == 3 {
			evidence = append(evidence, list[2].ID)
		}
		if len(list) < 3 || list[2].ARP.SenderMAC != a.ARP.SenderMAC {
			// One change alone is how a shared address moves to another machine.
			if trace.Elapsed(a.Time, b.Time) > trace.Duration(atOnce) {
				continue
			}
			how = "Both claim it within " + trace.Elapsed(a.Time, b.Time).String()
		}
		out = append(out, &trace.Finding{ID: ARPConflict, Severity: trace.Warning, Evidence: evidence,
			Title:       ip.String() + " is claimed by two machines: " + a.ARP.SenderMAC + " and " + b.ARP.SenderMAC,
			Explanation: how + ". Packets for the address reach one or the other by chance. A router that answers for others (proxy ARP) looks like this, too.",
			WhatToDo:    "Find the second machine by its MAC address; give it an address of its own.", Source: "RFC 5227"})
	}
	return out
}

// atOnce is how soon after one another two machines answer the same request.
const atOnce = time.Second

// shared tells whether a MAC is one that routers pass among themselves: VRRP
// (RFC 9568 §7.3), HSRP and GLBP.
func shared(mac string) bool {
	for _, p := range []string{"00:00:5e:00:01:", "00:00:5e:00:02:", "00:00:0c:07:ac:", "00:00:0c:9f:f", "00:07:b4:00:"} {
		if strings.HasPrefix(mac, p) {
			return true
		}
	}
	return false
}

// arpSilence: nobody answers for an address on this link. Silence is what a
// probe and an announcement hope for (RFC 5227 §2.1.1), and it tells nothing
// where the answer would have gone another way.
func arpSilence(t *facts) []*trace.Finding {
	asked := map[netip.Addr][]*trace.Event{}
	answered := map[netip.Addr]bool{}
	var order []netip.Addr
	for _, e := range t.Events {
		switch m := e.ARP; {
		case m == nil:
		case !m.Request || m.Sender == m.Target:
			answered[m.Sender] = true
		case m.Sender.IsUnspecified() || m.TargetSpoke || !m.Heard || m.Target.IsUnspecified():
		default:
			if asked[m.Target] == nil {
				order = append(order, m.Target)
			}
			asked[m.Target] = append(asked[m.Target], e)
		}
	}
	var out []*trace.Finding
	of := map[netip.Addr]*trace.Finding{} // the asker's
	more := map[netip.Addr]int{}
	for _, ip := range order {
		list := asked[ip]
		if answered[ip] || len(list) < 2 || trace.Elapsed(list[0].Time, list[len(list)-1].Time) < trace.Duration(arpPatience) {
			continue
		}
		asker := list[0].ARP.Sender
		if was := of[asker]; was != nil {
			more[asker]++
			was.Evidence = some(append(was.Evidence, pick(list, all)...))
			continue
		}
		of[asker] = &trace.Finding{ID: ARPSilence, Severity: trace.Warning, Evidence: pick(list, all),
			Title:       fmt.Sprintf("nobody answered %s, who asked %d times for %s on this link", asker, len(list), ip),
			Explanation: "No packet can be sent to an address whose machine is down, or which is not on this link at all: a wrong netmask makes a distant address look near.",
			WhatToDo:    "Check that the machine is up, and the netmask and route of the one who asks (ip route get " + ip.String() + ").", Source: "RFC 826"}
		out = append(out, of[asker])
	}
	for asker, n := range more {
		f := of[asker]
		f.Title += fmt.Sprintf(", and for %d more addresses", n)
	}
	return out
}

// arpPatience is how long an answer is waited for at least: the capture may end
// before it.
const arpPatience = 500 * time.Millisecond

func all(*trace.Event) bool { return true }
