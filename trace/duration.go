package trace

import (
	"fmt"
	"time"
)

// Duration is a length of time in nanoseconds.
type Duration int64

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Elapsed is the time from a to b; 0 where b is earlier, as a clock that was
// set back makes it seem.
func Elapsed(a, b Time) Duration { return Duration(max(b-a, 0)) }

// String returns d with three digits and a unit, such as "1.52 ms".
func (d Duration) String() string {
	switch v := d.Std(); {
	case v < 0:
		return "-"
	case v < time.Microsecond:
		return fmt.Sprintf("%d ns", int64(d))
	case v < time.Millisecond:
		return Three(float64(d)/1e3) + " µs"
	case v < time.Second:
		return Three(float64(d)/1e6) + " ms"
	}
	return Three(float64(d)/1e9) + " s"
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
