package tcp

import (
	"testing"

	"peel/clock"
)

// A clock that steps back within a connection, or a capture that is joined from
// several, gives no round trip.
func TestNoRoundTripIsNegative(t *testing.T) {
	for _, step := range []clock.Time{-122e9, 1 << 62} {
		var f Flow
		at := clock.Time(1e18)
		send := func(d int, seq, ack uint32, flags Flags, data string) {
			h := Header{Seq: seq, Ack: ack, Flags: flags, Window: 60000}
			b := make([]byte, h.Len(), h.Len()+len(data))
			h.Put(b, 1, 2)
			s, err := Parse(append(b, data...))
			if err != nil {
				t.Fatal(err)
			}
			f.Input(at, d, s, len(data))
		}
		send(0, 100, 0, SYN, "")
		send(1, 500, 101, SYN|ACK, "")
		at += step
		send(0, 101, 501, ACK, "")
		send(0, 101, 501, ACK, "hello")
		at -= step
		send(1, 501, 106, ACK, "")
		if f.ACKTime < f.SYNTime || f.MinRTT[0] < 0 || f.SumRTT[0] < 0 || f.initialRTT() < 0 {
			t.Errorf("step %d: handshake %d to %d, least %d, sum %d", step, f.SYNTime, f.ACKTime, f.MinRTT[0], f.SumRTT[0])
		}
	}
}
