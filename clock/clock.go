// Package clock is time as the rest of peel sees it: a number that is handed
// in, never read. Engines take a Time; drivers get theirs from a Clock.
//
// # One engine contract
//
// An engine is a state machine that owns no clock, no socket and no goroutine.
// All of them are driven in the same words:
//
//   - now comes first in every call that depends on time, and never runs back.
//   - Input takes what arrived at now; what else can arrive has a name that
//     begins so (InputError: a socket brought no answer).
//   - Poll(now) does what is due and gives what to send. It may be called at
//     any time; where Input and a user's call give nothing themselves, it is
//     called after them.
//   - Deadline tells when to Poll again at the latest, if nothing arrives
//     before; where Poll gives that as its last result there is no Deadline of
//     its own. Never means: not before something arrives.
//
// stack/tcp, wire/http2, dns/recursor and dns/stub keep to it. What is to be
// sent comes as suits the protocol: as actions from Poll (the resolvers), through
// an Output that the connection was made with (tcp), or as bytes that are taken
// when the socket has room (http2's TakeOutput).
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
