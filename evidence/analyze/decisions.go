package analyze

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"peel/evidence/capture"
	"peel/evidence/decision"
	"peel/trace"
)

// decided takes a decision: what no wire shows.
func (a *Analyzer) decided(r *capture.Record) {
	switch d := r.Decision.(type) {
	case *decision.CaptureDamaged, *decision.CaptureDropped, *decision.CaptureNames, *decision.CaptureFormat, *decision.CaptureComment:
		a.captureDecision(r)
		return // it tells nothing of requests
	case *decision.RequestStarted, *decision.RequestBound, *decision.RequestFailed, *decision.BodyDecoded, *decision.BodyRead, *decision.BodyAbandoned,
		*decision.Redirected, *decision.CookieStored, *decision.CookieRejected:
		a.requestDecision(r)
	case *decision.PoolNew, *decision.PoolReused, *decision.PoolWaited:
		a.poolDecision(r)
	case *decision.LookupStarted, *decision.LookupStep, *decision.LookupEarly, *decision.LookupEnded:
		a.lookupDecision(r)
	case *decision.ConnectTo:
		e := a.event(r.Time, trace.LayerTCP, d.Name(), fmt.Sprintf("connect to %s instead of %s: %s", d.To, d.From, d.Why))
		e.Exchange = a.exchange(r.Exchange).tr.ID
	case *decision.ConnectStarted, *decision.ConnectDone, *decision.ConnectFailed:
		a.connectDecision(r)
	case *decision.SocketBound, *decision.SocketOpened, *decision.SocketAccepted, *decision.SocketEOF, *decision.SocketReset, *decision.SocketClosed, *decision.TCPInfo:
		a.socketDecision(r)
	case *decision.TLSStarted, *decision.TLSDone, *decision.TLSFailed, *decision.TLSVerdict:
		a.tlsDecision(r)
	case *decision.FrameHandled, *decision.HostDecided:
		a.event(r.Time, trace.LayerPeel, d.Name(), decision.Note(d))
	case *decision.TCPDecided:
		a.event(r.Time, trace.LayerPeel, d.Name(), d.Text)
	case *decision.Unknown:
		a.event(r.Time, trace.LayerPeel, d.Name(), "a decision that this version cannot read")
	}
	a.decisions = true
}

func (a *Analyzer) requestDecision(r *capture.Record) {
	t, x, name := r.Time, a.exchange(r.Exchange), r.Decision.Name()
	switch d := r.Decision.(type) {
	case *decision.RequestStarted:
		x.tr.Method = d.Method
		x.tr.URL = d.Scheme + "://" + d.Authority + d.Target
		x.tr.Input = d.Input
		x.tr.Normalised = d.Normalised
		x.tr.Cause = d.Cause
		if d.Predecessor > 0 {
			x.tr.Predecessor = a.exchange(d.Predecessor).tr.ID
		}
		text := x.tr.Method + " " + x.tr.URL
		if x.tr.Cause != "" {
			text += fmt.Sprintf(" (%s of exchange %d)", x.tr.Cause, x.tr.Predecessor)
		}
		x.start = a.event(t, trace.LayerInput, name, text)
		x.start.Exchange = x.tr.ID
		if len(x.tr.Normalised) > 0 {
			e := a.event(t, trace.LayerURL, "url.normalised", strings.Join(x.tr.Normalised, "; "))
			e.Exchange = x.tr.ID
		}
	case *decision.RequestBound:
		c := a.conn(r.Socket)
		c.carries(x)
		x.tr.Connection = c.tr.ID
		x.tr.Stream = r.Stream
		c.bind(x, r.Stream)
	case *decision.RequestFailed:
		failure := d.Failure
		x.tr.Failure = &failure
		text := d.Failure.Seen
		if d.Next != "" {
			text += "; " + d.Next
		}
		x.failed = a.event(t, d.Failure.Layer, name, text)
		x.failed.Exchange = x.tr.ID
		x.failed.Connection = x.tr.Connection
	case *decision.BodyDecoded:
		x.decoded = &d.Size
	case *decision.BodyRead:
		x.read = d
	default:
		e := a.event(t, trace.LayerHTTP, name, decision.Note(d))
		e.Exchange = x.tr.ID
	}
}

func (a *Analyzer) poolDecision(r *capture.Record) {
	x := a.exchange(r.Exchange)
	var text string
	switch d := r.Decision.(type) {
	case *decision.PoolNew:
		text = "new connection: " + d.Why
		x.tr.Pool = text
	case *decision.PoolReused:
		c := a.conn(r.Socket)
		x.tr.Reused = true
		text = fmt.Sprintf("reused connection #%d", r.Socket)
		if d.Protocol == decision.HTTP2 {
			text += ", shared by HTTP/2 streams"
		} else if d.Idle > 0 {
			text += fmt.Sprintf(", idle for %v", short(d.Idle))
		}
		x.tr.Connection = c.tr.ID
		if d.Waited != "" {
			text += "; waited " + d.Waited
		}
		x.tr.Pool = text
	case *decision.PoolWaited:
		text = "waiting " + d.Why
	}
	e := a.event(r.Time, trace.LayerPool, r.Decision.Name(), text)
	e.Exchange = x.tr.ID
	e.Connection = int(r.Socket)
}

func short(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}

func (a *Analyzer) lookupDecision(r *capture.Record) {
	t, l := r.Time, a.lookup(r.Lookup)
	l.last = t
	event := func(text string) *trace.Event {
		e := a.event(t, trace.LayerDNS, r.Decision.Name(), text)
		e.Lookup = l.tr.ID
		return e
	}
	switch d := r.Decision.(type) {
	case *decision.LookupStarted:
		l.tr.Name = d.Host
		l.start = event("look up " + d.Host)
		if r.Exchange != 0 {
			x := a.exchange(r.Exchange)
			x.lookup, x.tr.Lookup = l, l.tr.ID
			l.start.Exchange = x.tr.ID
		}
	case *decision.LookupStep:
		s := trace.Step{Source: d.Source, Server: d.Server, Transport: d.Transport, Attempt: int(d.Attempt),
			Outcome: d.Outcome, Rcode: d.Rcode, Text: d.Text, Duration: trace.Duration(d.Duration)}
		s.Question.UnmarshalText([]byte(d.Question))
		s.Time = a.time(t) - trace.Time(s.Duration)
		for _, rr := range d.Answers {
			s.Answers = append(s.Answers, trace.Record{Name: rr.Name, TTL: rr.TTL, Type: rr.Type, Data: rr.Data})
		}
		l.tr.Steps = append(l.tr.Steps, s)
		event(s.Text)
	case *decision.LookupEarly:
		l.early = event(ipList(d.Addresses) + " will do for a start; the other family's answer is still out")
	case *decision.LookupEnded:
		l.tr.End = a.time(t)
		for _, ad := range d.Addresses {
			l.tr.Addresses = append(l.tr.Addresses, trace.Address{IP: ad.IP, Source: ad.Source, TTL: ad.TTL, Why: ad.Why})
		}
		text := "no address"
		if d.Failure.Seen != "" {
			failure := d.Failure
			l.tr.Failure = &failure
			text = d.Failure.Seen
		} else if len(d.Addresses) > 0 {
			text = l.tr.Name + " is " + ipList(d.Addresses)
		}
		if d.Partly {
			text += "; the other family's answer was not waited for"
		}
		l.end = event(text)
	}
}

func ipList(list []decision.Address) string {
	var ips []string
	for _, ad := range list {
		ips = append(ips, ad.IP.String())
	}
	return strings.Join(ips, ", ")
}

// addrText is empty for an address that is not known.
func addrText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (a *Analyzer) connectDecision(r *capture.Record) {
	c, at := a.conn(r.Socket), a.time(r.Time)
	event := func(text string) *trace.Event {
		e := a.event(r.Time, trace.LayerTCP, r.Decision.Name(), text)
		c.about(e)
		return e
	}
	switch d := r.Decision.(type) {
	case *decision.ConnectStarted:
		c.tr.Opened = at
		c.tr.RemoteAddr = d.Address
		c.tr.Origin = d.Origin
		c.tr.Attempts = []trace.Attempt{{Address: d.Address, Start: at, Outcome: trace.AttemptPending}}
		c.start = event("connect to " + addrText(d.Address))
		if r.Exchange != 0 {
			x := a.exchange(r.Exchange)
			x.attempts = append(x.attempts, c)
			c.start.Exchange = x.tr.ID
		}
	case *decision.ConnectDone:
		c.tr.Connected = &at
		c.tr.LocalAddr, c.tr.RemoteAddr = d.Local, d.Remote
		c.attemptEnded(at, trace.AttemptConnected, "")
		c.done = event("connected: " + addrText(d.Local) + " → " + addrText(d.Remote))
	case *decision.ConnectFailed:
		c.attemptEnded(at, d.Outcome, d.Error)
		c.tr.Closed = &at
		c.unopened(d)
		event(d.Error)
	}
}

// about says of an event which connection it is about.
func (c *conn) about(e *trace.Event) {
	e.Connection = c.tr.ID
	if c.lookup != nil {
		e.Lookup = c.lookup.tr.ID
	}
}

func (a *Analyzer) socketDecision(r *capture.Record) {
	t, c := r.Time, a.conn(r.Socket)
	event := func(text string) *trace.Event {
		e := a.event(t, trace.LayerTCP, r.Decision.Name(), text)
		c.about(e)
		return e
	}
	switch d := r.Decision.(type) {
	case *decision.SocketAccepted:
		c.accepted = true
		c.tr.LocalAddr, c.tr.RemoteAddr = d.Remote, d.Local
		c.tr.Opened = a.time(t)
	case *decision.SocketBound:
		a.wireOf().bound[d.Port] = r.Socket
	case *decision.SocketOpened:
		if d.Local.IsValid() && c.flow == nil {
			a.wireOf().bound[d.Local.Port()] = r.Socket
		}
		c.tr.Network = string(d.Transport)
		c.tr.LocalAddr, c.tr.RemoteAddr = d.Local, d.Remote
		c.tr.Opened = a.time(t)
		if d.For == decision.ForDNS {
			c.root.open(&dnsProtocol, nil)
			c.lookup = a.lookup(r.Lookup)
		}
	case *decision.SocketEOF:
		c.endedBySocket(t, c.peer())
		if c.tr.ClosedBy == "" {
			c.tr.ClosedBy = sideName(c.peer())
		}
		event("the " + string(sideName(c.peer())) + " closed its side").Direction = dirNames[c.peer()]
	case *decision.SocketReset:
		c.endedBySocket(t, c.peer())
		c.tr.ClosedBy = trace.ByReset
		event("the connection broke: " + d.Error).Direction = dirNames[c.peer()]
	case *decision.SocketClosed:
		c.endedBySocket(t, capture.In)
		c.endedBySocket(t, capture.Out)
		at := a.time(t)
		c.tr.Closed = &at
		if c.tr.ClosedBy == "" {
			c.tr.ClosedBy = d.By
		}
		if c.tr.Network == string(decision.TCP) {
			text := "closed"
			if d.Why != "" {
				text += ": " + d.Why
			}
			event(text).Direction = dirNames[1-c.peer()]
		}
	case *decision.TCPInfo:
		c.tr.TCP = &trace.TCP{Source: trace.FromKernel, State: d.State,
			RTT: trace.Duration(d.RTT), RTTVar: trace.Duration(d.RTTVar), MinRTT: trace.Duration(d.MinRTT), RTO: trace.Duration(d.RTO),
			SendMSS: d.SendMSS, ReceiveMSS: d.ReceiveMSS, AdvertMSS: d.AdvertMSS, PathMTU: d.PathMTU,
			CwndSegs: d.Cwnd, Retransmits: d.Retransmits, Lost: d.Lost, SegmentsOut: d.SegmentsOut, SegmentsIn: d.SegmentsIn,
			Options: d.Options}
		event(tcpInfoText(d))
	}
}

// peer is the direction in which the other side of the recorded program's
// socket sends.
func (c *conn) peer() capture.Direction {
	if c.accepted {
		return capture.Out
	}
	return capture.In
}

func tcpInfoText(d *decision.TCPInfo) string {
	s := fmt.Sprintf("kernel TCP_INFO: %s, RTT %v ± %v, MSS %d, cwnd %d segments, %d retransmitted", d.State, short(d.RTT), short(d.RTTVar), d.SendMSS, d.Cwnd, d.Retransmits)
	if len(d.Options) > 0 {
		s += ", " + strings.Join(d.Options, ", ")
	}
	return s
}

// captureDecision takes what is told of the capture itself.
func (a *Analyzer) captureDecision(r *capture.Record) {
	var text string
	switch d := r.Decision.(type) {
	case *decision.CaptureDamaged:
		text = d.Text
	case *decision.CaptureDropped:
		text = fmt.Sprintf("%d packets were dropped by the capture", d.Packets)
	case *decision.CaptureNames:
		if a.decisions {
			return // the lookups tell them
		}
		text = fmt.Sprintf("names of %d addresses", len(d.Hosts))
	default:
		text = decision.Note(d)
	}
	a.event(r.Time, trace.LayerCapture, r.Decision.Name(), text)
}

func (a *Analyzer) tlsDecision(r *capture.Record) {
	c := a.conn(r.Socket)
	event := func(text string) *trace.Event {
		e := a.event(r.Time, trace.LayerTLS, r.Decision.Name(), text)
		e.Connection = c.tr.ID
		return e
	}
	facts := c.facts()
	switch d := r.Decision.(type) {
	case *decision.TLSStarted:
		c.told = true
		c.tlsStart = event("TLS handshake for " + d.ServerName + ", offering " + strings.Join(d.ALPN, ","))
	case *decision.TLSDone:
		c.tlsDone = event("TLS handshake complete")
	case *decision.TLSFailed:
		c.tlsFailed = event(d.Seen)
		c.tr.Failure = &trace.Failure{Layer: trace.LayerTLS, Code: d.Code, Seen: d.Seen}
	case *decision.TLSVerdict:
		facts.Verdict = &trace.Verdict{OK: d.OK, Code: d.Code, Reason: d.Reason, Explanation: d.Explanation, Try: d.Try, Hint: d.Hint, Ignored: d.Ignored}
		text := "certificate: " + d.Reason
		if d.Ignored {
			text += " (ignored, as asked)"
		}
		event(text)
	}
}
