package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"peel/dns"
	nameserver "peel/dns/server"
	"peel/internal/kernel"
	"peel/server"
)

// exposure is how a name server stands towards others than its user.
type exposure struct {
	allow     []string
	rate      int
	slip      int
	noCookies bool
	check     bool
	metrics   string
	queryLog  string
	user      string

	log  *visitLog
	cert atomic.Pointer[tls.Certificate]
}

func (e *exposure) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&e.allow, "allow-recursion", nil, "PREFIX whose clients may have names resolved; may be given again; without it: loopback, private and link-local addresses")
	f.IntVar(&e.rate, "rate-limit", 0, "responses of one kind a second to one network over UDP; 0 for any number")
	f.IntVar(&e.slip, "slip", 2, "of what the rate limit withholds, let every so many out, cut, so that clients come again over TCP")
	f.BoolVar(&e.noCookies, "no-cookies", false, "give clients no DNS cookies (RFC 7873)")
	f.BoolVar(&e.check, "check", false, "read zones, certificates and all else, say what is wrong, and serve nothing")
	f.StringVar(&e.metrics, "metrics", "", "loopback ADDRESS:PORT for /metrics (Prometheus) and /health")
	f.StringVar(&e.queryLog, "query-log", "", "write each query to FILE, a line of JSON each; - for standard output")
	f.StringVar(&e.user, "user", "", "become this user when all ports are open")
}

// prefixes reads addresses and prefixes given with a flag.
func prefixes(flag string, list []string) (out []netip.Prefix, err error) {
	for _, p := range list {
		prefix, err := netip.ParsePrefix(p)
		if a, aerr := netip.ParseAddr(p); aerr == nil {
			prefix, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: neither an address nor a prefix", flag, p)
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}

// apply sets a server up.
func (e *exposure) apply(s *nameserver.Server) (err error) {
	if s.AllowRecursion = nameserver.LocalNetworks(); len(e.allow) > 0 {
		if s.AllowRecursion, err = prefixes("--allow-recursion", e.allow); err != nil {
			return err
		}
	}
	if e.rate < 0 || e.slip < 0 {
		return errors.New("--rate-limit and --slip take no negative number")
	}
	if e.rate > 0 {
		s.Rate = &nameserver.RateLimit{PerSecond: e.rate, Slip: e.slip}
	}
	if !e.noCookies {
		c := &nameserver.Cookies{}
		for range 4 {
			c.Secret = strconv.AppendUint(c.Secret, kernel.Random64(), 16)
		}
		s.Cookies = c
	}
	if e.metrics != "" {
		a, err := netip.ParseAddrPort(e.metrics)
		if err != nil || !a.Addr().IsLoopback() {
			return fmt.Errorf("--metrics %s: not ADDRESS:PORT of a loopback address; what they tell is not for everybody", e.metrics)
		}
	}
	return nil
}

// visitLog writes visits as they come. Where they come faster than they can be
// written they are dropped and counted: the log must not hold up answers.
type visitLog struct {
	lines   chan nameserver.Visit
	dropped atomic.Uint64
	once    sync.Once
	stop    chan struct{}
	done    chan struct{}
}

// visitJSON is a line of the query log.
type visitJSON struct {
	Time      string `json:"time"`
	Client    string `json:"client"`
	Transport string `json:"transport"`
	Name      string `json:"name,omitempty"`
	Type      string `json:"type,omitempty"`
	Class     string `json:"class,omitempty"`
	Rcode     string `json:"rcode"`
	From      string `json:"from"`
	Bytes     int    `json:"bytes"`
	Duration  int64  `json:"duration_ns"`
	Withheld  bool   `json:"withheld,omitempty"`
	// Dropped counts the lines that are missing before this one.
	Dropped uint64 `json:"dropped_before,omitempty"`
}

func newVisitLog(to io.Writer) *visitLog {
	l := &visitLog{lines: make(chan nameserver.Visit, 4096), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		w := bufio.NewWriter(to)
		out := json.NewEncoder(w)
		write := func(v nameserver.Visit) {
			line := visitJSON{Time: v.Start.UTC().Format(time.RFC3339Nano), Client: v.Peer.String(), Transport: v.Transport.String(), Rcode: v.Rcode.String(),
				From: v.Source.String(), Bytes: v.Bytes, Duration: int64(v.Duration), Withheld: v.Withheld, Dropped: l.dropped.Swap(0)}
			if v.Question != (dns.Question{}) {
				line.Name, line.Type, line.Class = v.Question.Name.String(), v.Question.Type.String(), v.Question.Class.String()
			}
			_ = out.Encode(line)
		}
		for {
			select {
			case v := <-l.lines:
				write(v)
				if len(l.lines) == 0 {
					_ = w.Flush()
				}
				continue
			case <-l.stop:
			}
			for len(l.lines) > 0 {
				write(<-l.lines)
			}
			_ = w.Flush()
			return
		}
	}()
	return l
}

func (l *visitLog) visit(v nameserver.Visit) {
	select {
	case l.lines <- v:
	default:
		l.dropped.Add(1)
	}
}

// close writes what is left.
func (l *visitLog) close() {
	l.once.Do(func() { close(l.stop) })
	<-l.done
}

// openLog opens the query log.
func (s *serveDNS) openLog() error {
	var to io.Writer = s.std.out
	if s.queryLog == "" {
		return nil
	}
	if s.queryLog != "-" {
		f, err := os.OpenFile(s.queryLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY|noFollow, 0o600)
		if err != nil {
			return fmt.Errorf("--query-log: %w", err)
		}
		to = f
	}
	s.log = newVisitLog(to)
	s.server.OnVisit = s.log.visit
	return nil
}

// serveMetrics answers /metrics and /health on a loopback port.
func (s *serveDNS) serveMetrics(ctx context.Context) error {
	l, err := net.Listen("tcp", s.metrics)
	if err != nil {
		return listenHint(err)
	}
	web := &server.Server{Handler: server.HandlerFunc(func(w *server.ResponseWriter, r *server.Request) {
		w.Header.Add("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		switch path, _, _ := strings.Cut(r.Path, "?"); path {
		case "/metrics":
			_, _ = io.WriteString(w, s.metricsText())
		case "/health": // whoever answers here is alive: a listener that ends, ends all
			_, _ = io.WriteString(w, "ok\n")
		default:
			w.WriteHeader(404)
		}
	}), Limits: server.Limits{Connections: 16}}
	s.run(ctx, "metrics", func() error { return web.Serve(l) })
	context.AfterFunc(ctx, func() { web.Close() })
	s.say("metrics on http://%s/metrics", l.Addr())
	return nil
}

// metricsText is in the text format of Prometheus.
func (s *serveDNS) metricsText() string {
	var b strings.Builder
	family := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	one := func(name, kind, help string, v any) { family(name, kind, help); fmt.Fprintf(&b, "%s %v\n", name, v) }
	c := s.server.Counts()
	family("peel_dns_queries_total", "counter", "Queries, by how they came.")
	for t, n := range c.Queries {
		fmt.Fprintf(&b, "peel_dns_queries_total{transport=%q} %d\n", nameserver.Transport(t), n)
	}
	family("peel_dns_responses_total", "counter", "Responses, by response code.")
	for r, n := range c.Responses {
		if n > 0 || r < 6 {
			fmt.Fprintf(&b, "peel_dns_responses_total{rcode=%q} %d\n", dns.Rcode(r), n)
		}
	}
	family("peel_dns_responses_by_source_total", "counter", "Responses, by what they were made from.")
	for f, n := range c.Sources {
		fmt.Fprintf(&b, "peel_dns_responses_by_source_total{source=%q} %d\n", nameserver.Source(f), n)
	}
	one("peel_dns_truncated_total", "counter", "Responses that were cut.", c.Truncated)
	one("peel_dns_withheld_total", "counter", "Responses that the rate limit withheld.", c.Withheld)
	one("peel_dns_recursion_refused_total", "counter", "Queries of clients that may not have names resolved.", c.Refused)
	one("peel_dns_good_cookies_total", "counter", "Queries with a good DNS cookie.", c.Cookies)
	one("peel_dns_connections", "gauge", "Connections at present.", c.Streams)
	one("peel_dns_connections_closed_total", "counter", "Connections closed to make room, or for which there was none.", c.MadeRoom)
	if s.resolver != nil {
		r := s.resolver.Stats()
		one("peel_dns_resolver_questions", "gauge", "Clients' questions that wait.", r.Questions)
		one("peel_dns_resolver_sockets", "gauge", "Sockets that wait for other servers.", r.Open)
		one("peel_dns_resolver_sockets_allowed", "gauge", "Sockets that may be open, fewer after one could not be opened.", r.MaxOpen)
		one("peel_dns_resolver_waiting", "gauge", "Queries that wait for a socket.", r.Waiting)
		one("peel_dns_resolver_sent_total", "counter", "Queries to other servers.", r.Sent)
		one("peel_dns_resolver_answers_total", "counter", "Answers of other servers.", r.Answers)
		one("peel_dns_resolver_timeouts_total", "counter", "Queries to other servers without an answer.", r.Timeouts)
		one("peel_dns_resolver_refused_total", "counter", "Questions for which there was no place.", r.Refused)
		one("peel_dns_resolver_no_socket_total", "counter", "Sockets that could not be opened.", r.NoSocket)
		one("peel_dns_resolver_barred_total", "counter", "Questions not asked, as the zone's servers do not answer.", r.Barred)
		one("peel_dns_resolver_signatures_total", "counter", "Signatures checked.", r.Verified)
		k := s.resolver.CacheStats()
		one("peel_dns_cache_entries", "gauge", "Entries of the cache.", k.Entries)
		one("peel_dns_cache_bytes", "gauge", "About what they take.", k.Bytes)
		one("peel_dns_cache_hits_total", "counter", "Look-ups that found an entry.", k.Hits)
		one("peel_dns_cache_misses_total", "counter", "Look-ups that found none.", k.Misses)
		one("peel_dns_cache_evicted_total", "counter", "Entries thrown out for room.", k.Evicted)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	one("peel_heap_bytes", "gauge", "Memory in use.", m.HeapInuse)
	one("peel_goroutines", "gauge", "Goroutines.", runtime.NumGoroutine())
	return b.String()
}

// notify tells systemd how the service is (sd_notify(3)), where it asks for it.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' { // an abstract name
		path = "\x00" + path[1:]
	}
	if c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}); err == nil {
		_, _ = c.Write([]byte(state))
		c.Close()
	}
}
