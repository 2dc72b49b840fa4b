package decision

import (
	"fmt"
	"net/netip"

	"peel/trace"
)

// CaptureDamaged says that a place of a capture file could not be read.
type CaptureDamaged struct {
	// Text says what is wrong and where.
	Text string
	// Cut tells that the file ends there.
	Cut bool
}

// Name is trace.EventCaptureDamage.
func (*CaptureDamaged) Name() trace.EventName { return trace.EventCaptureDamage }

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

// Name is trace.EventCaptureDropped.
func (*CaptureDropped) Name() trace.EventName { return trace.EventCaptureDropped }

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

// Name is trace.EventCaptureNames.
func (*CaptureNames) Name() trace.EventName { return trace.EventCaptureNames }

func (d *CaptureNames) fields(c *codec) {
	list(c, &d.Hosts, func(c *codec, h *HostNames) {
		c.addr(&h.IP)
		c.texts(&h.Names)
	})
}

// CaptureFormat says that a file has decisions that were stored in a format
// that this version does not read.
type CaptureFormat struct {
	// Format is that of the file, Known the one that is read.
	Format, Known uint32
}

// Name is trace.EventCaptureFormat.
func (*CaptureFormat) Name() trace.EventName { return trace.EventCaptureFormat }

func (d *CaptureFormat) fields(c *codec) {
	c.uint32(&d.Format)
	c.uint32(&d.Known)
}

func (d *CaptureFormat) note() string {
	return fmt.Sprintf("what was decided is stored in format %d, and this version reads format %d: requests, lookups and connections are told by their packets alone", d.Format, d.Known)
}

// CaptureComment is a remark about a capture file as a whole.
type CaptureComment struct{ Text string }

// Name is trace.EventCaptureComment.
func (*CaptureComment) Name() trace.EventName { return trace.EventCaptureComment }

func (d *CaptureComment) fields(c *codec) { c.text(&d.Text) }

func (d *CaptureComment) note() string { return d.Text }
