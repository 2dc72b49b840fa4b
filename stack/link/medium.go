package link

import "time"

// Medium is the physical layer as a model: how fast bits come out, how fast
// they travel, what goes with each frame, and how they look.
type Medium struct {
	Name     string
	LineCode LineCode
	// Rate of the frame's own bits, per second; the line code's symbols are
	// faster (125 Mbaud for 100 Mbit/s).
	Rate int64
	// Velocity of the signal in metres per second.
	Velocity float64
	Framing  Framing
}

// Framing is what goes over the medium beside a frame's header and payload.
// The zero Framing is nothing.
type Framing struct {
	// Lead is bytes before the frame, FCS bytes after it; Min is what a frame
	// with FCS is padded to; Gap is bytes of silence after it.
	Lead, FCS, Min, Gap int
	// Access is the time to get hold of the medium for each frame.
	Access time.Duration
}

// bits until the last one of a frame of n bytes, and until the next frame.
func (f *Framing) bits(n int) (last, next int64) {
	last = int64(8 * (f.Lead + max(n+f.FCS, f.Min)))
	return last, last + int64(8*f.Gap)
}

// EthernetFraming is that of IEEE 802.3: preamble and SFD of 8 bytes (§3.2.1,
// §3.2.2), FCS, the minimum of 64 bytes (§4.4.2) and the gap of 96 bits.
func EthernetFraming() Framing { return Framing{Lead: 8, FCS: 4, Min: 64, Gap: 12} }

// LineCode turns bits into signals.
type LineCode uint8

const (
	// NoCode: there is no model of the signal.
	NoCode LineCode = iota
	// Manchester: 0 is high then low, 1 is low then high (IEEE 802.3 §7.3.1.1).
	Manchester
	// FourB5B: 4B/5B and MLT-3, unscrambled; as ScrambledFourB5B, but one can
	// read it.
	FourB5B
	// ScrambledFourB5B: 4B/5B, the stream cipher of x^11+x^9+1, MLT-3 (IEEE
	// 802.3 clauses 24 and 25).
	ScrambledFourB5B
	// EightB10B: 8b/10b (IEEE 802.3 clause 36).
	EightB10B
	// SixtyFourB66B: 64b/66b with the scrambler x^58+x^39+1 (clause 49).
	SixtyFourB66B
)

var codeNames = [...]string{"no line code", "Manchester", "4B/5B, MLT-3", "4B/5B, scrambled, MLT-3", "8b/10b", "64b/66b"}

func (c LineCode) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "unknown line code"
}

// Light is the velocity of light in vacuum, in metres per second.
const Light = 299_792_458

// Velocities: a twisted pair of category 5e carries signals at about two
// thirds of Light (IEEE 802.3 clause 14 demands at least 0.585; cables have
// 0.64 to 0.7), silica glass with its index of 1.468 at 0.681.
const (
	pairVelocity  = 0.66 * Light
	glassVelocity = Light / 1.468
)

// Base10T is 10BASE-T: Manchester on twisted pair, up to 100 m. Link pulses and the
// end-of-frame pulse (TP_IDL) are not modelled.
func Base10T() Medium {
	return Medium{"10BASE-T", Manchester, 10e6, pairVelocity, EthernetFraming()}
}

// Base100TX is 100BASE-TX on twisted pair, up to 100 m.
func Base100TX() Medium {
	return Medium{"100BASE-TX", ScrambledFourB5B, 100e6, pairVelocity, EthernetFraming()}
}

// Base1000X is 1000BASE-X on fibre: 1.25 Gbaud.
func Base1000X() Medium {
	return Medium{"1000BASE-X", EightB10B, 1e9, glassVelocity, EthernetFraming()}
}

// Base10GR is 10GBASE-R on fibre: 10.3125 Gbaud.
func Base10GR() Medium {
	return Medium{"10GBASE-R", SixtyFourB66B, 10e9, glassVelocity, EthernetFraming()}
}

// Radio is 802.11n on one stream of 20 MHz (MCS 7, 65 Mbit/s), much
// simplified: each frame pays for itself what a lone station pays on average (DIFS 34 µs,
// half of CWmin's 15 slots of 9 µs, 36 µs of PHY preamble, SIFS 16 µs and an ACK of
// 28 µs). No aggregation, no collisions, no retransmissions, no change of rate: those
// are left to Shape's Loss, Jitter and Rate. There is no model of OFDM, so no Symbols.
// The header of 802.11 with QoS and LLC is 34 bytes where Ethernet has 14.
func Radio() Medium {
	return Medium{"802.11n radio", NoCode, 65e6, Light, Framing{Lead: 20, FCS: 4, Access: 181500 * time.Nanosecond}}
}

// Media returns all media.
func Media() []Medium {
	return []Medium{Base10T(), Base100TX(), Base1000X(), Base10GR(), Radio()}
}

// Shape returns the shape of a good cable of that length.
func (m Medium) Shape(metres float64) Shape {
	return Shape{Rate: m.Rate, Medium: m, Delay: m.Propagation(metres)}
}

// Serialisation is the time from the first bit of the preamble to the last of
// the FCS for a frame of that many bytes, without FCS, and what it takes to get
// hold of the medium; rounded up to nanoseconds. The gap is not in it: see Gap.
func (m Medium) Serialisation(bytes int) time.Duration {
	last, _ := m.Framing.bits(bytes)
	return m.time(last) + m.Framing.Access
}

// Gap is the time between two frames.
func (m Medium) Gap() time.Duration { return m.time(int64(8 * m.Framing.Gap)) }

func (m Medium) time(bits int64) time.Duration {
	if m.Rate <= 0 {
		return 0
	}
	return time.Duration((bits*int64(time.Second) + m.Rate - 1) / m.Rate)
}

// Propagation is how long a signal travels.
func (m Medium) Propagation(metres float64) time.Duration {
	if m.Velocity <= 0 {
		return 0
	}
	return time.Duration(metres / m.Velocity * float64(time.Second))
}
