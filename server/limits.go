package server

import "time"

// Limits bound what a peer can make the server do. A zero field has the
// default named with it; the defaults are safe on the open Internet.
type Limits struct {
	// Connections at once, over all listeners; more wait until one ends.
	// 10,000.
	Connections int
	// HeaderBytes of a request's head. HTTP/1 counts the bytes; HTTP/2 counts
	// name, value and 32 for each field (RFC 9113 §6.5.2). More is answered
	// with 431. 16 KiB.
	HeaderBytes int
	// HeaderFields is how many fields a head may have. 100.
	HeaderFields int
	// Body is the length in bytes of the longest request body; more is
	// answered with 413. No limit.
	Body int64
	// Streams is how many streams an HTTP/2 peer may have open. 128.
	Streams int
	// Handlers is how many handlers may run at once for one connection, those
	// of streams that were reset included. 128.
	Handlers int
	// Unread is how many bytes of request bodies may lie unread by the
	// handlers of one HTTP/2 connection; a stream that brings more is reset.
	// 8 MiB.
	Unread int

	// Handshake is the time for TLS. 10 s.
	Handshake time.Duration
	// Header is the time for a request's head, from its first byte. 10 s.
	Header time.Duration
	// Idle is the time between requests. 75 s.
	Idle time.Duration
	// Stall is the time in which a peer must take or send at least something.
	// 30 s.
	Stall time.Duration
	// BodyRate is the mean rate in bytes per second that a request body must
	// keep up while it is waited for, after 30 s of waiting. 1,000.
	BodyRate int64
}

func (l Limits) withDefaults() Limits {
	or(&l.Connections, 10_000)
	or(&l.HeaderBytes, 16<<10)
	or(&l.HeaderFields, 100)
	or(&l.Streams, 128)
	or(&l.Handlers, 128)
	or(&l.Unread, 8<<20)
	or(&l.Handshake, 10*time.Second)
	or(&l.Header, 10*time.Second)
	or(&l.Idle, 75*time.Second)
	or(&l.Stall, 30*time.Second)
	or(&l.BodyRate, 1000)
	return l
}

func or[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// bodyPace watches that a request body comes fast enough. It counts only the
// time in which the handler waited for it.
type bodyPace struct {
	waited time.Duration
	got    int64
}

// allowance is for how long the next bytes may be waited for.
func (p *bodyPace) allowance(l *Limits) time.Duration {
	const grace = 30 * time.Second
	total := grace + time.Duration(p.got*int64(time.Second)/l.BodyRate)
	return min(total-p.waited, l.Stall)
}
