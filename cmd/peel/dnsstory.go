package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"peel"
	"peel/client"
	"peel/dns/stub"
	"peel/internal/kernel"
	"peel/trace"
	"peel/view/jsontrace"
)

// story tells how this machine resolves the name.
func (d *dnsCommand) story(ctx context.Context) error {
	l, err := d.upLab(ctx)
	if err != nil {
		return err
	}
	if l != nil {
		defer l.Close()
	}
	cfg, err := d.config(l)
	if err != nil {
		return err
	}
	recording, err := peel.Record(peel.RecordOptions{})
	if err != nil {
		return err
	}
	family := client.AnyFamily
	if d.v4 {
		family = client.IPv4
	}
	if d.v6 {
		family = client.IPv6
	}
	c := client.New(client.Options{Clock: recording.Clock(), Recorder: recording.Recorder(), Resolver: &client.Resolver{Config: cfg}, Family: family})
	defer c.Close()
	addrs, failure := c.Lookup(ctx, d.name, 80)
	t := recording.Trace()
	switch {
	case d.json != "":
		err = d.traceJSON(t)
	case d.short:
		for _, a := range addrs {
			fmt.Fprintln(d.std.out, a.Addr())
		}
	case len(t.Lookups) > 0:
		w := d.writer()
		asked := slices.ContainsFunc(t.Lookups[0].Steps, func(s trace.Step) bool { return s.Server.IsValid() })
		w.Story(t.Lookups[0], d.sources(cfg, l != nil, asked), stub.Differences(cfg, d.name, asked))
		for _, f := range t.Findings {
			fmt.Fprintf(d.std.out, "\n%s %s: %s\n", f.Severity, f.ID, f.Title)
		}
		err = w.Err
	}
	if failure != nil {
		return errShown
	}
	return err
}

func (d *dnsCommand) traceJSON(t *trace.Trace) error {
	return writeTo(d.std.out, d.json, func(w io.Writer) error { return jsontrace.Write(w, t, jsontrace.Options{}) })
}

// sources says in one line what decides: the order, the servers, and where
// they were asked the search.
func (d *dnsCommand) sources(cfg *stub.Config, inLab, asked bool) string {
	var parts []string
	if ns := cfg.Nsswitch; ns != nil {
		var words []string
		for _, s := range ns.Sources {
			words = append(words, s.Name)
		}
		where := "no hosts line in nsswitch.conf, so "
		if ns.Line > 0 {
			where = fmt.Sprintf("nsswitch.conf line %d: ", ns.Line)
		}
		parts = append(parts, where+strings.Join(words, " "))
	}
	if r := cfg.Resolv; r != nil {
		var servers []string
		for _, s := range r.Servers {
			text := s.Addr().String()
			if s.Port() != 53 {
				text = s.String()
			}
			if s.Addr() == netip.AddrFrom4([4]byte{127, 0, 0, 53}) {
				text += resolvedUpstreams()
			}
			servers = append(servers, text)
		}
		parts = append(parts, "servers "+strings.Join(servers, ", "))
		if len(r.Search) > 0 && asked {
			var search []string
			for _, n := range r.Search {
				search = append(search, n.Host())
			}
			parts = append(parts, fmt.Sprintf("search %s", strings.Join(search, " "))+searchNote(d.name, r.Dots))
		}
	}
	if inLab {
		parts = append(parts, "in the lab")
	}
	return strings.Join(parts, "; ")
}

// searchNote says what ndots makes of the search list for a name.
func searchNote(host string, ndots int) string {
	dots := strings.Count(strings.TrimSuffix(host, "."), ".")
	switch {
	case strings.HasSuffix(host, "."):
		return " (not for a name with a final dot)"
	case dots >= ndots:
		return fmt.Sprintf(" (after the name itself, which has %d dots of the %d that ndots asks for)", dots, ndots)
	}
	return fmt.Sprintf(" (first, as the name has %d dots of the %d that ndots asks for)", dots, ndots)
}

// resolvedUpstreams tells whom systemd-resolved asks, which listens at
// 127.0.0.53: its own file says so.
func resolvedUpstreams() string {
	b, err := kernel.ReadConfig("/run/systemd/resolve/resolv.conf")
	if err != nil || len(b) == 0 {
		return " (systemd-resolved's address; whom it asks is not observed)"
	}
	var up []string
	for _, s := range stub.ParseResolvConf(b).Servers {
		up = append(up, s.Addr().String())
	}
	return " (systemd-resolved, which asks " + strings.Join(up, ", ") + ")"
}
