// Package clock is time as the rest of peel sees it: a number that is handed
// in, never read. Engines take a Time; drivers get theirs from a Clock.
package clock

import (
	"math"
	"time"
)

// Time is an instant in nanoseconds since the Unix epoch. It never runs
// backwards within one Clock. The zero Time means "no time".
type Time int64

// Never is later than every instant: the deadline of something that waits
// for an event and for nothing else.
const Never Time = math.MaxInt64

// Add returns t+d. Adding to Never stays Never.
func (t Time) Add(d time.Duration) Time {
	if t == Never {
		return Never
	}
	return t + Time(d)
}

// Sub returns t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Std returns t as a time.Time in UTC.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)).UTC() }

// Clock tells the time. Real and virtual networks each bring their own.
type Clock interface {
	Now() Time
}

// Real is the machine's clock: the wall clock read once, then advanced by
// the monotonic clock, so that a step of the wall clock cannot reorder a
// trace. The zero Real is not usable; call NewReal.
type Real struct{ base time.Time }

// NewReal starts a real clock.
func NewReal() *Real { return &Real{base: time.Now()} }

// Now returns the current time.
func (r *Real) Now() Time { return Time(r.base.UnixNano() + int64(time.Since(r.base))) }

// Fixed is a clock that always tells the same time, for tests.
type Fixed Time

// Now returns f.
func (f Fixed) Now() Time { return Time(f) }
