package decision

import "net/netip"

// CaptureDamaged says that a place of a capture file could not be read.
type CaptureDamaged struct {
	// Text says what is wrong and where.
	Text string
	// Cut tells that the file ends there.
	Cut bool
}

// Name is "capture.damage".
func (*CaptureDamaged) Name() string { return "capture.damage" }

func (d *CaptureDamaged) fields(c *codec) {
	c.text(&d.Text)
	c.bool(&d.Cut)
}

func (d *CaptureDamaged) note() string { return d.Text }

// CaptureDropped says that the capturing program was too slow.
type CaptureDropped struct {
	// Packets is how many are missing.
	Packets int64
	// Where names the interface; empty when it is all of them.
	Where string
}

// Name is "capture.dropped".
func (*CaptureDropped) Name() string { return "capture.dropped" }

func (d *CaptureDropped) fields(c *codec) {
	c.int64(&d.Packets)
	c.text(&d.Where)
}

// CaptureNames is what a capture file says about the names of addresses.
type CaptureNames struct{ Hosts []HostNames }

// HostNames is the names of one address.
type HostNames struct {
	IP    netip.Addr
	Names []string
}

// Name is "capture.names".
func (*CaptureNames) Name() string { return "capture.names" }

func (d *CaptureNames) fields(c *codec) {
	list(c, &d.Hosts, func(c *codec, h *HostNames) {
		c.addr(&h.IP)
		c.texts(&h.Names)
	})
}

// CaptureComment is a remark about a capture file as a whole.
type CaptureComment struct{ Text string }

// Name is "capture.comment".
func (*CaptureComment) Name() string { return "capture.comment" }

func (d *CaptureComment) fields(c *codec) { c.text(&d.Text) }

func (d *CaptureComment) note() string { return d.Text }
