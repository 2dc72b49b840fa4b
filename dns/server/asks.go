package server

import (
	"net/netip"
	"sync"

	"peel/dns"
	"peel/dns/recursor"
)

// ask is a question on its way to the engine.
type ask struct {
	q         dns.Question
	from      netip.Addr
	unchecked bool
	done      func(*recursor.Result)
	quick     bool // done waits for nobody
}

// asks holds the questions that the engine has not come to, of each client in
// the order they came and of all clients in turn. It stays short unless the
// processor is too slow for what is asked.
type asks struct {
	some chan struct{} // there is something

	mu    sync.Mutex
	n     int
	lines map[netip.Prefix]*line
	turn  []*line // those with questions
}

type line struct {
	from netip.Prefix
	list []*ask
}

// maxAsks bounds the questions that the engine has not come to.
const maxAsks = 4096

// ask hands a question to the engine. Where all places are taken, the last
// question of whoever has most gives way.
func (d *Resolver) ask(a *ask) {
	if gone := d.asks.add(a); gone != nil {
		go gone.done(tooMany())
	}
}

func tooMany() *recursor.Result {
	const text = "too many questions at once"
	return &recursor.Result{Rcode: dns.RcodeServFail, Reason: text, Errors: []dns.ExtendedError{{Code: dns.EDEOther, Text: text}}}
}

func (s *asks) add(a *ask) (gone *ask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines == nil {
		s.lines = map[netip.Prefix]*line{}
	}
	p := recursor.Prefix(a.from)
	l := s.lines[p]
	if s.n >= maxAsks {
		most := s.turn[0]
		for _, o := range s.turn { // few have many: there are no more than maxAsks
			if len(o.list) > len(most.list) {
				most = o
			}
		}
		if most == l || len(most.list) == 1 {
			return a
		}
		last := len(most.list) - 1
		gone, most.list = most.list[last], most.list[:last]
		s.n--
	}
	if l == nil {
		l = &line{from: p}
		s.lines[p] = l
		s.turn = append(s.turn, l)
	}
	l.list = append(l.list, a)
	s.n++
	select {
	case s.some <- struct{}{}:
	default:
	}
	return gone
}

// next takes the question whose turn it is; nil when there is none.
func (s *asks) next() *ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 {
		return nil
	}
	l := s.turn[0]
	s.turn = s.turn[1:]
	a := l.list[0]
	l.list = l.list[1:]
	s.n--
	if len(l.list) > 0 {
		s.turn = append(s.turn, l)
	} else {
		delete(s.lines, l.from)
	}
	return a
}
