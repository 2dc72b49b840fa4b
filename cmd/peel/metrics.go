package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"

	"peel/dns"
	nameserver "peel/dns/server"
	"peel/server"
)

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
