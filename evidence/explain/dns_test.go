package explain

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"peel/trace"
)

var (
	asker  = netip.MustParseAddr("192.0.2.1")
	nameOf = netip.MustParseAddrPort("192.0.2.53:53")
)

func question(typ string, at trace.Time, outcome trace.StepOutcome, rcode string) trace.Step {
	return trace.Step{Time: at, Source: trace.SourceDNS, Question: trace.Question{Name: "www.test.", Type: typ}, Server: nameOf, Transport: "udp", Attempt: 1, Outcome: outcome, Rcode: rcode, Duration: 1e6}
}

// overheard is a trace of one lookup that packets show, with an event for each
// question, on the connections given.
func overheard(steps []trace.Step, conns ...int) *trace.Trace {
	t := &trace.Trace{Lookups: []*trace.Lookup{{ID: 1, Name: "www.test", Client: asker, Steps: steps}}}
	for i, s := range steps {
		if s.Outcome == trace.StepAnswer {
			t.Lookups[0].Addresses = []trace.Address{{IP: netip.MustParseAddr("198.51.100.1")}}
		}
		e := &trace.Event{ID: i + 1, Time: s.Time, Name: trace.EventDNSQuery, Lookup: 1, Connection: 1}
		if i < len(conns) {
			e.Connection = conns[i]
		}
		t.Events = append(t.Events, e)
	}
	return t
}

func lines(t *trace.Trace) string {
	var out []string
	for _, f := range Findings(t) {
		out = append(out, string(f.Severity)+" "+string(f.ID)+": "+f.Title)
		if len(f.Evidence) == 0 {
			out = append(out, "no evidence")
		}
	}
	return strings.Join(out, "\n")
}

func TestPairOfQuestionsOfWhichOneIsLost(t *testing.T) {
	lost := question("AAAA", 20e3, trace.StepTimeout, "")
	lost.Duration = 5e9
	steps := []trace.Step{question("A", 2e3, trace.StepAnswer, "NOERROR"), lost, question("AAAA", 5e9, trace.StepAnswer, "NOERROR")}
	want := "warning DNS-PAIR-RACE: A and AAAA of www.test were sent from the same port 18µs apart: A was answered, and AAAA was asked for again after 5s"
	if got := lines(overheard(steps, 1, 1, 1)); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	// From two ports it is a loss as any other.
	want = "warning DNS-TIMEOUT: name server 192.0.2.53:53 did not answer 1 of 3 queries"
	if got := lines(overheard(steps, 1, 2, 2)); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestAnswerCutShort(t *testing.T) {
	cut := question("A", 0, trace.StepTruncated, "NOERROR")
	cut.Size = 512
	over := question("A", 5e6, trace.StepAnswer, "NOERROR")
	over.Transport = "tcp"
	tcp := func(c trace.Connection) *trace.Trace {
		c.ID, c.Network, c.Opened, c.RemoteAddr, c.LocalAddr = 7, "tcp", 3e6, nameOf, netip.AddrPortFrom(asker, 4000)
		tr := overheard([]trace.Step{cut})
		tr.Connections = []*trace.Connection{&c}
		tr.Events = append(tr.Events, &trace.Event{ID: 2, Time: 3e6, Name: trace.EventTCPSYN, Connection: 7}, &trace.Event{ID: 3, Time: 9e9})
		tr.Events[0].Name = trace.EventDNSResponse
		return tr
	}
	short := overheard([]trace.Step{cut})
	short.Events[0].Name = trace.EventDNSResponse
	long := overheard([]trace.Step{cut})
	long.Events[0].Name = trace.EventDNSResponse
	long.Events = append(long.Events, &trace.Event{ID: 2, Time: 9e9})
	again := overheard([]trace.Step{cut, over})
	again.Events[0].Name = trace.EventDNSResponse
	const head = "DNS-TRUNCATED: the answer to www.test. A was cut to 512 octets to fit a datagram (TC)"
	for want, tr := range map[string]*trace.Trace{
		"info DNS-TRUNCATED: the answer to www.test. A was cut to fit a datagram (TC) and was asked for again over TCP": again,
		"info " + head: short,
		"warning " + head + ", and was not asked for again over TCP":                                                 long,
		"warning " + head + ", and the server did not answer the connection over TCP that was to bring the whole":    tcp(trace.Connection{Segments: &trace.Segments{}}),
		"warning " + head + ", and the connection over TCP that was to bring the whole was reset before it was open": tcp(trace.Connection{ClosedBy: trace.ByReset, Segments: &trace.Segments{Server: trace.SegmentSide{Segments: 1}}}),
		"info " + head + ", and a connection over TCP followed in which no question was read":                        tcp(trace.Connection{BytesIn: 1, Segments: &trace.Segments{Server: trace.SegmentSide{Segments: 1}}}),
	} {
		got, _, _ := strings.Cut(lines(tr), "\n")
		if got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

// What a server says that is not SERVFAIL is not called so.
func TestOtherResponseCodes(t *testing.T) {
	tr := overheard([]trace.Step{question("A", 0, trace.StepServerFailure, "BADVERS")})
	tr.Events[0].Name = trace.EventDNSResponse
	tr.Lookups[0].Failure = &trace.Failure{Layer: trace.LayerDNS, Code: trace.FailServerFailure, Seen: "seen", Try: "try"}
	f := Findings(tr)
	if len(f) != 1 || f[0].Title != "www.test could not be looked up: the name server said BADVERS" || strings.Contains(f[0].Explanation, "SERVFAIL") || strings.Contains(f[0].WhatToDo, "DNSSEC") {
		t.Errorf("%+v", f[0])
	}
}

// Names that no request needs fail with less weight, and what is no lookup is
// not judged.
func TestWhatIsNotForAnAddress(t *testing.T) {
	tr := overheard([]trace.Step{question("SRV", 0, trace.StepNoName, "NXDOMAIN")})
	tr.Events[0].Name = trace.EventDNSResponse
	tr.Lookups[0].Failure = &trace.Failure{Layer: trace.LayerDNS, Code: trace.FailNameNotFound, Seen: "seen", Try: "try"}
	if got := lines(tr); got != "warning DNS-NXDOMAIN: www.test does not exist" {
		t.Error(got)
	}
	silent := overheard([]trace.Step{question("A", 0, trace.StepTimeout, ""), question("A", 5e9, trace.StepTimeout, "")})
	silent.Lookups[0].Kind = trace.LookupMDNS
	if got := lines(silent); got != "" {
		t.Error(got)
	}
}

// A thousand names that do not exist are not a thousand findings.
func TestFindingsOfNamesAreBounded(t *testing.T) {
	tr := &trace.Trace{}
	for i := range 1000 {
		tr.Lookups = append(tr.Lookups, &trace.Lookup{ID: i + 1, Name: "n" + strconv.Itoa(i) + ".test", Client: asker, Steps: []trace.Step{question("A", 0, trace.StepNoName, "NXDOMAIN")},
			Failure: &trace.Failure{Layer: trace.LayerDNS, Code: trace.FailNameNotFound, Seen: "seen", Try: "try"}})
		tr.Events = append(tr.Events, &trace.Event{ID: i + 1, Name: trace.EventDNSResponse, Lookup: i + 1})
	}
	f := Findings(tr)
	if len(f) != maxAlike+1 || f[maxAlike].Title != "the same is true of 980 more lookups" || len(f[maxAlike].Evidence) != enough {
		t.Errorf("%d findings, the last %+v", len(f), f[len(f)-1])
	}
}

// Of a lookup with more messages than are told no count of all is claimed.
func TestSilenceOfMoreThanIsTold(t *testing.T) {
	steps := []trace.Step{question("A", 0, trace.StepTimeout, ""), question("A", 5e9, trace.StepTimeout, ""), {Source: trace.SourceDNS, Outcome: trace.StepSkipped}}
	if got, want := lines(overheard(steps)), "warning DNS-TIMEOUT: name server 192.0.2.53:53 did not answer 2 of the first 2 queries for www.test"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
