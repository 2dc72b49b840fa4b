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

// Name is "pool.new".
func (*PoolNew) Name() string { return "pool.new" }

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

// Name is "pool.reuse".
func (*PoolReused) Name() string { return "pool.reuse" }

func (d *PoolReused) fields(c *codec) {
	word(c, &d.Protocol)
	c.duration(&d.Idle)
	c.text(&d.Waited)
}

// PoolWaited says that a request waits for a connection or a stream.
type PoolWaited struct{ Why string }

// Name is "pool.wait".
func (*PoolWaited) Name() string { return "pool.wait" }

func (d *PoolWaited) fields(c *codec) { c.text(&d.Why) }

func (d *PoolWaited) note() string { return d.Why }
