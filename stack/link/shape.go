package link

import (
	"fmt"
	"time"
)

// Shape is what one direction of a cable does to frames. The zero Shape
// delivers all of them at once and whole.
type Shape struct {
	// Rate in bits per second; 0 is infinite, and then nothing ever queues.
	Rate int64
	// Medium says what a frame takes beside its own bytes; the zero Medium
	// adds nothing. Its Rate and Velocity do not count here: see
	// Medium.Shape.
	Medium Medium
	// Delay from the last bit sent to the last bit received.
	Delay  time.Duration
	Jitter Jitter
	Loss   Loss
	// Reorder holds frames back; Duplicate is the probability that a frame
	// comes twice; Corrupt flips bits.
	Reorder   Reorder
	Duplicate float64
	Corrupt   Corrupt
	// MTU is the largest payload of a frame in bytes, VLAN tags not counted;
	// 0 is any.
	MTU   int
	Queue QueueLimit
}

// Jitter makes Delay vary. Frames keep their order, so that a late one
// makes those behind it late too, unless Overtake is set.
type Jitter struct {
	// Spread is the most by which Delay varies up or down (Uniform) or the
	// standard deviation (Normal). A delay never becomes negative.
	Spread       time.Duration
	Distribution Distribution
	Overtake     bool
}

// Distribution is how chances are spread.
type Distribution uint8

const (
	Uniform Distribution = iota // all values within the spread are as likely
	Normal                      // a bell curve, the spread is its standard deviation
)

// Loss is the ways in which frames get lost on the cable: a frame is lost if
// any of them says so.
type Loss struct {
	Probability float64
	Burst       GilbertElliott
	// EveryNth loses the nth, 2nth, … frame since the shape was set.
	EveryNth int
	// Predicate is asked about each frame and must not keep or change it.
	Predicate func(frame []byte) bool
}

// GilbertElliott is loss in bursts (E. N. Gilbert 1960, E. O. Elliott 1963):
// a good and a bad state, with a step before each frame. In the long run
// P/(P+R) of the frames meet the bad state, for 1/R frames on average.
type GilbertElliott struct {
	// P is the probability of a step from good to bad, R of one back. P = 0
	// is no bursts.
	P, R float64
	// Good and Bad are the probabilities of loss in each state. Bad = 0 means 1.
	Good, Bad float64
}

// Reorder holds frames back.
type Reorder struct {
	Probability float64
	// Gap is how many frames overtake a frame that is held back; 0 lets it
	// come Delay later than its turn, whoever overtakes it.
	Gap int
	// Delay, when there is a Gap, is the longest that a frame is held back if
	// not enough others come; 0 is then 1 s.
	Delay time.Duration
}

// Corrupt flips bits in frames.
type Corrupt struct {
	Probability float64
	// Bits to flip in a frame, all different, at most 64; 0 means 1.
	Bits int
	// PastFCS lets the frame through, as when the memory of a switch is
	// broken, which then computes a right FCS over wrong bytes. Otherwise the
	// receiving port compares the FCS.
	PastFCS bool
}

// QueueLimit is the queue before a cable with a Rate.
type QueueLimit struct {
	// Packets and Bytes are the most that wait, without the one that is being
	// sent; 0 is no limit, but 1000 packets (as Linux's txqueuelen) if both are 0.
	Packets, Bytes int
	Discipline     Discipline
	// Target and Interval of CoDel; 0 is 5 ms and 100 ms (RFC 8289 §4).
	Target, Interval time.Duration
	// ECN lets CoDel mark packets whose transport can be told (ECT) instead of
	// dropping them.
	ECN bool
}

// Discipline decides what a queue drops.
type Discipline uint8

const (
	// DropTail drops what comes when the queue is full.
	DropTail Discipline = iota
	// CoDel also drops what has waited too long (RFC 8289).
	CoDel
)

// Check returns what is wrong with the shape.
func (s *Shape) Check() error {
	for _, p := range [...]struct {
		name string
		p    float64
	}{{"loss", s.Loss.Probability}, {"burst P", s.Loss.Burst.P}, {"burst R", s.Loss.Burst.R}, {"loss in the good state", s.Loss.Burst.Good},
		{"loss in the bad state", s.Loss.Burst.Bad}, {"reordering", s.Reorder.Probability}, {"duplication", s.Duplicate}, {"corruption", s.Corrupt.Probability}} {
		if !(p.p >= 0 && p.p <= 1) {
			return fmt.Errorf("link: probability of %s %v is not within 0 to 1", p.name, p.p)
		}
	}
	for _, n := range [...]struct {
		name string
		n    int64
		most int64
	}{{"rate", s.Rate, 1e13}, {"delay", int64(s.Delay), int64(24 * time.Hour)}, {"jitter", int64(s.Jitter.Spread), int64(24 * time.Hour)}, {"every nth", int64(s.Loss.EveryNth), 1 << 40},
		{"reorder gap", int64(s.Reorder.Gap), 1000}, {"reorder delay", int64(s.Reorder.Delay), int64(24 * time.Hour)}, {"corrupted bits", int64(s.Corrupt.Bits), 64}, {"MTU", int64(s.MTU), 65599},
		{"queue packets", int64(s.Queue.Packets), 1 << 30}, {"queue bytes", int64(s.Queue.Bytes), 1 << 40},
		{"CoDel target", int64(s.Queue.Target), int64(time.Hour)}, {"CoDel interval", int64(s.Queue.Interval), int64(time.Hour)}} {
		if n.n < 0 || n.n > n.most {
			return fmt.Errorf("link: %s %d is not within 0 to %d", n.name, n.n, n.most)
		}
	}
	if s.Jitter.Distribution > Normal {
		return fmt.Errorf("link: no distribution %d", s.Jitter.Distribution)
	}
	if s.Queue.Discipline > CoDel {
		return fmt.Errorf("link: no queueing discipline %d", s.Queue.Discipline)
	}
	return nil
}

// chance tells whether the shape draws random numbers.
func (s *Shape) chance() bool {
	return s.Loss.Probability > 0 || s.Loss.Burst != (GilbertElliott{}) || s.Jitter.Spread > 0 || s.Reorder.Probability > 0 || s.Duplicate > 0 || s.Corrupt.Probability > 0
}

// plain tells whether all frames fare alike and wait for none.
func (s *Shape) plain() bool {
	return s.Rate == 0 && !s.chance() && s.Loss.EveryNth == 0 && s.Loss.Predicate == nil
}
