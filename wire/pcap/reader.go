package pcap

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"peel/clock"
)

// Reader reads a capture file, block after block. It holds one block at a
// time.
type Reader struct {
	src     io.Reader
	close   func()
	buf     []byte
	r, w    int
	base    int64 // file offset of buf[0]
	srcErr  error
	order   binary.ByteOrder
	ng      bool
	trailer int // bytes of a pcap record header beyond the usual 16

	ifaces  []Interface
	section int // first interface of this section
	last    clock.Time
	done    bool
}

// ErrFormat is wrapped by the error for what is no capture file.
var ErrFormat = errors.New("not a capture file")

// NewReader begins to read a pcap or pcapng file, which may be compressed
// with gzip or zstd.
func NewReader(src io.Reader) (*Reader, error) {
	br := bufio.NewReaderSize(src, 64<<10)
	magic, err := br.Peek(4)
	if len(magic) < 4 {
		if err == nil || err == io.EOF {
			err = fmt.Errorf("pcap: %w: %d bytes are too few for a file header", ErrFormat, len(magic))
		}
		return nil, err
	}
	r := &Reader{src: br, close: func() {}}
	switch {
	case magic[0] == 0x1f && magic[1] == 0x8b:
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("pcap: gzip: %w", err)
		}
		r.src = z
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("pcap: zstd: %w", err)
		}
		r.src, r.close = z, z.Close
	}
	r.buf = make([]byte, 256<<10)
	if err := r.begin(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// Close lets go of what decompression holds. It does not close the source.
func (r *Reader) Close() { r.close() }

// Blocks tells whether the file is pcapng, which has blocks of many kinds.
func (r *Reader) Blocks() bool { return r.ng }

// Interfaces returns the interfaces so far; Block.Interface is a place in it.
func (r *Reader) Interfaces() []Interface { return r.ifaces }

// Offset is how far reading has come in the file, after decompression.
func (r *Reader) Offset() int64 { return r.base + int64(r.r) }

// need makes n unread bytes available and returns them, or fewer at the end.
func (r *Reader) need(n int) []byte {
	for r.w-r.r < n && r.srcErr == nil {
		if r.r > 0 && (len(r.buf)-r.r < n || r.w == len(r.buf)) {
			copy(r.buf, r.buf[r.r:r.w])
			r.base += int64(r.r)
			r.w -= r.r
			r.r = 0
		}
		if r.w == len(r.buf) {
			// Grow with what really comes, not with what a length claims.
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		m, err := r.src.Read(r.buf[r.w:])
		r.w += m
		if err != nil {
			r.srcErr = err
		}
	}
	return r.buf[r.r:min(r.w, r.r+n)]
}

func (r *Reader) begin() error {
	b := r.need(4)
	if len(b) < 4 {
		return fmt.Errorf("pcap: %w: decompressed to %d bytes", ErrFormat, len(b))
	}
	if binary.BigEndian.Uint32(b) == blockSection {
		r.ng = true
		return nil
	}
	var perSecond uint64
	for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch o.Uint32(b) {
		case 0xa1b2c3d4:
			perSecond = microseconds
		case 0xa1b23c4d:
			perSecond = nanoseconds
		case 0xa1b2cd34: // the modified form of old Linux patches
			perSecond, r.trailer = microseconds, 8
		default:
			continue
		}
		r.order = o
		break
	}
	if r.order == nil {
		return fmt.Errorf("pcap: %w: it begins with % x, and neither pcap nor pcapng does", ErrFormat, b)
	}
	h := r.need(24)
	if len(h) < 24 {
		return fmt.Errorf("pcap: %w: the file header is cut off after %d of 24 bytes", ErrFormat, len(h))
	}
	i := Interface{Link: LinkType(r.order.Uint32(h[20:]) & 0xffff), Snap: r.order.Uint32(h[16:]), perSecond: perSecond}
	r.ifaces = append(r.ifaces, i)
	r.r += 24
	return nil
}

// Next returns the next block; io.EOF after the last. What cannot be read
// comes as a block of KindDamage, and reading goes on behind it.
func (r *Reader) Next() (Block, error) {
	if r.done {
		return Block{}, io.EOF
	}
	if len(r.need(1)) == 0 {
		return r.end()
	}
	if r.ng {
		return r.nextBlock()
	}
	return r.nextRecord()
}

// end tells a read or decompression error once, then io.EOF.
func (r *Reader) end() (Block, error) {
	r.done = true
	if r.srcErr != nil && r.srcErr != io.EOF {
		return r.damage(0, true, "reading failed: "+r.srcErr.Error()), nil
	}
	return Block{}, io.EOF
}

func (r *Reader) damage(skipped int64, cut bool, what string) Block {
	return Block{Kind: KindDamage, Offset: r.Offset(), Err: &Error{Offset: r.Offset(), What: what, Skipped: skipped, Cut: cut}}
}

// cut reports a file that ends inside a block.
func (r *Reader) cut(have, want int) (Block, error) {
	r.done = true
	what := fmt.Sprintf("the file ends after %d of %d bytes", have, want)
	if r.srcErr != nil && r.srcErr != io.EOF {
		what += " (" + r.srcErr.Error() + ")"
	}
	return r.damage(0, true, what), nil
}

func (r *Reader) nextRecord() (Block, error) {
	head := 16 + r.trailer
	h := r.need(head)
	if len(h) < head {
		return r.cut(len(h), head)
	}
	i := &r.ifaces[0]
	caplen := r.order.Uint32(h[8:])
	why := r.recordWrong(h)
	odd := why != "" && r.onlyTimeWrong(h, head)
	if why != "" && !odd {
		return r.resync(why, head, func(b []byte) bool { return r.recordWrong(b) == "" && r.near(b) })
	}
	n := head + int(caplen)
	b := r.need(n)
	if len(b) < n {
		rest := len(b)
		if blk, err := r.resync(fmt.Sprintf("a record of %d bytes, which is more than the file has", caplen), head, func(b []byte) bool { return r.recordWrong(b) == "" && r.near(b) }); !r.done {
			return blk, err
		}
		return r.cut(rest, n)
	}
	blk := Block{Kind: KindPacket, Offset: r.Offset(), DataOffset: r.Offset() + int64(head), Length: int(r.order.Uint32(b[12:])), Data: b[head:n:n],
		Time: clock.Time(uint64(r.order.Uint32(b))*nanoseconds + uint64(r.order.Uint32(b[4:]))*(nanoseconds/i.perSecond))}
	if odd {
		blk.Time = clock.Time(uint64(r.order.Uint32(b)) * nanoseconds)
		blk.Comments = []string{why + ": its time is that of the second"}
	}
	r.last = blk.Time
	r.r += n
	return blk, nil
}

// onlyTimeWrong tells whether a record whose fraction of a second is none is one
// all the same: where it ends another begins, or the file ends.
func (r *Reader) onlyTimeWrong(h []byte, head int) bool {
	i := &r.ifaces[0]
	caplen := r.order.Uint32(h[8:])
	sane := func(h []byte) bool {
		kept, length := r.order.Uint32(h[8:]), r.order.Uint32(h[12:])
		return kept <= length && length <= 1<<18 && (i.Snap == 0 || kept <= max(i.Snap, 1<<16))
	}
	if !sane(h) {
		return false
	}
	n := head + int(caplen)
	b := r.need(n + head)
	return len(b) == n || len(b) == n+head && sane(b[n:])
}

// recordWrong says why bytes cannot be the header of a pcap record.
func (r *Reader) recordWrong(h []byte) string {
	i := &r.ifaces[0]
	frac, caplen, length := r.order.Uint32(h[4:]), r.order.Uint32(h[8:]), r.order.Uint32(h[12:])
	switch {
	case caplen > maxPacket:
		return fmt.Sprintf("a record of %d bytes is longer than any packet", caplen)
	case length > maxPacket:
		return fmt.Sprintf("a packet of %d bytes is longer than any", length)
	case uint64(frac) >= 2*i.perSecond:
		return fmt.Sprintf("%d is no fraction of a second", frac)
	}
	return ""
}

// near tells whether a record header bears a time close to the last one: the
// mark by which reading finds its way again.
func (r *Reader) near(h []byte) bool {
	t := clock.Time(uint64(r.order.Uint32(h)) * nanoseconds)
	caplen, length := r.order.Uint32(h[8:]), r.order.Uint32(h[12:])
	d := t.Sub(r.last)
	return d > -3600e9 && d < 24*3600e9 && caplen > 0 && caplen <= length && length <= 1<<17
}

// resyncLimit bounds the search for the next readable block.
const resyncLimit = 64 << 20

// resync passes over bytes until fits accepts those at the position.
func (r *Reader) resync(why string, head int, fits func([]byte) bool) (Block, error) {
	at := r.Offset()
	step := 1
	if r.ng {
		step = 4
	}
	for skipped := 0; skipped < resyncLimit; skipped += step {
		if len(r.need(step)) < step {
			break
		}
		r.r += step
		b := r.need(head)
		if len(b) < head {
			break
		}
		if fits(b) {
			return Block{Kind: KindDamage, Offset: at, Err: &Error{Offset: at, What: why, Skipped: r.Offset() - at}}, nil
		}
	}
	r.done = true
	if at >= r.base {
		r.r = int(at - r.base)
	}
	return Block{Kind: KindDamage, Offset: at, Err: &Error{Offset: at, What: why + ", and nothing readable follows"}}, nil
}
