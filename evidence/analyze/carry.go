package analyze

import (
	"cmp"
	"slices"

	"peel/evidence/capture"
	"peel/trace"
)

// sent is a stretch of a stream with the packet that carried it.
type sent struct {
	offset int64
	packet uint32
	length uint32
	at     uint16
}

// maxSent bounds the map from a stream to its packets, per direction.
const maxSent = 1 << 20

// maxSentInAll bounds it for all connections together: 96 MB.
const maxSentInAll = 4 << 20

// carry remembers which packet carried which bytes.
func (f *flow) carry(p *packet, payload []byte) {
	if len(p.parts) == 0 {
		f.remember(p.dir, p.offset, p.id, p.payload.at, len(payload))
		return
	}
	head := len(p.tcp) - len(payload)
	for _, part := range p.parts {
		from := max(part.Offset, head)
		if n := part.Offset + part.Length - from; n > 0 {
			f.remember(p.dir, p.offset+int64(from-head), part.Packet, part.At+from-part.Offset, n)
		}
	}
}

// remember notes that n bytes of a stream from offset on stand in a packet from
// at on.
func (f *flow) remember(dir capture.Direction, offset int64, packet, at, n int) {
	if offset < 0 { // older than what the capture of this stream begins with
		skip := int(min(-offset, int64(n)))
		if offset, at, n = offset+int64(skip), at+skip, n-skip; n == 0 {
			return
		}
	}
	if len(f.sent[dir]) >= maxSent || f.a.wire.sent >= maxSentInAll {
		return
	}
	f.a.wire.sent++
	f.sent[dir] = append(f.sent[dir], sent{offset, uint32(packet), uint32(n), uint16(min(at, 65535))})
}

// finish fills in what the packets say.
func (f *flow) finish(t *trace.Connection) {
	s := &trace.Segments{Complete: f.analysis.Sides[0].SawSYN, OneWay: f.isOneWay(), Missing: f.missing, BadChecksums: f.bad[0] + f.bad[1], Offloaded: f.off, Conflicts: f.conflict}
	if f.analysis.SYNTime > 0 && f.analysis.ACKTime > 0 {
		s.HandshakeRTT = trace.Elapsed(trace.Time(f.analysis.SYNTime), trace.Time(f.analysis.ACKTime))
	}
	// The packets tell more exactly than the program that was told a number.
	if v := f.verdict(); v != nil && (t.Failure == nil || t.Connected == nil && f.refused || f.rejected != nil) {
		t.Failure = v
	}
	if f.rejected != nil && t.Connected == nil && !f.analysis.Sides[1].SawSYN {
		t.Rejected = f.rejected
	}
	for d, to := range []*trace.SegmentSide{&s.Client, &s.Server} {
		x := &f.analysis.Sides[d]
		*to = trace.SegmentSide{MAC: f.mac[d], TTL: f.ttl[d], ResetTTL: f.rstTTL[d], ISN: x.ISN, MSS: x.Options.MSS, WindowScale: -1, SACK: x.Options.SACKPermitted, Timestamps: x.Options.Timestamps,
			BadChecksums: f.bad[d], GoodChecksums: f.good[d], Segments: x.Segments, SYNs: x.SYNs, Bytes: x.Bytes, LargestSegment: x.MaxSegment, Retransmissions: min(x.Retransmissions, x.Segments), Fast: x.Fast, Spurious: x.Spurious, LongestWait: trace.Duration(x.LongestWait), DSACKs: x.DSACKs, Stalled: trace.Duration(x.Stalled), OutOfOrder: x.OutOfOrder,
			DuplicateACKs: x.DupAcks, ZeroWindows: x.ZeroWindows, WindowFull: x.WindowFulls, KeepAlives: x.KeepAlives, MinRTT: trace.Duration(f.analysis.MinRTT[d])}
		if x.SawSYN {
			to.WindowScale = int(x.Options.WindowScale)
		}
		if n := f.analysis.NRTT[d]; n > 0 {
			to.MeanRTT = trace.Duration(f.analysis.SumRTT[d]) / trace.Duration(n)
		}
	}
	acct := f.conn.account
	stream := t.BytesOut + t.BytesIn
	acct.Repeated = max(s.Client.Bytes+s.Server.Bytes-stream-f.missing, 0)
	f.conn.split(&acct, stream)
	rest(&acct)
	s.Account = acct
	t.Segments = s
	t.SentOut, t.SentIn = f.carried(0), f.carried(1)
	for _, list := range [][]trace.Sent{t.SentOut, t.SentIn} {
		for i := range list {
			t.LongestSent = max(t.LongestSent, list[i].Length)
		}
	}
}

func (f *flow) carried(d int) []trace.Sent {
	out := make([]trace.Sent, 0, len(f.sent[d]))
	for _, s := range f.sent[d] {
		// What is older than the stream as the capture has it stands nowhere in it.
		if skip := min(max(-s.offset, 0), int64(s.length)); skip < int64(s.length) {
			out = append(out, trace.Sent{Offset: s.offset + skip, Packet: int(s.packet), At: int32(s.at) + int32(skip), Length: int32(int64(s.length) - skip)})
		}
	}
	slices.SortStableFunc(out, func(a, b trace.Sent) int { return cmp.Compare(a.Offset, b.Offset) })
	return out
}
