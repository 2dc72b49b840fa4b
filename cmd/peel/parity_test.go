package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"peel"
	"peel/internal/needs"
	"peel/trace"
	"peel/wire/pcap"
)

// A failing is one failure of the world: what to do to meet it, and how much of
// it the wire shows.
type failing struct {
	name string
	// meet sets up what fails.
	meet func(t *testing.T) scene
	// is, in the live run, is the ID of a finding, or the code or layer of a
	// failure: the one that the case is there for. Empty, nothing is told.
	is string
	// unseen says what of it no packet shows. The packets alone then need not
	// tell of it, but still must not tell anything else.
	unseen string
	// instead is the code of a failure, or the ID of a finding, that shows what
	// the packets see of the same event. They may tell of it besides.
	instead string
	// otherwise says why the packets alone tell the same fault in other words.
	otherwise string
	// gap says what is still missing for the packets alone to tell the same.
	// It has to go when nothing is.
	gap string
}

// What holds live holds of the capture: read back, with the decisions in it,
// the findings and failures are the very same; and they are the same by the
// packets alone wherever the wire shows them.
func TestFailuresAreTheSameInCaptures(t *testing.T) {
	needs.Long(t)
	needs.Root(t)
	for _, f := range failings {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			live, stored := record(t, f)
			if f.is == "" && live.String() != "" || f.is != "" && live.failed[f.is] == 0 && live.found[trace.FindingID(f.is)] == 0 {
				t.Fatalf("the run does not tell of %q, but:\n%s", f.is, live)
			}
			back := tellOf(t, stored)
			if a, b := live.exactly(), back.exactly(); !slices.Equal(a, b) {
				t.Errorf("read back, the capture tells something else (+) than the run (-):\n%s", strings.Join(difference(b, a), "\n"))
			}
			alone := tellOf(t, packetsAlone(t, stored))
			for _, r := range []*telling{live, back, alone} {
				for _, x := range r.trace.Findings {
					if len(x.Evidence) == 0 {
						t.Errorf("%s has no evidence: %s", x.ID, x.Title)
					}
				}
			}
			want, got := live.told(f), alone.told(f)
			wrong := difference(got, want)
			wrong = slices.DeleteFunc(wrong, func(l string) bool {
				return f.unseen != "" && l[0] == '-' || f.instead != "" && l[0] == '+' && strings.Contains(l, " "+f.instead)
			})
			switch {
			case f.gap == "" && len(wrong) > 0:
				t.Errorf("the packets alone tell something else (+) than the run (-):\n%s", strings.Join(wrong, "\n"))
			case f.gap != "" && len(wrong) == 0:
				t.Errorf("there is no gap any more, take it out of the list: %s", f.gap)
			case f.gap != "":
				t.Logf("gap: %s\n%s", f.gap, strings.Join(wrong, "\n"))
			}
		})
	}
}

// telling is what a trace tells of failures.
type telling struct {
	trace  *trace.Trace
	failed map[string]int
	found  map[trace.FindingID]int
}

func newTelling(tr *trace.Trace) *telling {
	r := &telling{trace: tr, failed: map[string]int{}, found: map[trace.FindingID]int{}}
	for f := range r.failures() {
		r.failed[string(f.Code)]++
		r.failed[string(f.Layer)]++
	}
	for _, f := range tr.Findings {
		r.found[f.ID]++
	}
	return r
}

func (r *telling) String() string { return strings.Join(r.exactly(), "\n") }

// exactly lists all that is told, with the numbers of what it is about.
func (r *telling) exactly() []string {
	var out []string
	for _, f := range r.trace.Findings {
		out = append(out, fmt.Sprintf("finding %s %s of request %d, connection %d, lookup %d: %s | %s | %s", f.ID, f.Severity, f.Exchange, f.Connection, f.Lookup, f.Title, f.Explanation, f.WhatToDo))
	}
	for f, about := range r.failures() {
		out = append(out, fmt.Sprintf("failure of %s: %s %s: %s | %s", about, f.Layer, f.Code, f.Seen, f.Try))
	}
	slices.Sort(out)
	return out
}

// failures are those of exchanges, lookups and connections.
func (r *telling) failures() func(yield func(*trace.Failure, string) bool) {
	return func(yield func(*trace.Failure, string) bool) {
		for _, x := range r.trace.Exchanges {
			if x.Failure != nil && !yield(x.Failure, fmt.Sprintf("request %d", x.ID)) {
				return
			}
		}
		for _, l := range r.trace.Lookups {
			if l.Failure != nil && !yield(l.Failure, fmt.Sprintf("lookup %d", l.ID)) {
				return
			}
		}
		for _, c := range r.trace.Connections {
			if c.Failure != nil && !yield(c.Failure, fmt.Sprintf("connection %d", c.ID)) {
				return
			}
		}
	}
}

// told lists what is told as it can be compared between a run and its packets:
// numbers of connections and requests are replaced by whom they are about, and
// a failure is told once, whether of the request or, where none was sent, of
// its connection.
func (r *telling) told(f failing) []string {
	all := map[string]bool{}
	for _, x := range r.trace.Findings {
		title := alike(x.Title)
		if f.otherwise != "" {
			title = "…"
		}
		all[fmt.Sprintf("finding %s %s of %s: %s", x.ID, x.Severity, r.subject(x), title)] = true
	}
	for x := range r.failures() {
		seen := alike(x.Seen)
		if f.otherwise != "" {
			seen = "…"
		}
		all[fmt.Sprintf("failure %s %s: %s", x.Layer, x.Code, seen)] = true
	}
	return slices.Sorted(maps.Keys(all))
}

var ordinals = regexp.MustCompile(`(connection #|request )\d+`)

// alike leaves out of a sentence what differs by who tells it: numbers,
// and whose clock it is.
func alike(s string) string {
	return strings.ReplaceAll(ordinals.ReplaceAllString(s, "${1}N"), "the capture's clock", "this machine's clock")
}

// subject says in words what a finding is about: of a request that never went
// out, no packet tells.
func (r *telling) subject(f *trace.Finding) string {
	var out []string
	if x := r.trace.Exchange(f.Exchange); x != nil && x.Request.HeadersSize > 0 {
		out = append(out, "request "+x.Method+" "+x.URL)
	}
	if c := r.trace.Connection(f.Connection); c != nil {
		out = append(out, "connection to "+c.RemoteAddr.String())
	}
	if l := r.trace.Lookup(f.Lookup); l != nil {
		out = append(out, "lookup of "+strings.TrimSuffix(l.Name, "."))
	}
	return strings.Join(out, ", ")
}

// record meets a failure, and returns what the run told and its capture.
func record(t *testing.T, f failing) (live *telling, stored []byte) {
	t.Helper()
	dir := t.TempDir()
	file, json := filepath.Join(dir, "f.pcapng"), filepath.Join(dir, "live.json")
	s := f.meet(t)
	args := append([]string{"-s", "-o", os.DevNull, "--packets=on", "--pcap", file, "--pcap-secrets", "--redact=off", "--json=" + json}, s.args...)
	r := withTrace(t, s.finish(t, args...), json)
	if r.trace == nil {
		t.Fatalf("exit code %d, and no trace: %s", r.code, r.stderr)
	}
	stored, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return newTelling(r.trace), stored
}

// tellOf reads a capture.
func tellOf(t *testing.T, stored []byte) *telling {
	t.Helper()
	tr, err := peel.Read(context.Background(), peel.ReadOptions{}, bytes.NewReader(stored))
	if err != nil {
		t.Fatal(err)
	}
	return newTelling(tr)
}

// packetsAlone copies of a pcapng file what any capturing program would have
// stored: packets and keys. Decisions, comments and marks stay behind.
func packetsAlone(t *testing.T, stored []byte) []byte {
	t.Helper()
	r, err := pcap.NewReader(bytes.NewReader(stored))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	w := pcap.NewWriter(&out, "a test")
	ifaces := map[int]int{}
	packets := 0
	for {
		b, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch b.Kind {
		case pcap.KindSecrets:
			w.Secrets(b.SecretsType, b.Data)
		case pcap.KindPacket:
			if r.Interfaces()[b.Interface].Name == "sockets" {
				continue // what a socket wrote or read, under headers that are made up
			}
			i, ok := ifaces[b.Interface]
			if !ok {
				i = w.Interface(pcap.Interface{Link: r.Interfaces()[b.Interface].Link, Name: r.Interfaces()[b.Interface].Name})
				ifaces[b.Interface] = i
			}
			w.Packet(&pcap.Block{Interface: i, Time: b.Time, Data: b.Data, Length: b.Length})
			packets++
		}
	}
	if w.Err() != nil || packets == 0 {
		t.Fatalf("%d packets: %v", packets, w.Err())
	}
	return out.Bytes()
}
