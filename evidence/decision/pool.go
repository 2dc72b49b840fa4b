package decision

import (
	"time"

	"peel/trace"
)

// Protocol is the version of HTTP that a connection speaks.
type Protocol = trace.Protocol

// Protocols.
const (
	HTTP1 = trace.ProtocolHTTP11
	HTTP2 = trace.ProtocolHTTP2
)

// PoolNew says that a request needs a new connection.
type PoolNew struct {
	Why string
	// Waited says what was waited for before; empty when nothing was.
	Waited string
}

// Name is trace.EventPoolNew.
func (*PoolNew) Name() trace.EventName { return trace.EventPoolNew }

func (d *PoolNew) fields(c *codec) {
	c.text(&d.Why)
	c.text(&d.Waited)
}

func (d *PoolNew) note() string { return d.Why }

// PoolReused says that a request takes a connection that is open: the socket
// that the record names.
type PoolReused struct {
	Protocol Protocol
	// Idle is how long nobody used the connection; 0 on HTTP/2, where
	// requests share it.
	Idle time.Duration
	// Waited says what was waited for before; empty when nothing was.
	Waited string
}

// Name is trace.EventPoolReuse.
func (*PoolReused) Name() trace.EventName { return trace.EventPoolReuse }

func (d *PoolReused) fields(c *codec) {
	word(c, &d.Protocol)
	c.duration(&d.Idle)
	c.text(&d.Waited)
}

// PoolWaited says that a request waits for a connection or a stream.
type PoolWaited struct{ Why string }

// Name is trace.EventPoolWait.
func (*PoolWaited) Name() trace.EventName { return trace.EventPoolWait }

func (d *PoolWaited) fields(c *codec) { c.text(&d.Why) }

func (d *PoolWaited) note() string { return d.Why }
