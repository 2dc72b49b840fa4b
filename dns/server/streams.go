package server

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"peel/dns/recursor"
	"peel/internal/accept"
)

// streams are the connections of all listeners, by client. One client gets a
// tenth of all; and when all are taken, the connection of the largest client
// that has been idle for longest makes room (RFC 7766 §6.2.3, RFC 9210 §4.3).
type streams struct {
	limit int

	mu      sync.Mutex
	n       int
	clients map[netip.Prefix]*peers
	closed  uint64 // to make room, or refused
}

// peers are the connections of one client.
type peers struct {
	prefix netip.Prefix
	conns  map[*stream]struct{}
}

// stream is a connection.
type stream struct {
	conn net.Conn
	of   *peers
	// Under the lock of streams: queries that wait for their answer, and when
	// the last came or was answered.
	busy int
	last time.Time
}

const (
	maxIdle = 10 * time.Second
	minIdle = time.Second
	// fewStreams is how many a client always gets.
	fewStreams = 8
)

// defaultStreams is a share of the files that may be open.
func defaultStreams() int { return max(min(accept.Files()*2/5-8, 4000), fewStreams) }

func (s *streams) perClient() int { return max(s.limit/10, min(fewStreams, s.limit)) }

// enter counts a connection in; nil when there is no place for it.
func (s *streams) enter(c net.Conn, now time.Time) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	prefix := recursor.Prefix(a.Addr())
	p := s.clients[prefix]
	var full *peers
	switch {
	case p != nil && len(p.conns) >= s.perClient():
		full = p
	case s.n >= s.limit:
		for _, o := range s.clients {
			if full == nil || len(o.conns) > len(full.conns) {
				full = o
			}
		}
	}
	if full != nil {
		s.closed++
		old := full.idlest()
		if old == nil {
			return nil
		}
		s.remove(old)
		go old.conn.Close() // TLS says goodbye first, which may take time
		p = s.clients[prefix]
	}
	if p == nil {
		p = &peers{prefix: prefix, conns: map[*stream]struct{}{}}
		if s.clients == nil {
			s.clients = map[netip.Prefix]*peers{}
		}
		s.clients[prefix] = p
	}
	st := &stream{conn: c, of: p, last: now}
	p.conns[st] = struct{}{}
	s.n++
	return st
}

// idlest returns the connection of a client that has waited longest for a
// query; nil when all have answers under way.
func (p *peers) idlest() (old *stream) {
	for st := range p.conns {
		if st.busy == 0 && (old == nil || st.last.Before(old.last)) {
			old = st
		}
	}
	return old
}

func (s *streams) leave(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(st)
}

func (s *streams) remove(st *stream) {
	if _, ok := st.of.conns[st]; !ok {
		return
	}
	s.n--
	delete(st.of.conns, st)
	if len(st.of.conns) == 0 {
		delete(s.clients, st.of.prefix)
	}
}

// query notes that one came, or with -1 that it was answered.
func (s *streams) query(st *stream, n int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.busy += n
	st.last = now
}

// idle is how long a connection may say nothing: less when there are many.
func (s *streams) idle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := time.Duration(max(s.limit-s.n, 0))
	return max(min(maxIdle, 2*maxIdle*free/time.Duration(max(s.limit, 1))), minIdle)
}

// counts returns how many there are, and how many had to make room.
func (s *streams) counts() (n int, closed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n, s.closed
}
