package trace

import (
	"fmt"
	"math"
	"time"
)

// Duration is a length of time in nanoseconds.
type Duration int64

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Elapsed is the time from a to b, and 0 where b is earlier: clocks step back,
// and captures are merged from several. What shows or sums up times takes it
// from here.
func Elapsed(a, b Time) Duration {
	switch d := Duration(b - a); {
	case b <= a:
		return 0
	case d < 0: // more than an int64 holds
		return math.MaxInt64
	default:
		return d
	}
}

// Share returns how much of a whole a part is, from 0 to 1, and 0 where there is
// no whole. A part that is more than the whole, as a packet can claim to be, is
// all of it.
func Share[N ~int64](part, whole N) float64 {
	if part <= 0 || whole <= 0 {
		return 0
	}
	return min(float64(part)/float64(whole), 1)
}

// String returns d with three digits and a unit, such as "1.52 ms".
func (d Duration) String() string {
	switch v := d.Std(); {
	case v < 0:
		return "-"
	case v < time.Microsecond:
		return fmt.Sprintf("%d ns", int64(d))
	case v < 999_500*time.Nanosecond: // what rounds to 1000 µs is 1.00 ms
		return Three(float64(d)/1e3) + " µs"
	case v < 999_500*time.Microsecond:
		return Three(float64(d)/1e6) + " ms"
	}
	switch s := d.Std().Seconds(); {
	case s < 1e5:
		return Three(s) + " s"
	case s < 1e7:
		return Three(s/3600) + " h"
	default:
		return Three(s/86400) + " d"
	}
}

// Three returns a number with three digits, which is what a person reads of a
// measurement.
func Three(v float64) string {
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
