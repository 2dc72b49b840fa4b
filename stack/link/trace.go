package link

import (
	"strconv"
	"time"

	"peel/clock"
	"peel/stack/packet"
)

// Verdict is what became of a frame at a place.
type Verdict uint8

const (
	_ Verdict = iota
	// Sent: its first bit left the place for the cable.
	Sent
	// Queued: it waited before the cable for Wait, which is over now.
	Queued
	// Delivered: its last bit came out of the cable and it was taken in.
	Delivered
	// Dropped: it ended here.
	Dropped
	// Duplicated: the cable will deliver it twice.
	Duplicated
	// Corrupted: bits were flipped on the way.
	Corrupted
	// Reordered: it was held back so that others can overtake it.
	Reordered
	// Flooded: a switch sent it out of all other ports.
	Flooded
	// Forwarded: a switch sent it out of one port.
	Forwarded
	// Translated: a host rewrote it (NAT, NAT64).
	Translated
)

var verdictNames = [...]string{"", "sent", "queued", "delivered", "dropped", "duplicated", "corrupted", "reordered", "flooded", "forwarded", "translated"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) && v > 0 {
		return verdictNames[v]
	}
	return "verdict " + strconv.Itoa(int(v))
}

// Reasons that cables and switches give.
const (
	ReasonLoss      = "lost at random"
	ReasonBurst     = "lost in a burst"
	ReasonNth       = "lost by count"
	ReasonRule      = "lost by rule"
	ReasonQueueFull = "queue full"
	ReasonCoDel     = "CoDel: waited too long for too long"
	ReasonMarked    = "CoDel: congestion experienced was marked"
	ReasonFCS       = "FCS error"
	ReasonMTU       = "larger than the MTU"
	ReasonDown      = "no carrier"
	ReasonCut       = "the cable was cut"
	ReasonNoPort    = "nothing at the end of the cable"
	ReasonPastFCS   = "bits flipped, with a right FCS"
	ReasonFlipped   = "bits flipped"
	ReasonHeld      = "held back"
	ReasonRunt      = "shorter than an Ethernet header"
	ReasonReserved  = "for this link only (IEEE 802.1Q §8.6.3)"
	ReasonSamePort  = "its destination is where it came from"
	ReasonLonely    = "no other port is up"
	ReasonStorm     = "storm: is there a loop?"
	ReasonMoves     = "its source moves too often: is there a loop?"
	ReasonBroadcast = "broadcast"
	ReasonMulticast = "multicast"
	ReasonUnknown   = "unknown destination"
)

// Hop is one frame at one place at one time.
type Hop struct {
	// Packet is the frame as it is there. It is valid only during the call.
	Packet *packet.Packet
	Time   clock.Time
	// Where is the name of a cable's end, or "a → b" for what happens between
	// two ends.
	Where   string
	Verdict Verdict
	Reason  string
	// Wait is how long it was in the queue (Queued, Dropped), or by how much
	// it is held back (Reordered).
	Wait time.Duration
}

// Observer watches a network. Observe must not change the packet.
type Observer interface {
	Observe(h Hop)
}

// Trace is where all places of a network report to: it gives watched packets
// their IDs and tells the observers. A nil Trace has none.
type Trace struct {
	last uint64
	taps []tap
}

type tap struct {
	o      Observer
	places map[string]bool
}

// Attach lets o observe the hops at those places, or everywhere.
func (t *Trace) Attach(o Observer, places ...string) {
	a := tap{o: o}
	if len(places) > 0 {
		a.places = map[string]bool{}
		for _, p := range places {
			a.places[p] = true
		}
	}
	t.taps = append(t.taps, a)
}

// Detach ends all that Attach did for o, which has to be comparable.
func (t *Trace) Detach(o Observer) {
	var keep []tap
	for _, a := range t.taps {
		if a.o != o {
			keep = append(keep, a)
		}
	}
	t.taps = keep
}

// Watching tells whether Report has anybody to tell.
func (t *Trace) Watching() bool { return t != nil && len(t.taps) > 0 }

// Report tells the observers of h. The packet gets an ID if it has none, also
// if nobody observes that very place: it is to be the same at the next.
func (t *Trace) Report(h Hop) {
	if !t.Watching() {
		return
	}
	if h.Packet.ID == 0 {
		t.last++
		h.Packet.ID = t.last
	}
	for i := range t.taps {
		if a := &t.taps[i]; a.places == nil || a.places[h.Where] {
			a.o.Observe(h)
		}
	}
}
