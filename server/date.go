package server

import (
	"sync/atomic"
	"time"

	"peel/clock"
)

// dateCache makes the Date field's value (RFC 9110 §5.6.7), once a second.
type dateCache struct{ last atomic.Pointer[dated] }

type dated struct {
	second int64
	text   string
}

func (d *dateCache) at(now clock.Time) string {
	second := int64(now) / int64(time.Second)
	if l := d.last.Load(); l != nil && l.second == second {
		return l.text
	}
	l := &dated{second, now.Std().Format("Mon, 02 Jan 2006 15:04:05 GMT")}
	d.last.Store(l)
	return l.text
}
