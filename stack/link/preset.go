package link

import (
	"fmt"
	"strings"
	"time"
)

// Preset is a way into the internet, as people call it. Numbers are one
// plausible household's, not a norm; each is justified where it stands.
type Preset struct {
	Name     string
	Down, Up Shape
}

// Presets returns all presets.
func Presets() []Preset {
	return []Preset{lan(), fibre(), adsl(), wifi(), fourG(), satellite()}
}

// PresetNamed returns the preset of that name.
func PresetNamed(name string) (Preset, error) {
	var names []string
	for _, p := range Presets() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Preset{}, fmt.Errorf("link: no preset %q; there are %s", name, strings.Join(names, ", "))
}

// lan is 30 m of gigabit fibre (1000BASE-T's five levels are not modelled). A switch's port holds some 100 kB.
func lan() Preset {
	m := Base1000X()
	s := m.Shape(30)
	s.Queue = QueueLimit{Bytes: 128 << 10}
	return Preset{"lan", s, s}
}

// fibre is GPON with a tariff of 1000/500 Mbit/s. Glass takes 5 µs/km, so
// the way to the provider is nothing; upstream waits for its grant (a frame of
// GPON is 125 µs, polling takes several: ITU-T G.984.3). 1500 bytes of payload.
// Aggregation at the provider uses AQM ever more; its queue is about 20 ms.
func fibre() Preset {
	return Preset{"fibre",
		Shape{Rate: 1000e6, Delay: 1500 * time.Microsecond, MTU: 1500, Queue: QueueLimit{Bytes: 2_500_000}},
		Shape{Rate: 500e6, Delay: 1500 * time.Microsecond, Jitter: Jitter{Spread: 300 * time.Microsecond}, MTU: 1500, Queue: QueueLimit{Bytes: 1_250_000}}}
}

// adsl is ADSL2+ (ITU-T G.992.5) at 16/1 Mbit/s: interleaving adds some 8 ms
// each way, ATM cells are not modelled beyond the rates being net of them. PPPoE takes
// 8 bytes of the MTU (RFC 2516 §7). The modem's queue is the classic bufferbloat:
// 128 kB upstream is one second.
func adsl() Preset {
	return Preset{"adsl",
		Shape{Rate: 16e6, Delay: 10 * time.Millisecond, Jitter: Jitter{Spread: time.Millisecond}, MTU: 1492, Queue: QueueLimit{Bytes: 256 << 10}},
		Shape{Rate: 1e6, Delay: 10 * time.Millisecond, Jitter: Jitter{Spread: time.Millisecond}, MTU: 1492, Queue: QueueLimit{Bytes: 128 << 10}}}
}

// wifi is a station of 802.11ac two rooms away. Aggregation makes 100 Mbit/s of
// goodput usual; contention with neighbours shows as jitter of some ms, in bursts
// that keep order as the block ACK does; retransmission leaves a small loss. Linux's mac80211
// keeps its queues with CoDel.
func wifi() Preset {
	s := Shape{Rate: 100e6, Delay: 1500 * time.Microsecond, Jitter: Jitter{Spread: 1500 * time.Microsecond, Distribution: Normal}, MTU: 1500,
		Loss: Loss{Burst: GilbertElliott{P: 0.0005, R: 0.3}}, Queue: QueueLimit{Packets: 1000, Discipline: CoDel, Target: 20 * time.Millisecond}}
	return Preset{"wifi", s, s}
}

// fourG is LTE: 40/15 Mbit/s at a fair place; a grant for uplink takes some 10 ms,
// HARQ repeats in 8 ms steps and RLC keeps order, so loss turns into jitter; the
// base station's queue is deep (about half a second). The MTU is below 1500, as
// it often is behind GTP tunnels.
func fourG() Preset {
	return Preset{"4g",
		Shape{Rate: 40e6, Delay: 20 * time.Millisecond, Jitter: Jitter{Spread: 5 * time.Millisecond, Distribution: Normal}, MTU: 1428, Loss: Loss{Probability: 0.0001}, Queue: QueueLimit{Bytes: 2_500_000}},
		Shape{Rate: 15e6, Delay: 25 * time.Millisecond, Jitter: Jitter{Spread: 8 * time.Millisecond, Distribution: Normal}, MTU: 1428, Loss: Loss{Probability: 0.0001}, Queue: QueueLimit{Bytes: 1_000_000}}}
}

// satellite is geostationary: up and down again is 2 × 35,786 km at least,
// 239 ms; slant range, framing and coding make 270; 50/5 Mbit/s is a common tariff.
// Rain comes in bursts.
func satellite() Preset {
	rain := Loss{Burst: GilbertElliott{P: 0.0001, R: 0.1, Bad: 0.5}}
	return Preset{"satellite",
		Shape{Rate: 50e6, Delay: 270 * time.Millisecond, Jitter: Jitter{Spread: 5 * time.Millisecond}, MTU: 1500, Loss: rain, Queue: QueueLimit{Bytes: 2_000_000}},
		Shape{Rate: 5e6, Delay: 270 * time.Millisecond, Jitter: Jitter{Spread: 15 * time.Millisecond}, MTU: 1500, Loss: rain, Queue: QueueLimit{Bytes: 500_000}}}
}
