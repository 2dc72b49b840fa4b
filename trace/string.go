package trace

import (
	"fmt"
	"net/netip"
	"strings"
)

// What follows prints a trace's types as a person reads them, in a log or in
// a test that failed; the views have words of their own. The receivers are
// values, so that %v prints a value and a pointer alike, and a nil pointer as
// "<nil>".

// String returns the length and the two events, such as
// "1.52 ms (event 16 → event 28)".
func (i Interval) String() string {
	return fmt.Sprintf("%v (event %d → event %d)", i.Duration, i.FromEvent, i.ToEvent)
}

// String returns the phases that took place, in their order.
func (t Timings) String() string {
	var parts []string
	for _, p := range []struct {
		name string
		i    *Interval
	}{{"blocked", t.Blocked}, {"dns", t.DNS}, {"connect", t.Connect}, {"ssl", t.SSL}, {"send", t.Send}, {"wait", t.Wait}, {"receive", t.Receive}, {"total", t.Total}} {
		if p.i != nil {
			parts = append(parts, p.name+" "+p.i.Duration.String())
		}
	}
	return strings.Join(parts, ", ")
}

// String returns who is connected, what is spoken and how much went each way.
func (c Connection) String() string {
	s := fmt.Sprintf("#%d %s", c.ID, c.Network)
	for i, a := range [...]netip.AddrPort{c.LocalAddr, c.RemoteAddr} {
		if i == 1 {
			s += " →"
		}
		if a.IsValid() {
			s += " " + a.String()
		} else {
			s += " ?"
		}
	}
	if c.Protocol != "" {
		s += ", " + string(c.Protocol)
	}
	s += fmt.Sprintf(", %d bytes out, %d in", c.BytesOut, c.BytesIn)
	if c.Failure != nil {
		s += ", " + c.Failure.String()
	}
	return s
}

// String returns the request, what came of it and how long that took.
func (x Exchange) String() string {
	s := fmt.Sprintf("%d %s %s: ", x.ID, x.Method, x.URL)
	switch {
	case x.Response != nil:
		s += fmt.Sprint(x.Response.Status)
	case x.Failure != nil:
		s += x.Failure.String()
	default:
		s += "no response"
	}
	if x.Protocol != "" {
		s += ", " + string(x.Protocol)
	}
	if x.Connection != 0 {
		s += fmt.Sprintf(" on connection #%d", x.Connection)
	}
	if x.Timings.Total != nil {
		s += ", " + x.Timings.Total.Duration.String()
	}
	return s
}

// String returns the severity, the ID and the title.
func (f Finding) String() string { return fmt.Sprintf("%s %s: %s", f.Severity, f.ID, f.Title) }

// String returns the layer, the code and what was seen.
func (f Failure) String() string { return fmt.Sprintf("%s %s: %s", f.Layer, f.Code, f.Seen) }
