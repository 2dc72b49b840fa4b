package analyze

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/trace"
)

// nameBook joins questions and answers seen in packets to lookups, where no
// decision tells of them.
type nameBook struct {
	asked keeping[askKey, *asked]
	open  keeping[client, *lookup]
	// gave holds the last lookups of a client that gave an address.
	gave keeping[given, []*lookup]
	// cut are lookups with an answer that was cut short, by whom to ask again
	// over TCP.
	cut keeping[cutKey, *lookup]
	// answered are the clients that some answer was seen to reach.
	answered keeping[netip.Addr, struct{}]
	// group holds by name what was asked of everybody on the link.
	group keeping[client, *lookup]
	// forgotten counts questions that were let go while their answer might
	// still have come.
	forgotten int
}

// client is who asks for a name.
type client struct {
	addr netip.Addr
	name string
	kind trace.LookupKind
}

type given struct{ client, addr netip.Addr }

type cutKey struct {
	client netip.Addr
	server netip.AddrPort
}

// Bounds of the book. Past them the oldest entries go.
const (
	maxQuestions = 1 << 16
	maxNames     = 1 << 16
	// maxGave bounds the names that are kept of one address.
	maxGave = 16
	// maxFound bounds the addresses of a lookup.
	maxFound = 256
)

// How long what a client asks for one name belongs to one lookup: while a
// question is open, as long as resolvers wait before they ask again; and
// otherwise as long as another type follows.
const (
	sameLookup  = clock.Time(5 * time.Second)
	stillAsking = clock.Time(30 * time.Second)
	longest     = clock.Time(2 * time.Minute)
)

func (a *Analyzer) newNameBook() nameBook {
	return nameBook{
		asked: newKeeping[askKey](maxQuestions, func(as *asked) {
			if !as.ended && a.now-as.at < stillAsking {
				a.wire.names.forgotten++
			}
		}),
		open: newKeeping[client, *lookup](maxNames, nil), gave: newKeeping[given, []*lookup](maxNames, nil),
		cut: newKeeping[cutKey, *lookup](1024, nil), answered: newKeeping[netip.Addr, struct{}](maxNames, nil),
		group: newKeeping[client, *lookup](maxNames, nil),
	}
}

// lookupFor returns the lookup that a question belongs to. t is when it was
// asked.
func (a *Analyzer) lookupFor(t clock.Time, who client, q dns.Question, e *trace.Event) *lookup {
	book := &a.wireOf().names
	if l, ok := book.open.get(who); ok && l.goesOn(t, q.Type) {
		return l
	}
	l := a.newLookup(t)
	l.start = e
	l.client, l.tr.Kind = who.addr, who.kind
	l.tr.Client = who.addr
	l.tr.Name = strings.TrimSuffix(who.name, ".")
	if who.name == "." {
		l.tr.Name = "."
	}
	book.open.put(who, l)
	return l
}

// goesOn tells whether a question for a type belongs to the lookup.
func (l *lookup) goesOn(t clock.Time, typ dns.Type) bool {
	if l.handed || t-l.last > l.patience() || t-l.begun > longest {
		return false
	}
	if l.waits() {
		return true
	}
	for _, as := range l.asks {
		if as.q.Type == typ && as.settled {
			return false // it has its answer, and is asked for anew
		}
	}
	return true
}

// waits tells whether a question has no answer yet.
func (l *lookup) waits() bool { return l.unanswered > 0 }

// patience is how long after the last word something may follow.
func (l *lookup) patience() clock.Time {
	if l.waits() {
		return stillAsking
	}
	return sameLookup
}

// found notes addresses that an answer brought.
func (a *Analyzer) found(l *lookup, list []trace.Address) {
	book := &a.wireOf().names
	for _, ad := range list {
		if len(l.tr.Addresses) < maxFound && !slices.ContainsFunc(l.tr.Addresses, func(o trace.Address) bool { return o.IP == ad.IP }) {
			l.tr.Addresses = append(l.tr.Addresses, ad)
		}
		key := given{l.client, ad.IP}
		names, _ := book.gave.get(key)
		names = slices.DeleteFunc(slices.Clone(names), func(o *lookup) bool { return o == l || o.tr.Name == l.tr.Name && !o.used })
		if len(names) == maxGave {
			names = names[1:]
		}
		book.gave.put(key, append(names, l))
	}
}

// resolved returns the lookups by which a client may have come to an address.
func (a *Analyzer) resolved(from, to netip.Addr) []*lookup {
	list, _ := a.wireOf().names.gave.get(given{from, to})
	return list
}

// resolvedFor returns the lookup that a request to host goes back to: of those that gave
// the address the one for that name, itself or with a suffix of a search list.
// Where the request does not tell its host, it is the last one.
func resolvedFor(list []*lookup, host string) *lookup {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	var best *lookup
	for _, l := range list {
		name := strings.ToLower(l.tr.Name)
		switch {
		case host == "", name == host:
			best = l
		case strings.HasPrefix(name, host+".") && (best == nil || strings.ToLower(best.tr.Name) != host):
			best = l
		}
	}
	return best
}

// tcpBegun takes the beginning of a TCP connection to a name server, which an
// answer that was cut short may be the reason of.
func (a *Analyzer) tcpBegun(c *conn, from netip.Addr, server netip.AddrPort) {
	w := a.wireOf()
	if l, ok := w.names.cut.get(cutKey{from, server}); ok && a.now-l.last <= sameLookup && l.again == nil && !l.handed {
		l.again = c
	}
}
