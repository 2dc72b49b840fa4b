package peel

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"peel/client"
	"peel/clock"
	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/evidence/decision"
	"peel/internal/kernel"
	"peel/trace"
)

// Packets says whether the packets of the connections are captured as the
// host's interfaces carry them. It needs Linux and the right to capture
// (CAP_NET_RAW). Without packets the bytes of the sockets are evidence.
type Packets uint8

const (
	// NoPackets captures none.
	NoPackets Packets = iota
	// TryPackets captures them where that is permitted; Recording.Blind says
	// why it is not.
	TryPackets
	// NeedPackets fails where it is not permitted.
	NeedPackets
)

// RecordOptions say how evidence is taken and how much of it is kept. The
// zero value keeps the newest 64 MiB, in real time, without packets.
type RecordOptions struct {
	// Clock gives the times of the evidence; real time when nil.
	Clock clock.Clock
	// Evidence bounds the bytes that wait for the analysis; 0 means 64 MiB,
	// and less than 512 KiB counts as that.
	Evidence int
	// Whole keeps all evidence, however long the recording: the analysis
	// follows it in a goroutine of its own, and the recorded program waits
	// for it when it is Evidence bytes behind. Otherwise the analysis runs
	// when a trace is asked for, the oldest evidence is dropped when there is
	// too much, and the trace says so.
	Whole bool
	// Packets are captured or not.
	Packets Packets
	// Limits bound what the trace holds.
	Limits analyze.Limits
	// OnEnd is called with each request, lookup and connection as it ends, as
	// analyze.Analyzer.OnEnd says, with the findings about it; traces have only
	// the rest then. It is called while the analysis runs and must not use the
	// recording. It may be nil.
	OnEnd func(part *trace.Trace)
	// Recorder, when set, is what the evidence comes from, made and closed by
	// the caller. Clock, Evidence, Whole and Packets are its business then
	// and must not be set. Where packets are put into it, a trace that is
	// asked for before it is closed ends with the last packet.
	Recorder *capture.Recorder
}

func (o *RecordOptions) check() error {
	switch {
	case o.Evidence < 0:
		return fmt.Errorf("peel: Evidence is %d bytes; it takes 0 or more", o.Evidence)
	case o.Packets > NeedPackets:
		return fmt.Errorf("peel: Packets is %d, which means nothing", o.Packets)
	case o.Recorder == nil:
		if _, real := o.Clock.(*clock.Real); o.Clock != nil && !real && o.Packets != NoPackets {
			return errors.New("peel: Packets are captured in the host's time, and Clock is another")
		}
		return nil
	case o.Clock != nil && o.Clock != o.Recorder.Clock():
		return errors.New("peel: Clock is set beside a Recorder that has another")
	case o.Evidence != 0:
		return errors.New("peel: Evidence is set beside a Recorder, which has its own limit")
	case o.Whole:
		return errors.New("peel: Whole is set beside a Recorder, which has its own overflow")
	case o.Packets != NoPackets:
		return errors.New("peel: Packets is set beside a Recorder, which gets its packets elsewhere")
	}
	return nil
}

// Recording takes evidence as it comes about and makes a trace of it: what
// stands behind a Client, a Server and a Lab, for whoever makes evidence in
// other ways. It is safe for concurrent use.
type Recording struct {
	rec     *capture.Recorder
	own     bool // rec was made here
	packets *sniffing
	blind   error
	// followed is closed when the analysis has come to the end of a whole
	// recording; nil when it is not followed.
	followed chan struct{}

	mu     sync.Mutex
	source *source
	story  story
	taken  int // records
	latest struct {
		trace *trace.Trace
		taken int
	}
	closing bool // Close was called
	closed  bool // what was under way then is recorded
	ended   bool // and has been taken
	err     error
}

// Record begins a recording. It ends with Close.
func Record(o RecordOptions) (*Recording, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &Recording{rec: o.Recorder, story: newStory(o.Limits)}
	if r.rec == nil {
		if o.Clock == nil {
			o.Clock = clock.NewReal()
		}
		co := capture.Options{Limit: o.Evidence}
		if o.Whole {
			co.Overflow = capture.WaitForReader
		}
		r.rec, r.own = capture.NewRecorder(o.Clock, co), true
	}
	if o.OnEnd != nil {
		r.story.onEnd(o.OnEnd)
	}
	if o.Packets != NoPackets {
		var err error
		if r.packets, err = startSniffing(r.rec); err != nil {
			if o.Packets == NeedPackets {
				return nil, err
			}
			r.blind = err
		}
	}
	if o.Whole {
		r.source = newSource(r.rec)
		r.followed = make(chan struct{})
		go r.follow()
	}
	return r, nil
}

// Recorder is what evidence is put into, such as client.Options.Recorder.
func (r *Recording) Recorder() *capture.Recorder { return r.rec }

// Clock is the one that times of the evidence come from.
func (r *Recording) Clock() clock.Clock { return r.rec.Clock() }

// Network is the host's, with sockets whose packets are captured if the
// recording has any.
func (r *Recording) Network() client.Network {
	if r.packets == nil {
		return kernel.Network{}
	}
	return kernel.Network{Watch: r.packets.s.Watch}
}

// Blind says why no packets are captured although TryPackets asked for them;
// nil when they are, or were not asked for.
func (r *Recording) Blind() error { return r.blind }

// Store writes the evidence from now on to w as a pcapng file, which Read
// makes the same trace of. The recording must be Whole, so that the file is.
// The file is complete when Close has returned, which tells the first error;
// w is not closed.
func (r *Recording) Store(w io.Writer, o capture.FileOptions) error {
	if r.followed == nil {
		return errors.New("peel: only a recording that is Whole can be stored")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return errors.New("peel: the recording is closed")
	}
	return r.story.store(w, o)
}

// follow takes records as they come, until the recorder is closed.
func (r *Recording) follow() {
	defer close(r.followed)
	for seen := int64(0); ; {
		n, open := r.rec.Await(seen)
		seen = n
		for more := true; more; {
			r.mu.Lock()
			more = r.take(followed, false)
			r.mu.Unlock()
		}
		if !open {
			return
		}
	}
}

// followed is how many records are taken before others that want the trace
// have their turn.
const followed = 512

// take takes up to most records, and tells whether there may be more.
func (r *Recording) take(most int, wait bool) bool {
	for range most {
		rec, ok := r.source.ordered.Next(wait)
		if !ok {
			return false
		}
		r.taken++
		r.story.add(rec)
	}
	return true
}

// Trace returns what happened until now: everything that was recorded before
// the call. Where packets are captured it waits for those that are under way,
// some 20 ms. It can be called at any time, also after Close.
func (r *Recording) Trace() *trace.Trace {
	t, _, _ := r.upToNow(0)
	c := *t // its lists are the caller's to add to
	c.Exchanges, c.Lookups, c.Connections = slices.Clip(t.Exchanges), slices.Clip(t.Lookups), slices.Clip(t.Connections)
	c.Packets, c.Events, c.Findings = slices.Clip(t.Packets), slices.Clip(t.Events), slices.Clip(t.Findings)
	return &c
}

// upToNow returns the trace until now, and the ID that it has for the
// exchange which the recorder numbered n.
func (r *Recording) upToNow(n uint32) (t *trace.Trace, id int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.catchUp()
	if r.latest.trace == nil || r.latest.taken != r.taken {
		r.latest.trace, r.latest.taken = r.story.trace(), r.taken
	}
	id, ok = r.story.analyzer.ExchangeID(n)
	return r.latest.trace, id, ok
}

// arrival bounds the wait for packets that are under way.
const arrival = 200 * time.Millisecond

// catchUp takes what was recorded before now.
func (r *Recording) catchUp() {
	if r.ended {
		return
	}
	if r.source == nil {
		r.source = newSource(r.rec)
		r.source.cursor.Stop() // nobody waits for one that reads now and then
	}
	if r.closed && r.followed == nil {
		r.finish()
		return
	}
	now := r.Clock().Now()
	for r.source.newest <= now && r.take(1, false) {
		continue
	}
	if r.packets == nil {
		return
	}
	// Packets come later than they passed.
	for until := time.Now().Add(arrival); r.source.passed < now && time.Now().Before(until); {
		r.mu.Unlock()
		time.Sleep(2 * time.Millisecond)
		r.mu.Lock()
		if r.closing {
			return
		}
		for r.source.passed < now && r.take(1, false) {
			continue
		}
	}
}

// finish takes the rest of a recording that is closed.
func (r *Recording) finish() {
	_, open := r.rec.Await(-1)
	for r.take(followed, !open) {
		continue
	}
	var received, dropped uint64
	if r.packets != nil {
		received, dropped = r.packets.received, r.packets.dropped
	}
	r.err = r.story.end(received, dropped)
	r.ended, r.latest.trace = true, nil
}

// Close ends the recording: what is recorded later is in no trace. It returns
// the first error of Store.
func (r *Recording) Close() error {
	r.mu.Lock()
	already := r.closing
	r.closing = true
	r.mu.Unlock()
	if !already {
		if r.packets != nil {
			r.packets.stop()
			if n := r.packets.dropped; n > 0 {
				r.rec.Decide(capture.About{}, &decision.CaptureDropped{Packets: int64(n)})
			}
		}
		if r.own {
			r.rec.Close()
		}
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
	}
	if r.followed == nil {
		return nil
	}
	<-r.followed
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.finish()
	}
	return r.err
}

// source gives a recorder's records in the order of their times.
type source struct {
	cursor  *capture.Cursor
	ordered *capture.Ordered
	newest  clock.Time // of the records that came from the recorder
	passed  clock.Time // every packet until then was recorded
}

func newSource(r *capture.Recorder) *source {
	s := &source{cursor: r.Cursor()}
	s.ordered = capture.InOrder(s, r.SeesPackets())
	return s
}

// Next makes a source a capture.Source: the one that is put in order.
func (s *source) Next(wait bool) (capture.Record, bool) {
	r, ok := s.cursor.Next(wait)
	switch {
	case !ok:
	case r.Kind == capture.Packet || r.Kind == capture.Mark:
		s.passed = max(s.passed, r.Time)
	default:
		s.newest = max(s.newest, r.Time)
	}
	return r, ok
}
