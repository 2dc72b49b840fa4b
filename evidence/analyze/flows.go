package analyze

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"peel/evidence/capture"
	"peel/wire/tcp"
)

// reopened tells whether a SYN begins a new connection on the ports of f.
func (f *flow) reopened(p *packet, s tcp.Segment) bool {
	c := &f.analysis.Sides[0]
	if !c.SawSYN && f.analysis.Sides[1].SawSYN && f.relative[0] == s.Seq()+1 {
		return false // its SYN-ACK stands before it in the capture
	}
	return !c.SawSYN || c.ISN != s.Seq() || f.closed
}

// newFlow makes the flow of the current packet. Who is the client is told by
// the SYN, else guessed.
func (a *Analyzer) newFlow(w *wire, p *packet, s tcp.Segment) *flow {
	if len(w.flows) >= a.lim.Flows {
		a.expireFlows(w)
	}
	client, server := p.src, p.dst
	switch flags := s.Flags(); {
	case flags.Has(tcp.SYN | tcp.ACK):
		client, server = server, client
	case flags.Has(tcp.SYN):
	case serverSpeaks(p, s):
		client, server = server, client
	}
	socket, mine := w.bound[client.Port()]
	if mine {
		delete(w.bound, client.Port())
	} else {
		socket = a.unattributedSocket(w)
	}
	c := a.conn(socket)
	f := &flow{a: a, conn: c, client: addr{client.Addr().As16(), client.Port()}}
	c.flow = f
	f.streams[0] = tcp.NewAssembler(a.lim.TCP, side{f, capture.Out})
	f.streams[1] = tcp.NewAssembler(a.lim.TCP, side{f, capture.In})
	if !c.tr.LocalAddr.IsValid() {
		c.tr.LocalAddr, c.tr.RemoteAddr = client, server
	}
	if !mine {
		c.tr.Opened = a.time(a.now)
		c.resolved = a.resolved(client.Addr(), server.Addr())
		a.tcpBegun(c, client.Addr(), server)
	}
	return f
}

// firstUnattributed is past the socket numbers that decisions use.
const firstUnattributed = 1 << 20

// unattributedSocket numbers a connection that no decision names.
func (a *Analyzer) unattributedSocket(w *wire) uint32 {
	w.unattributed++
	if a.decisions {
		return firstUnattributed + w.unattributed
	}
	return w.unattributed
}

// serverSpeaks guesses, for a connection whose SYN was not captured, whether
// the sender of a segment is the server: by what it says, else by its port.
func serverSpeaks(p *packet, s tcp.Segment) bool {
	b := s.Payload()
	switch {
	case bytes.HasPrefix(b, []byte("HTTP/1.")):
		return true
	case bytes.HasPrefix(b, preface), looksLikeHTTP1(b) == yes:
		return false
	case len(b) > 5 && b[0] == 0x16 && b[1] == 3:
		return b[5] == 2 // ServerHello
	}
	return rank(s.SourcePort()) > rank(s.DestinationPort()) || rank(s.SourcePort()) == rank(s.DestinationPort()) && s.SourcePort() < s.DestinationPort()
}

// wellKnown is the rank of ports that a client does not take by chance, as it may
// that of a tunnel.
const wellKnown = 2

// rank says how likely a port is a server's.
func rank(port uint16) int {
	switch {
	case port == 80 || port == 443 || port == 8080 || port == 8443 || port == 53:
		return 3
	case port < 1024:
		return 2
	case port < 32768:
		return 1
	}
	return 0
}

// flowLife is how long a flow with no packets is kept when others need its
// place.
const flowLife = time.Minute

// expireFlows forgets flows: closed ones and idle ones, then the oldest quarter.
// The oldest goes first, so that the same capture gives the same trace.
func (a *Analyzer) expireFlows(w *wire) {
	type entry struct {
		key flowKey
		*flow
	}
	oldest := func(which func(*flow) bool) []entry {
		var list []entry
		for k, f := range w.flows {
			if which(f) {
				list = append(list, entry{k, f})
			}
		}
		slices.SortFunc(list, func(x, y entry) int {
			return cmp.Or(cmp.Compare(x.idle, y.idle), cmp.Compare(x.conn.tr.ID, y.conn.tr.ID))
		})
		return list
	}
	expire := func(list []entry) {
		for _, e := range list {
			e.close(a.now)
			delete(w.flows, e.key)
			a.forget(e.conn)
		}
	}
	expire(oldest(func(f *flow) bool { return f.closed || a.now.Sub(f.idle) > flowLife }))
	if len(w.flows) < a.lim.Flows {
		return
	}
	all := oldest(func(*flow) bool { return true })
	expire(all[:len(all)/4+1])
}

// forget lets go of a connection that is past the trace's limit and over.
func (a *Analyzer) forget(c *conn) {
	c.forgotten = true
	if a.cut.connections > 0 {
		delete(a.conns, c.socket)
	}
}
