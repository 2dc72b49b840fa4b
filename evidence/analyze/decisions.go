package analyze

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
)

// lookup is a name's story while it is being told.
type lookup struct {
	tr trace.Lookup
	// early is when one family's addresses were good enough to go on.
	start, early, end *trace.Event
	used              bool // by an exchange that no decision tells of
}

func (l *lookup) trace() *trace.Lookup {
	t := l.tr
	if t.Steps == nil {
		t.Steps = []trace.Step{}
	}
	if t.Addresses == nil {
		t.Addresses = []trace.Address{}
	}
	return &t
}

// decided takes a decision: what no wire shows.
func (a *Analyzer) decided(t clock.Time, d *capture.Decision) {
	if strings.HasPrefix(d.Name, "capture.") {
		a.captureDecision(t, d)
		return
	}
	a.decisions = true
	switch family, _, _ := strings.Cut(d.Name, "."); family {
	case "request", "body", "redirect", "cookie", "auth":
		a.requestDecision(t, d)
	case "pool":
		a.poolDecision(t, d)
	case "lookup":
		a.lookupDecision(t, d)
	case "connect", "socket", "tcp":
		a.socketDecision(t, d)
	case "tls":
		a.tlsDecision(t, d)
	default:
		a.event(t, trace.LayerPeel, d.Name, d.Get("text"))
	}
}

func (a *Analyzer) requestDecision(t clock.Time, d *capture.Decision) {
	x := a.exchange(d.Exchange)
	switch d.Name {
	case "request.start":
		x.tr.Method = d.Get("method")
		x.tr.URL = d.Get("scheme") + "://" + d.Get("authority") + d.Get("target")
		x.tr.Input = d.Get("input")
		x.tr.Normalised = d.All("normalised")
		x.tr.Cause = trace.Cause(d.Get("cause"))
		if n := number(d, "predecessor"); n > 0 {
			x.tr.Predecessor = a.exchange(uint32(n)).tr.ID
		}
		text := x.tr.Method + " " + x.tr.URL
		if x.tr.Cause != "" {
			text += fmt.Sprintf(" (%s of exchange %d)", x.tr.Cause, x.tr.Predecessor)
		}
		x.start = a.event(t, trace.LayerInput, d.Name, text)
		x.start.Exchange = x.tr.ID
		if len(x.tr.Normalised) > 0 {
			e := a.event(t, trace.LayerURL, "url.normalised", strings.Join(x.tr.Normalised, "; "))
			e.Exchange = x.tr.ID
		}
	case "request.bind":
		c := a.conn(d.Socket)
		x.conn = c
		x.tr.Connection = c.tr.ID
		x.tr.Stream = d.Stream
		c.bind(x, d.Stream)
	case "request.failed":
		x.tr.Failure = failureOf(d)
		text := x.tr.Failure.Seen
		if next := d.Get("next"); next != "" {
			text += "; " + next
		}
		x.failed = a.event(t, x.tr.Failure.Layer, d.Name, text)
		x.failed.Exchange = x.tr.ID
		x.failed.Connection = x.tr.Connection
	case "body.decoded":
		if n, err := strconv.ParseInt(d.Get("size"), 10, 64); err == nil {
			x.decoded = &n
		}
	default:
		e := a.event(t, trace.LayerHTTP, d.Name, d.Get("text"))
		e.Exchange = x.tr.ID
	}
}

func failureOf(d *capture.Decision) *trace.Failure {
	return &trace.Failure{Layer: trace.LayerName(d.Get("layer")), Code: trace.FailureCode(d.Get("code")), Seen: d.Get("seen"), Try: d.Get("try"), Hint: trace.Hint(d.Get("hint"))}
}

func number(d *capture.Decision, key string) int64 {
	n, _ := strconv.ParseInt(d.Get(key), 10, 64)
	return n
}

// address reads an address of a decision; a network that has no IP addresses
// gives none.
func address(d *capture.Decision, key string) netip.AddrPort {
	a, _ := netip.ParseAddrPort(d.Get(key))
	return a
}

func (a *Analyzer) poolDecision(t clock.Time, d *capture.Decision) {
	x := a.exchange(d.Exchange)
	var text string
	switch d.Name {
	case "pool.new":
		text = "new connection: " + d.Get("why")
		x.tr.Pool = text
	case "pool.reuse":
		c := a.conn(d.Socket)
		x.tr.Reused = true
		text = fmt.Sprintf("reused connection #%d", d.Socket)
		if trace.Protocol(d.Get("protocol")) == trace.ProtocolHTTP2 {
			text += ", shared by HTTP/2 streams"
		} else if idle := number(d, "idle_ns"); idle > 0 {
			text += fmt.Sprintf(", idle for %v", short(time.Duration(idle)))
		}
		x.tr.Connection = c.tr.ID
		if w := d.Get("waited"); w != "" {
			text += "; waited " + w
		}
		x.tr.Pool = text
	case "pool.wait":
		text = "waiting " + d.Get("why")
	default:
		text = d.Get("text")
	}
	e := a.event(t, trace.LayerPool, d.Name, text)
	e.Exchange = x.tr.ID
	e.Connection = int(d.Socket)
	if d.Name != "pool.wait" {
		x.pooled = e
	}
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

func (a *Analyzer) lookupDecision(t clock.Time, d *capture.Decision) {
	l := a.lookup(d.Lookup)
	name := func(e *trace.Event) *trace.Event {
		e.Lookup = l.tr.ID
		return e
	}
	switch d.Name {
	case "lookup.start":
		l.tr.Name = d.Get("name")
		l.start = name(a.event(t, trace.LayerDNS, d.Name, "look up "+l.tr.Name))
		if d.Exchange != 0 {
			x := a.exchange(d.Exchange)
			x.lookup, x.tr.Lookup = l, l.tr.ID
			l.start.Exchange = x.tr.ID
		}
	case "lookup.step":
		s := trace.Step{Source: trace.StepSource(d.Get("source")), Server: address(d, "server"), Transport: d.Get("transport"),
			Attempt: int(number(d, "attempt")), Outcome: trace.StepOutcome(d.Get("outcome")), Rcode: d.Get("rcode"), Text: d.Get("text"),
			Duration: trace.Duration(number(d, "duration_ns"))}
		s.Question.UnmarshalText([]byte(d.Get("question")))
		s.Time = a.time(t) - trace.Time(s.Duration)
		for _, rr := range d.All("answer") {
			if f := strings.SplitN(rr, "\t", 4); len(f) == 4 {
				ttl, _ := strconv.ParseUint(f[1], 10, 32)
				s.Answers = append(s.Answers, trace.Record{Name: f[0], TTL: uint32(ttl), Type: f[2], Data: f[3]})
			}
		}
		l.tr.Steps = append(l.tr.Steps, s)
		name(a.event(t, trace.LayerDNS, d.Name, s.Text))
	case "lookup.early":
		var ips []string
		for _, ad := range d.All("address") {
			ip, _, _ := strings.Cut(ad, "\t")
			ips = append(ips, ip)
		}
		l.early = name(a.event(t, trace.LayerDNS, d.Name, strings.Join(ips, ", ")+" will do for a start; the other family's answer is still out"))
	case "lookup.end":
		l.tr.End = a.time(t)
		for _, ad := range d.All("address") {
			if f := strings.SplitN(ad, "\t", 4); len(f) == 4 {
				ttl, err := strconv.ParseInt(f[2], 10, 64)
				if err != nil {
					ttl = -1
				}
				ip, _ := netip.ParseAddr(f[0])
				l.tr.Addresses = append(l.tr.Addresses, trace.Address{IP: ip, Source: f[1], TTL: ttl, Why: f[3]})
			}
		}
		text := "no address"
		if d.Get("seen") != "" {
			l.tr.Failure = failureOf(d)
			text = l.tr.Failure.Seen
		} else if len(l.tr.Addresses) > 0 {
			var ips []string
			for _, ad := range l.tr.Addresses {
				ips = append(ips, ad.IP.String())
			}
			text = l.tr.Name + " is " + strings.Join(ips, ", ")
		}
		if more := d.Get("text"); more != "" {
			text += "; " + more
		}
		l.end = name(a.event(t, trace.LayerDNS, d.Name, text))
	}
}

func (a *Analyzer) socketDecision(t clock.Time, d *capture.Decision) {
	if d.Name == "connect.to" {
		e := a.event(t, trace.LayerTCP, d.Name, fmt.Sprintf("connect to %s instead of %s: %s", d.Get("to"), d.Get("from"), d.Get("why")))
		e.Exchange = a.exchange(d.Exchange).tr.ID
		return
	}
	c := a.conn(d.Socket)
	var e *trace.Event
	switch d.Name {
	case "connect.start":
		c.tr.Opened = a.time(t)
		c.tr.RemoteAddr = address(d, "address")
		c.tr.Origin = d.Get("origin")
		c.tr.Attempts = []trace.Attempt{{Address: address(d, "address"), Start: a.time(t), Outcome: trace.AttemptPending}}
		e = a.event(t, trace.LayerTCP, d.Name, "connect to "+d.Get("address"))
		c.start = e
		if d.Exchange != 0 {
			x := a.exchange(d.Exchange)
			x.attempts = append(x.attempts, c)
			e.Exchange = x.tr.ID
		}
	case "connect.done":
		at := a.time(t)
		c.tr.Connected = &at
		c.tr.LocalAddr, c.tr.RemoteAddr = address(d, "local"), address(d, "remote")
		c.attemptEnded(at, trace.AttemptConnected, "")
		e = a.event(t, trace.LayerTCP, d.Name, "connected: "+d.Get("local")+" → "+d.Get("remote"))
		c.done = e
	case "connect.failed":
		at := a.time(t)
		c.attemptEnded(at, trace.AttemptOutcome(d.Get("outcome")), d.Get("error"))
		c.tr.Closed = &at
		e = a.event(t, trace.LayerTCP, d.Name, d.Get("error"))
	case "socket.bound":
		a.wireOf().bound[uint16(number(d, "port"))] = d.Socket
		return
	case "socket.open":
		if ap := address(d, "local"); ap.IsValid() && c.flow == nil {
			a.wireOf().bound[ap.Port()] = d.Socket
		}
		c.tr.Network = d.Get("network")
		c.tr.LocalAddr, c.tr.RemoteAddr = address(d, "local"), address(d, "remote")
		c.tr.Opened = a.time(t)
		if d.Get("for") == "dns" {
			c.speak(protoDNS)
			c.lookup = a.lookup(d.Lookup)
		}
		return
	case "socket.eof":
		c.endedBySocket(t, capture.In)
		if c.tr.ClosedBy == "" {
			c.tr.ClosedBy = trace.ByServer
		}
		e = a.event(t, trace.LayerTCP, d.Name, "the server closed its side")
		e.Direction = trace.In
	case "socket.reset":
		c.endedBySocket(t, capture.In)
		c.tr.ClosedBy = trace.ByReset
		e = a.event(t, trace.LayerTCP, d.Name, "the connection broke: "+d.Get("error"))
		e.Direction = trace.In
	case "socket.closed":
		c.endedBySocket(t, capture.In)
		c.endedBySocket(t, capture.Out)
		at := a.time(t)
		c.tr.Closed = &at
		if c.tr.ClosedBy == "" {
			c.tr.ClosedBy = trace.Closer(d.Get("by"))
		}
		if c.tr.Network != "tcp" {
			return
		}
		e = a.event(t, trace.LayerTCP, d.Name, "closed: "+d.Get("why"))
		e.Direction = trace.Out
	case "tcp.info":
		c.tr.TCP = tcpInfo(d)
		e = a.event(t, trace.LayerTCP, d.Name, tcpInfoText(c.tr.TCP))
	default:
		return
	}
	e.Connection = c.tr.ID
	if c.lookup != nil {
		e.Lookup = c.lookup.tr.ID
	}
}

// captureDecision takes what is told of the capture itself.
func (a *Analyzer) captureDecision(t clock.Time, d *capture.Decision) {
	switch d.Name {
	case "capture.damage":
		a.damage++
		a.event(t, trace.LayerCapture, d.Name, d.Get("text"))
	case "capture.dropped":
		a.dropped += number(d, "packets")
		a.event(t, trace.LayerCapture, d.Name, d.Get("packets")+" packets were dropped by the capture")
	case "capture.names":
		if a.decisions {
			return // the lookups tell them
		}
		a.event(t, trace.LayerCapture, d.Name, fmt.Sprintf("names of %d addresses", len(d.Attrs)))
	default:
		a.event(t, trace.LayerCapture, d.Name, d.Get("text"))
	}
}

func tcpInfo(d *capture.Decision) *trace.TCP {
	u := func(k string) uint32 { return uint32(number(d, k)) }
	return &trace.TCP{Source: trace.FromKernel, State: d.Get("state"),
		RTT: trace.Duration(number(d, "rtt_ns")), RTTVar: trace.Duration(number(d, "rtt_var_ns")),
		MinRTT: trace.Duration(number(d, "min_rtt_ns")), RTO: trace.Duration(number(d, "rto_ns")),
		SendMSS: u("send_mss"), ReceiveMSS: u("receive_mss"), AdvertMSS: u("advertised_mss"), PathMTU: u("path_mtu"),
		CwndSegs: u("cwnd"), Retransmits: u("retransmits"), Lost: u("lost"), SegmentsOut: u("segments_out"), SegmentsIn: u("segments_in"),
		Options: d.All("option")}
}

func tcpInfoText(t *trace.TCP) string {
	s := fmt.Sprintf("kernel TCP_INFO: %s, RTT %v ± %v, MSS %d, cwnd %d segments, %d retransmitted", t.State, short(t.RTT.Std()), short(t.RTTVar.Std()), t.SendMSS, t.CwndSegs, t.Retransmits)
	if len(t.Options) > 0 {
		s += ", " + strings.Join(t.Options, ", ")
	}
	return s
}

func (a *Analyzer) tlsDecision(t clock.Time, d *capture.Decision) {
	c := a.conn(d.Socket)
	c.facts()
	var e *trace.Event
	switch d.Name {
	case "tls.start":
		e = a.event(t, trace.LayerTLS, d.Name, "TLS handshake for "+d.Get("server_name")+", offering "+d.Get("alpn"))
		c.tlsStart = e
	case "tls.done":
		e = a.event(t, trace.LayerTLS, d.Name, "TLS handshake complete")
		c.tlsDone = e
	case "tls.failed":
		e = a.event(t, trace.LayerTLS, d.Name, d.Get("error"))
		c.tlsFailed = e
		c.tr.Failure = &trace.Failure{Layer: trace.LayerTLS, Code: trace.FailureCode(d.Get("code")), Seen: d.Get("error")}
	case "tls.verdict":
		c.tr.TLS.Verdict = &trace.Verdict{OK: d.Get("ok") == "true", Code: trace.VerdictCode(d.Get("code")), Reason: d.Get("reason"),
			Explanation: d.Get("explanation"), Try: d.Get("try"), Hint: trace.Hint(d.Get("hint")), Ignored: d.Get("ignored") == "true"}
		text := "certificate: " + d.Get("reason")
		if c.tr.TLS.Verdict.Ignored {
			text += " (ignored, as asked)"
		}
		e = a.event(t, trace.LayerTLS, d.Name, text)
	default:
		return
	}
	e.Connection = c.tr.ID
}
