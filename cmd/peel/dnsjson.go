package main

import (
	"fmt"
	"io"
	"time"

	"peel/dns"
	dnsclient "peel/dns/client"
	"peel/trace"
)

// dnsJSON is a response in peel dns --json.
type dnsJSON struct {
	Server    string       `json:"server"`
	Transport string       `json:"transport"`
	Start     time.Time    `json:"start"`
	Duration  int64        `json:"duration_ns"`
	Bytes     int          `json:"bytes"`
	ID        uint16       `json:"id"`
	Rcode     string       `json:"rcode"`
	Flags     []string     `json:"flags"`
	Question  string       `json:"question"`
	EDNS      *ednsJSON    `json:"edns,omitempty"`
	Answers   []recordJSON `json:"answers"`
	Authority []recordJSON `json:"authority"`
	More      []recordJSON `json:"additional"`
	Problem   string       `json:"problem,omitempty"`
}

type ednsJSON struct {
	Version uint8    `json:"version"`
	UDPSize uint16   `json:"udp_size"`
	DO      bool     `json:"do"`
	Options []string `json:"options,omitempty"`
}

type recordJSON struct {
	Name  string `json:"name"`
	TTL   uint32 `json:"ttl"`
	Class string `json:"class"`
	Type  string `json:"type"`
	Data  string `json:"data"`
}

func recordsJSON(list []dns.Resource) []recordJSON {
	out := []recordJSON{}
	for _, rr := range list {
		if rr.Type != dns.TypeOPT {
			out = append(out, recordJSON{rr.Name.String(), rr.TTL, rr.Class.String(), rr.Type.String(), rr.Text()})
		}
	}
	return out
}

func replyJSON(r *dnsclient.Reply) dnsJSON {
	m := r.Message
	j := dnsJSON{
		Server: r.Server.String(), Transport: string(r.Transport), Start: r.Sent.UTC(), Duration: int64(r.Duration()), Bytes: len(r.Raw), ID: m.ID,
		Rcode: m.Rcode.String(), Flags: []string{}, Answers: recordsJSON(m.Answers), Authority: recordsJSON(m.Authority), More: recordsJSON(m.Additional),
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{m.Response, "qr"}, {m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"}, {m.RecursionAvailable, "ra"}, {m.AuthenticData, "ad"}, {m.CheckingDisabled, "cd"}} {
		if f.on {
			j.Flags = append(j.Flags, f.name)
		}
	}
	if len(m.Questions) > 0 {
		j.Question = m.Questions[0].String()
	}
	if e, ok := m.EDNS(); ok {
		j.EDNS = &ednsJSON{Version: e.Version, UDPSize: e.UDPSize, DO: e.DNSSECOK}
		for _, o := range e.Options {
			j.EDNS.Options = append(j.EDNS.Options, o.String())
		}
	}
	if r.Problem != nil {
		j.Problem = r.Problem.Error()
	}
	return j
}

// printFields prints a tree of fields with the place of each in the message.
func printFields(w io.Writer, fields []trace.Field, indent string) {
	for _, f := range fields {
		meaning := ""
		if f.Meaning != "" {
			meaning = "  (" + f.Meaning + ")"
		}
		fmt.Fprintf(w, "%5d %4d  %s%s: %s%s\n", f.Offset, f.Length, indent, f.Name, f.Value, meaning)
		printFields(w, f.Children, indent+"  ")
	}
}
