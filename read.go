package peel

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/evidence/decision"
	"peel/trace"
	"peel/wire/pcap"
)

// ReadOptions say how capture files are read. The zero value reads to the
// end, without secrets but those that the files hold.
type ReadOptions struct {
	// KeyLogs are TLS key logs (RFC 9850, SSLKEYLOGFILE) that open whatever
	// connections they have secrets of. Lines that cannot be read are left
	// out.
	KeyLogs [][]byte
	// Limits bound what the trace holds. Packets are listed only when asked
	// for there.
	Limits analyze.Limits
	// Follow goes on when the end is reached, as the file may grow, until the
	// context ends. It takes one capture.
	Follow bool
	// OnPacket is called for each packet when it has been analysed. What it
	// is given is valid during the call. It may be nil.
	OnPacket func(*trace.Packet)
	// OnDamage is told of each place that cannot be read; the rest is read
	// all the same, and a finding tells of it too. It may be nil.
	OnDamage func(text string)
	// OnNote is told of what is remarkable of a capture and no damage, such
	// as decisions in a format of another version. It may be nil.
	OnNote func(text string)
	// OnEnd is called with each request, lookup and connection as it ends, as
	// analyze.Analyzer.OnEnd says, with the findings about it. What was handed
	// out is forgotten, so that a capture without an end can be read; Trace has
	// the rest. It may be nil.
	OnEnd func(part *trace.Trace)
}

// Read makes a trace of captures: pcap or pcapng files, compressed with gzip
// or zstd or not. Several are merged by the times of their packets. A capture
// that can seek, as a regular file can, is gone through for secrets first;
// from others, secrets open what comes after them.
//
// It fails on what is no capture file. A file that is damaged or cut off is
// read as far as it goes, and a finding CAPTURE-DAMAGED says so. When ctx ends
// before the captures do, the trace so far comes with ctx's error; with Follow
// that is the end, and no error.
func Read(ctx context.Context, o ReadOptions, captures ...io.Reader) (*trace.Trace, error) {
	r := NewReading(o)
	defer r.Close()
	if err := r.Open(ctx, captures...); err != nil {
		return nil, err
	}
	for ctx.Err() == nil && r.Next() {
		continue
	}
	err := ctx.Err()
	if o.Follow {
		err = nil
	}
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return r.Trace(), err
}

// ReadFiles is Read for files by their names.
func ReadFiles(ctx context.Context, o ReadOptions, names ...string) (*trace.Trace, error) {
	captures := make([]io.Reader, len(names))
	for i, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("peel: %w", err)
		}
		defer f.Close()
		captures[i] = f
	}
	return Read(ctx, o, captures...)
}

// Reading is the reading of captures, a record at a time: for a program that
// shows packets as they come, says how far it is, or stores what it reads.
// Read does it all at once. It is not safe for concurrent use.
type Reading struct {
	o       ReadOptions
	story   story
	source  capture.Source
	files   []*capture.FileReader
	damaged int
	closed  bool
	err     error
}

// NewReading begins a reading. Store and KeyLog come next, when they are
// wanted, and then Open.
func NewReading(o ReadOptions) *Reading {
	r := &Reading{o: o, story: newStory(o.Limits)}
	if o.OnPacket != nil {
		r.story.analyzer.OnPacket(o.OnPacket)
	}
	if o.OnEnd != nil {
		r.story.onEnd(o.OnEnd)
	}
	for _, log := range o.KeyLogs {
		r.KeyLog(log)
	}
	return r
}

// OnPacket replaces the function that is called for each packet.
func (r *Reading) OnPacket(f func(*trace.Packet)) { r.story.analyzer.OnPacket(f) }

// OnDamage replaces the function that is told of damage.
func (r *Reading) OnDamage(f func(text string)) { r.o.OnDamage = f }

// OnNote replaces the function that is told of what is remarkable.
func (r *Reading) OnNote(f func(text string)) { r.o.OnNote = f }

// Store writes what is read from now on to w as one pcapng file. It is
// complete when Close has returned, which tells the first error; w is not
// closed.
func (r *Reading) Store(w io.Writer, o capture.FileOptions) error { return r.story.store(w, o) }

// KeyLog takes a TLS key log. It returns how many of its lines are none.
func (r *Reading) KeyLog(log []byte) (bad int) {
	log = bytes.Clone(log)
	r.story.keep(capture.Record{Kind: capture.Secret, Data: log, Length: len(log)})
	return r.story.analyzer.KeyLog(log)
}

// Open opens the captures, which are read until Close and closed by the
// caller. It fails when there is none, or one that is no capture file.
func (r *Reading) Open(ctx context.Context, captures ...io.Reader) error {
	switch {
	case r.source != nil:
		return errors.New("peel: the reading is open already")
	case len(captures) == 0:
		return errors.New("peel: there is no capture to read")
	case r.o.Follow && len(captures) > 1:
		return errors.New("peel: Follow takes one capture")
	}
	if !r.o.Follow {
		for _, in := range captures {
			if err := r.secretsFirst(in); err != nil {
				return err
			}
		}
	}
	var list []capture.Source
	numbers := newNumbers()
	for i, in := range captures {
		name, src := "", in
		if f, ok := in.(interface{ Name() string }); ok {
			name = f.Name() + ": "
		}
		if r.o.Follow {
			src = follow(ctx, in, r.story.analyzer.Idle)
		}
		f, err := capture.NewFileReader(bufio.NewReaderSize(src, 1<<20))
		if err != nil {
			return fmt.Errorf("%s%w", name, err)
		}
		r.files = append(r.files, f)
		list = append(list, &apart{f, numbers, i})
		r.source = f
	}
	if len(list) > 1 {
		r.source = capture.Merge(list...)
	}
	return nil
}

// secretsFirst takes the secrets that a pcapng file holds, wherever they
// stand: capturing programs write them when they learn them, which can be
// after the packets that they open.
func (r *Reading) secretsFirst(in io.Reader) error {
	s, ok := in.(io.Seeker)
	if f, isFile := in.(*os.File); isFile {
		i, err := f.Stat()
		ok = err == nil && i.Mode().IsRegular()
	}
	if !ok {
		return nil
	}
	start, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // it cannot seek after all
	}
	if p, err := pcap.NewReader(in); err == nil {
		for p.Blocks() {
			b, err := p.Next()
			if err != nil {
				break
			}
			if b.Kind == pcap.KindSecrets && b.SecretsType == pcap.SecretsTLS {
				r.story.analyzer.KeyLog(b.Data)
			}
		}
		p.Close()
	}
	if _, err := s.Seek(start, io.SeekStart); err != nil {
		return fmt.Errorf("peel: going back to the beginning: %w", err)
	}
	return nil
}

// Next takes the next packet, or whatever else comes next in the captures. It
// is false at the end.
func (r *Reading) Next() bool {
	if r.source == nil || r.closed {
		return false
	}
	rec, ok := r.source.Next(true)
	if !ok {
		return false
	}
	switch d := rec.Decision.(type) {
	case *decision.CaptureDamaged:
		r.damaged++
		if r.o.OnDamage != nil {
			r.o.OnDamage(d.Text)
		}
	case *decision.CaptureFormat:
		if r.o.OnNote != nil {
			r.o.OnNote(decision.Note(d))
		}
	}
	if r.story.file != nil {
		kept := rec
		kept.Data = bytes.Clone(rec.Data) // the file holds records back
		r.story.keep(kept)
	}
	r.story.analyzer.Add(rec)
	return true
}

// Start is the time of the first record, which times of the trace count from.
func (r *Reading) Start() time.Time { return r.story.analyzer.Start() }

// Packets is how many packets have been read.
func (r *Reading) Packets() int { return r.story.analyzer.Packets() }

// Offset is how many bytes have been read of all captures together, after
// decompression.
func (r *Reading) Offset() int64 {
	var at int64
	for _, f := range r.files {
		at += f.Offset()
	}
	return at
}

// Damaged is how many places could not be read.
func (r *Reading) Damaged() int { return r.damaged }

// Trace returns what the captures tell as far as they have been read. What
// waits for packets to come is given up at Close: close first for the whole.
func (r *Reading) Trace() *trace.Trace { return r.story.trace() }

// Close ends the reading. It returns the first error of Store.
func (r *Reading) Close() error {
	if r.closed {
		return r.err
	}
	r.closed = true
	r.err = r.story.end(0, 0)
	for _, f := range r.files {
		f.Close()
	}
	return r.err
}

// following reads a file that grows, or a pipe.
type following struct {
	ctx  context.Context
	r    io.Reader
	idle func(silence time.Duration) // is told that nothing came for so long
	// come is what a pipe gives, which is read elsewhere: nobody can wait there
	// and look at the time; nil for a file. rest is what was not taken of it.
	come chan chunk
	rest []byte
	err  error // after it
}

// chunk is what one read gave.
type chunk struct {
	b   []byte
	err error
}

// pause is how long is waited for more before the time is looked at.
const pause = 100 * time.Millisecond

func follow(ctx context.Context, in io.Reader, idle func(time.Duration)) *following {
	f := &following{ctx: ctx, r: in, idle: idle}
	s, ok := in.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return f
	}
	if i, err := s.Stat(); err != nil || i.Mode().IsRegular() {
		return f
	}
	f.come = make(chan chunk)
	go func() {
		for {
			b := make([]byte, 64<<10)
			n, err := in.Read(b)
			select {
			case f.come <- chunk{b[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return f
}

func (f *following) Read(p []byte) (int, error) {
	var begin time.Time
	for {
		n, err := f.next(p)
		if n > 0 || err != nil {
			return n, err
		}
		if begin.IsZero() {
			begin = time.Now()
			f.idle(0)
		} else {
			f.idle(time.Since(begin))
		}
	}
}

// next reads what is there, or waits a little for more.
func (f *following) next(p []byte) (int, error) {
	if f.come == nil {
		n, err := f.r.Read(p)
		if n > 0 || err != nil && err != io.EOF {
			return n, err
		}
	}
	if len(f.rest) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		select {
		case <-f.ctx.Done():
			return 0, io.EOF
		case <-time.After(pause):
			return 0, nil
		case c := <-f.come:
			f.rest, f.err = c.b, c.err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}
