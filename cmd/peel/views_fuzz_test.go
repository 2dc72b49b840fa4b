package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"peel"
	"peel/clock"
	"peel/evidence/analyze"
	"peel/trace"
	"peel/view/har"
	"peel/view/jsontrace"
	"peel/view/redact"
	"peel/view/text"
	"peel/wire/ip"
	"peel/wire/pcap"
	"peel/wire/tcp"
)

// viewed is a capture file as what it holds, so that it can be changed and
// stay one that can be read.
type viewed struct {
	name    string
	links   []pcap.LinkType
	packets []pcap.Block
	secrets [][]byte
	custom  []pcap.Custom // the decisions
}

func viewedSeeds(t testing.TB) []viewed {
	t.Helper()
	var files []string
	for _, pattern := range []string{"testdata/captures/*.pcap", "../../evidence/analyze/testdata/*.pcapng"} {
		list, _ := filepath.Glob(pattern)
		if len(list) == 0 {
			t.Fatalf("no captures in %s", pattern)
		}
		files = append(files, list...)
	}
	var out []viewed
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r, err := pcap.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		v := viewed{name: filepath.Base(f)}
		for {
			k, err := r.Next()
			if err != nil {
				break
			}
			switch k.Kind {
			case pcap.KindPacket:
				k.Data, k.Custom, k.Comments = bytes.Clone(k.Data), nil, nil
				v.packets = append(v.packets, k)
			case pcap.KindSecrets:
				v.secrets = append(v.secrets, bytes.Clone(k.Data))
			case pcap.KindCustom:
				c := k.Custom[0]
				c.Data = bytes.Clone(c.Data)
				v.custom = append(v.custom, c)
			}
		}
		for _, i := range r.Interfaces() {
			v.links = append(v.links, i.Link)
		}
		r.Close()
		out = append(out, v)
	}
	return append(out, built()...)
}

// conversation is a connection of which the two sides say things in turn, in
// packets without a link header; a reset ends it if there is none to say.
func conversation(port uint16, at clock.Time, says ...string) []pcap.Block {
	ends := [2]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port), netip.MustParseAddrPort("192.0.2.2:80")}
	next := [2]uint32{1000, 2000}
	var out []pcap.Block
	segment := func(from int, flags tcp.Flags, data string) {
		to := 1 - from
		t := tcp.Header{Seq: next[from], Ack: next[to], Flags: flags, Window: 60000}
		h := ip.Header{Src: ends[from].Addr(), Dst: ends[to].Addr(), Protocol: ip.ProtoTCP, TTL: 64}
		b := make([]byte, h.Len()+t.Len()+len(data))
		h.Put(b, t.Len()+len(data))
		segment := b[h.Len():]
		t.Put(segment, ends[from].Port(), ends[to].Port())
		copy(segment[t.Len():], data)
		binary.BigEndian.PutUint16(segment[tcp.ChecksumAt:], ^ip.Sum(ip.PseudoSum(h.Src, h.Dst, h.Protocol, len(segment)), segment))
		at += 1e6
		out = append(out, pcap.Block{Kind: pcap.KindPacket, Time: at, Length: len(b), Data: b})
		if next[from] += uint32(len(data)); flags.Has(tcp.SYN) || flags.Has(tcp.FIN) {
			next[from]++
		}
	}
	segment(0, tcp.SYN, "")
	segment(1, tcp.SYN|tcp.ACK, "")
	segment(0, tcp.ACK, "")
	for i, s := range says {
		for len(s) > 1400 {
			segment(i%2, tcp.ACK, s[:1400])
			s = s[1400:]
		}
		segment(i%2, tcp.ACK|tcp.PSH, s)
	}
	segment(len(says)%2, tcp.FIN|tcp.ACK, "")
	segment(1-len(says)%2, tcp.RST|tcp.ACK, "")
	return out
}

// built are conversations that show what views have to say.
func built() []viewed {
	const at = clock.Time(1_700_000_000_000_000_000)
	get := func(method, path, more string) string {
		return method + " " + path + " HTTP/1.1\r\nHost: www.example.com\r\n" + more + "\r\n"
	}
	ok := func(more, body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s", len(body), more, body)
	}
	var many []pcap.Block
	for i := range 12 {
		many = append(many, conversation(uint16(5000+i), at+clock.Time(i)*1e9, get("GET", fmt.Sprintf("/%d?token=geheimnis", i), ""), ok("Set-Cookie: a=geheimer\r\n", "x"), get("GET", "/again", "Cookie: a=geheimer\r\n"))...)
	}
	list := map[string][]pcap.Block{
		"methods": conversation(4000, at, get("VERSION-CONTROL", "/a", ""), ok("", "yes"), get("PROPFIND", "/"+strings.Repeat("long/", 50), ""), ok("", ""), get("OPTIONS", "*", "Authorization: Bearer geheimnis\r\n"), "HTTP/1.0 500 Oops\r\n\r\n"),
		"bodies": conversation(4001, at, get("POST", "/a", "Content-Length: 25\r\n")+"password=geheim&user=ada!", ok("Content-Encoding: gzip\r\n", "no gzip"), get("GET", "/b", ""),
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n", get("GET", "/c", ""), "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort"),
		"interim": conversation(4002, at, get("PUT", "/a", "Expect: 100-continue\r\nContent-Length: 3\r\n"), "HTTP/1.1 100 Continue\r\n\r\n", "abc", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"+ok("", ""), get("GET", "/b", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", "\x81\x85\x01\x02\x03\x04ijomn"),
		"tunnel": conversation(4003, at, get("CONNECT", "www.example.com:443", "Proxy-Authorization: Basic YWRhOmdlaGVpbQ==\r\n"), "HTTP/1.1 200 OK\r\n\r\n", get("GET", "http://www.example.com/a", ""), ok("", "in it")),
		"http2": conversation(4004, at, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0f\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01x\x0f\x0d\x06a=geheim", "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88\x00\x00\x02\x00\x01\x00\x00\x00\x01hi",
			"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b"),
		"other": conversation(4005, at, "SSH-2.0-OpenSSH_9.2\r\n", "\x15\x03\x01\x00\x02\x02\x28", "\x05\x01\x00", "\x05\x00"),
		"many":  many,
	}
	var out []viewed
	for _, name := range slices.Sorted(maps.Keys(list)) {
		out = append(out, viewed{name: name, links: []pcap.LinkType{pcap.LinkRaw}, packets: list[name]})
	}
	return out
}

// edited is the capture after some edits: each is an operation, a packet, a
// place of two bytes and a value.
func (v viewed) edited(edits []byte) viewed {
	list := append([]pcap.Block(nil), v.packets...)
	for ; len(edits) >= 5 && len(list) > 0 && len(list) < 400; edits = edits[5:] {
		i := int(edits[1]) % len(list)
		p, at := &list[i], int(edits[2])<<8|int(edits[3])
		switch edits[0] % 9 {
		case 0: // a byte of a header, mostly
			if len(p.Data) > 0 {
				p.Data = bytes.Clone(p.Data)
				p.Data[at%len(p.Data)] = edits[4]
			}
		case 1: // a bit
			if len(p.Data) > 0 {
				p.Data = bytes.Clone(p.Data)
				p.Data[at%len(p.Data)] ^= 1 << (edits[4] % 8)
			}
		case 2: // cut off
			p.Data = p.Data[:min(at, len(p.Data))]
		case 3: // longer on the wire than what was kept
			p.Length = len(p.Data) + at
		case 4: // twice
			list = append(list[:i:i], append([]pcap.Block{*p}, list[i:]...)...)
		case 5: // elsewhere
			j := at % len(list)
			list[i], list[j] = list[j], list[i]
		case 6: // lost
			list = append(list[:i:i], list[i+1:]...)
		case 7: // later, up to centuries
			p.Time += clock.Time(at+1) << (edits[4] % 46)
		case 8: // earlier
			p.Time = max(p.Time-clock.Time(at+1)<<(edits[4]%46), 0)
		}
	}
	v.packets = list
	return v
}

// file writes the capture, with the decisions of its program or as packets
// alone, with what opens it or without.
func (v viewed) file(decisions, keys bool) []byte {
	var b bytes.Buffer
	w := pcap.NewWriter(&b, "test")
	for _, l := range v.links {
		w.Interface(pcap.Interface{Link: l})
	}
	if keys {
		for _, s := range v.secrets {
			w.Secrets(pcap.SecretsTLS, s)
		}
	}
	if decisions {
		for _, c := range v.custom {
			w.Custom(c)
		}
	}
	for i := range v.packets {
		w.Packet(&v.packets[i])
	}
	return b.Bytes()
}

// everyView shows a capture in every way there is, and judges what comes out.
func everyView(t testing.TB, file []byte, width int, color bool) {
	// A hang is a failure that a fuzzer does not see by itself.
	watch := time.AfterFunc(20*time.Second, func() { panic("a view hangs") })
	defer watch.Stop()
	o := text.Options{Width: width, Color: color, Offline: true, Hints: hints, PacketFields: analyze.PacketFields}

	var lines bytes.Buffer
	packets := text.NewPackets(&lines, o)
	deep := o
	deep.Verbose = 2
	trees := text.NewPackets(&lines, deep)
	var kept []*trace.Packet
	var rd *peel.Reading
	rd = peel.NewReading(peel.ReadOptions{Limits: analyze.Limits{Packets: 200, PacketBytes: 1 << 20, Body: 1 << 16}, OnPacket: func(p *trace.Packet) {
		packets.Write(rd.Start(), p)
		trees.Write(rd.Start(), p)
		line := jsontrace.AppendPacket(nil, rd.Start(), p, analyze.PacketFields(p))
		if !json.Valid(line) {
			t.Fatalf("packet %d is no JSON: %s", p.ID, line)
		}
		if len(kept) < 5 {
			kept = append(kept, clonePacket(p))
		}
	}})
	if err := rd.Open(context.Background(), bytes.NewReader(file)); err != nil {
		return
	}
	for rd.Next() {
		continue
	}
	rd.Close()
	judge(t, "--packets", lines.String(), len(file), o)
	whole := rd.Trace()
	for _, tr := range []*trace.Trace{whole, redact.Apply(whole, redact.On)} {
		numbers(t, reflect.ValueOf(tr).Elem(), "trace")
		for _, offline := range []bool{true, false} {
			for verbose := range 3 {
				o := o
				o.Offline, o.Verbose = offline, verbose
				o.Fields = func(e *trace.Event) []trace.Field { return analyze.Fields(tr, e) }
				judge(t, fmt.Sprintf("-v ×%d", verbose), story(t, tr, o), len(file), o)
			}
		}
		for _, x := range tr.Exchanges[:min(len(tr.Exchanges), 5)] {
			judge(t, "--open", story(t, tr.Only(x.ID), o), len(file), o)
			for _, h := range x.Request.Headers[:min(len(x.Request.Headers), 5)] {
				if h.Bytes != nil {
					var b bytes.Buffer
					text.Down(&b, tr, h.Name+": "+h.Value, []trace.Range{*h.Bytes}, o)
					judge(t, "--why X/NAME", b.String(), len(file), o)
				}
			}
			if x.Response != nil {
				if ranges, err := bodyByte(tr, x, 0); err == nil {
					var b bytes.Buffer
					text.Down(&b, tr, "a byte", ranges, o)
					judge(t, "--why X/body:0", b.String(), len(file), o)
				}
			}
		}
		for _, p := range kept {
			var b bytes.Buffer
			text.Why(&b, tr, p, analyze.PacketFields(p), o)
			judge(t, "--why N", b.String(), len(file), o)
		}
		for _, jo := range []jsontrace.Options{{}, {Fields: analyze.Fields, PacketFields: analyze.PacketFields}} {
			var b bytes.Buffer
			var back trace.Trace
			if err := jsontrace.Write(&b, tr, jo); err != nil {
				t.Fatalf("--json: %v", err)
			}
			if err := json.Unmarshal(b.Bytes(), &back); err != nil {
				t.Fatalf("--json: %v", err)
			}
		}
		var b bytes.Buffer
		if err := har.Write(&b, tr, har.Options{Version: version}); err != nil {
			t.Fatalf("--har: %v", err)
		}
		archive(t, b.Bytes(), len(tr.Exchanges))
	}

	// In parts, as --follow shows it.
	var followed strings.Builder
	rows := text.NewRows(&followed, o)
	_, err := peel.Read(context.Background(), peel.ReadOptions{OnEnd: func(part *trace.Trace) {
		numbers(t, reflect.ValueOf(part).Elem(), "part")
		judge(t, "a part", story(t, part, o), len(file), o)
		rows.Write(redact.Apply(part, redact.On))
	}}, bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	judge(t, "--follow", followed.String(), len(file), o)
}

func story(t testing.TB, tr *trace.Trace, o text.Options) string {
	var b strings.Builder
	if err := text.Write(&b, tr, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// judge looks at a text for what no view may say, whatever it was told.
func judge(t testing.TB, view, out string, input int, o text.Options) {
	// Each byte can be shown in its packet and in the messages of some layers,
	// in hexadecimal, as text, and as fields with names.
	if limit := 1<<16 + 600*input; len(out) > limit {
		t.Fatalf("%s: %d bytes of text for %d bytes of capture", view, len(out), input)
	}
	if !utf8.ValidString(out) {
		t.Fatalf("%s: no UTF-8", view)
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		plain := line
		if o.Color {
			plain = uncoloured(line)
		}
		for _, r := range plain {
			if r < 0x20 || r == 0x7f || unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%s: control character %U in %q", view, r, line)
			}
		}
		if n := strings.Count(plain, "━"); n > 0 && utf8.RuneCountInString(plain) > min(max(o.Width, 60), 160) {
			t.Fatalf("%s: a bar leaves the screen: %q", view, plain)
		}
	}
}

// uncoloured takes out the escape sequences that colours are made of.
func uncoloured(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "\x1b[")
		if i < 0 {
			return b.String() + s
		}
		end := i + 2
		for end < len(s) && s[end] >= '0' && s[end] <= '9' {
			end++
		}
		if end >= len(s) || s[end] != 'm' {
			return b.String() + s // and the escape character gives it away
		}
		b.WriteString(s[:i])
		s = s[end+1:]
	}
}

// below0 are the numbers of a trace that can be: -1 for what there is none of,
// HTTP/2's windows (RFC 9113 §6.9.2), and instants before the first record,
// where a clock stepped back.
var below0 = map[string]bool{"DecodedSize": true, "Announced": true, "TTL": true, "WindowScale": true, "WindowOut": true, "WindowIn": true, "MaxConcurrent": false}

// numbers looks for lengths of time, sizes and counts below 0, where they come
// from.
func numbers(t testing.TB, v reflect.Value, at string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			numbers(t, v.Elem(), at)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			numbers(t, v.Index(i), at)
		}
	case reflect.Struct:
		if i, ok := v.Interface().(trace.Interval); ok && (i.End < i.Start || i.Duration != trace.Duration(i.End-i.Start)) {
			t.Fatalf("%s is %+v", at, i)
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() && !below0[f.Name] {
				numbers(t, v.Field(i), at+"."+f.Name)
			}
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		if v.Int() < 0 && v.Type() != reflect.TypeFor[trace.Time]() {
			t.Fatalf("%s is %d", at, v.Int())
		}
	}
}

// archive looks for what HAR 1.2 demands.
func archive(t testing.TB, b []byte, entries int) {
	var h struct {
		Log struct {
			Version string
			Creator struct{ Name, Version string }
			Entries []map[string]any
		}
	}
	if err := json.Unmarshal(b, &h); err != nil {
		t.Fatalf("--har: %v", err)
	}
	if h.Log.Version != "1.2" || h.Log.Creator.Name == "" || h.Log.Creator.Version == "" || len(h.Log.Entries) != entries {
		t.Fatalf("--har: %d entries for %d requests: %.300s", len(h.Log.Entries), entries, b)
	}
	need := func(at string, m any, keys ...string) map[string]any {
		o, ok := m.(map[string]any)
		for _, k := range keys {
			if _, there := o[k]; !ok || !there {
				t.Fatalf("--har: %s has no %s: %v", at, k, m)
			}
		}
		return o
	}
	for _, e := range h.Log.Entries {
		need("entry", e, "startedDateTime", "time", "request", "response", "cache", "timings")
		if _, err := time.Parse(time.RFC3339Nano, e["startedDateTime"].(string)); err != nil {
			t.Fatalf("--har: %v", err)
		}
		if e["time"].(float64) < 0 {
			t.Fatalf("--har: time is %v", e["time"])
		}
		need("request", e["request"], "method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize")
		r := need("response", e["response"], "status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL", "headersSize", "bodySize")
		need("content", r["content"], "size", "mimeType")
		for name, v := range need("timings", e["timings"], "send", "wait", "receive") {
			if n := v.(float64); n < 0 && (n != -1 || name == "send" || name == "wait" || name == "receive") {
				t.Fatalf("--har: %s is %v", name, n)
			}
		}
	}
}

// The seeds show what the fuzzer starts from.
func TestEveryViewOfSeeds(t *testing.T) {
	for _, v := range viewedSeeds(t) {
		t.Run(v.name, func(t *testing.T) {
			for _, keys := range []bool{true, false} {
				for i, width := range []int{60, 100, 200} {
					everyView(t, v.file(keys, keys), width, i == 1)
				}
			}
		})
	}
}

// Captures that nobody would make: packets with other bytes, cut off, doubled,
// swapped, lost, at times that cannot be; and each view of them.
func FuzzEveryView(f *testing.F) {
	seeds := viewedSeeds(f)
	for i := range seeds {
		f.Add(uint8(i), uint8(3), uint8(i*9), []byte{})
		f.Add(uint8(i), uint8(i), uint8(i*7), []byte{7, 2, 0, 9, 40, 8, 4, 0, 99, 38, 0, 3, 0, 16, 0xff, 3, 1, 1, 0, 0, 2, 5, 0, 40, 0})
	}
	f.Fuzz(func(t *testing.T, which, how, width uint8, edits []byte) {
		v := seeds[int(which)%len(seeds)].edited(edits)
		everyView(t, v.file(how&1 != 0, how&2 != 0), 60+int(width)%141, how&4 != 0)
	})
}
