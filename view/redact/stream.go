package redact

import (
	"bytes"

	"peel/trace"
)

// Stream masks secrets in packets as they come, before anybody knows what
// requests they carry: by what stands before a secret, in what is not
// encrypted. A secret that goes on in the next packet of its direction is
// masked there, too. The zero value is ready.
type Stream struct {
	open map[flow]tail
}

type flow struct {
	connection int
	direction  trace.Direction
}

// tail is what a packet ended with: the line that a secret may go on in, and
// the offset in the stream where it would.
type tail struct {
	line []byte
	next int64
}

const (
	// maxTail bounds the line that is kept of one packet's end, and maxOpen
	// of how many directions.
	maxTail = 8 << 10
	maxOpen = 1 << 12
)

// Packet masks what is secret in a packet, in a copy of its bytes.
func (s *Stream) Packet(p *trace.Packet) {
	at := payloadOf(p)
	payload := p.Raw[at:]
	if len(payload) == 0 || p.Bytes == nil {
		return
	}
	key := flow{p.Connection, p.Direction}
	before := s.open[key]
	if before.next != p.Bytes.Offset {
		before.line = nil
	}
	// What a record of TLS holds cannot be read.
	if len(before.line) == 0 && payload[0] >= 20 && payload[0] <= 23 && len(payload) > 2 && payload[1] == 3 {
		return
	}
	whole := append(bytes.Clone(before.line), payload...)
	skip := len(before.line)
	last := 0 // the end of the last secret
	scan(whole, messages(p.Direction), func(_ string, from, to int, _ bool) {
		p.Raw = hidden(p.Raw, &p.Masked, at+max(from-skip, 0), at+to-skip)
		last = to
	})
	line := whole
	if i := bytes.LastIndexByte(whole, '\n'); i >= 0 && last <= i+1 {
		line = whole[i+1:]
	}
	if s.open == nil || len(s.open) >= maxOpen {
		s.open = map[flow]tail{}
	}
	if len(line) > maxTail {
		line = line[len(line)-maxTail:]
	}
	s.open[key] = tail{bytes.Clone(line), p.Bytes.Offset + int64(len(payload))}
}
