package capture

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"peel/clock"
	"peel/evidence/decision"
)

type ticking struct{ t clock.Time }

func (c *ticking) Now() clock.Time { c.t++; return c.t }

func TestRecordsComeBackInOrderAndWhole(t *testing.T) {
	r := NewRecorder(&ticking{}, Options{})
	reused := &decision.PoolReused{Protocol: decision.HTTP1, Idle: 3 * time.Millisecond, Waited: "for one of 6 connections"}
	r.Decide(About{Exchange: 1, Lookup: 2, Socket: 3, Stream: 5}, reused)
	r.Stream(3, Out, []byte("GET / HTTP/1.1\r\n"))
	big := bytes.Repeat([]byte("0123456789abcdef"), 40000) // 640 kB: more than two chunks
	r.Stream(3, In, big)
	r.Secret(3, []byte("CLIENT_RANDOM 00 11"))
	r.Close()

	c := r.Cursor()
	d, _ := c.Next(true)
	if d.Kind != Decided || d.Socket != 3 || d.Exchange != 1 || d.Lookup != 2 || d.Stream != 5 || !reflect.DeepEqual(d.Decision, reused) {
		t.Fatalf("decision came back as %+v", d)
	}
	s, _ := c.Next(true)
	if s.Kind != Stream || s.Dir != Out || string(s.Data) != "GET / HTTP/1.1\r\n" {
		t.Fatalf("stream came back as %+v", s)
	}
	var got []byte
	last := s.Time
	for {
		rec, ok := c.Next(true)
		if !ok {
			t.Fatal("capture ended before the secret")
		}
		if rec.Time <= last {
			t.Fatalf("time went from %d to %d", last, rec.Time)
		}
		last = rec.Time
		if rec.Kind == Secret {
			if string(rec.Data) != "CLIENT_RANDOM 00 11" {
				t.Fatalf("secret came back as %q", rec.Data)
			}
			break
		}
		got = append(got, rec.Data...)
	}
	if !bytes.Equal(got, big) {
		t.Fatalf("%d bytes came back of %d", len(got), len(big))
	}
	if _, ok := c.Next(true); ok {
		t.Fatal("a record after the end")
	}
}

func TestFullRecorderDropsOldestAndSaysHowMuch(t *testing.T) {
	r := NewRecorder(&ticking{}, Options{Limit: 1})
	c := r.Cursor()
	for i := range 10 {
		r.Stream(1, Out, bytes.Repeat([]byte{byte(i)}, 200<<10))
	}
	r.Close()
	recs, lost := r.Lost()
	if recs == 0 || lost == 0 {
		t.Fatal("nothing was dropped")
	}
	told, total := 0, 0
	for {
		rec, ok := c.Next(true)
		if !ok {
			break
		}
		if rec.Kind == Lost {
			told += rec.Length
		} else {
			total += len(rec.Data)
		}
	}
	if told == 0 {
		t.Fatal("the cursor was not told")
	}
	if total+told < 10*200<<10 {
		t.Fatalf("read %d and lost %d of %d bytes", total, told, 10*200<<10)
	}
}

func TestWaitForReaderLosesNothing(t *testing.T) {
	r := NewRecorder(clock.NewReal(), Options{Limit: 1, Overflow: WaitForReader})
	c := r.Cursor()
	var writers sync.WaitGroup
	const perWriter = 400
	for w := range 4 {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for i := range perWriter {
				r.Stream(uint32(w+1), In, []byte(fmt.Sprintf("%06d", i)))
				r.Stream(uint32(w+1), In, make([]byte, 8<<10))
			}
		}()
	}
	go func() { writers.Wait(); r.Close() }()
	next := [5]int{}
	for {
		rec, ok := c.Next(true)
		if !ok {
			break
		}
		if rec.Kind == Lost {
			t.Fatal("lost records")
		}
		if len(rec.Data) == 6 && rec.Data[0] == '0' {
			if want := fmt.Sprintf("%06d", next[rec.Socket]); string(rec.Data) != want {
				t.Fatalf("socket %d: got %s, want %s", rec.Socket, rec.Data, want)
			}
			next[rec.Socket]++
		}
	}
	for w := 1; w <= 4; w++ {
		if next[w] != perWriter {
			t.Errorf("socket %d: %d of %d records", w, next[w], perWriter)
		}
	}
}

func TestStoppedReaderIsNotWaitedFor(t *testing.T) {
	r := NewRecorder(&ticking{}, Options{Limit: 1, Overflow: WaitForReader})
	r.Cursor().Stop()
	for range 10 {
		r.Stream(1, Out, make([]byte, 200<<10))
	}
}

func TestNilRecorderRecordsNothing(t *testing.T) {
	var r *Recorder
	r.Stream(1, Out, []byte("x"))
	r.Secret(1, []byte("x"))
	r.Decide(About{}, &decision.RequestBound{})
	r.Close()
	if r.NewSocket() != 0 {
		t.Fatal("a nil recorder gave a number")
	}
}

func BenchmarkStreamRecord(b *testing.B) {
	r := NewRecorder(clock.NewReal(), Options{Limit: 4 << 20})
	frame := make([]byte, 150)
	b.ReportAllocs()
	for b.Loop() {
		r.Stream(1, In, frame)
	}
}

func BenchmarkDecision(b *testing.B) {
	r := NewRecorder(clock.NewReal(), Options{Limit: 4 << 20})
	b.ReportAllocs()
	for b.Loop() {
		r.Decide(About{Exchange: 1, Socket: 2}, &decision.PoolReused{Protocol: decision.HTTP1, Idle: 3 * time.Millisecond})
	}
}
