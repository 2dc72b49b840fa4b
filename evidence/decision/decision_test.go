package decision

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"peel/trace"
)

// all returns an empty decision of each kind.
func all() (out []Decision) {
	for _, k := range kinds {
		out = append(out, k())
	}
	return append(out, &FrameHandled{Verdict: "dropped"}, &HostDecided{What: "route"}, &TCPDecided{What: "rtt"}, &Unknown{Called: "later.thing"})
}

// filler gives each field another value that is not zero.
type filler struct{ n int64 }

func (f *filler) fill(t *testing.T, v reflect.Value) {
	f.n++
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(f.n)})))
		if f.n%2 == 0 {
			v.Set(reflect.ValueOf(netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: byte(f.n)}).WithZone("eth0")))
		}
		return
	case netip.AddrPort:
		var a netip.Addr
		f.fill(t, reflect.ValueOf(&a).Elem())
		v.Set(reflect.ValueOf(netip.AddrPortFrom(a, uint16(40000+f.n))))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			f.fill(t, v.Index(i))
		}
	case reflect.String:
		v.SetString("text " + strings.Repeat("ä", int(f.n)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(-f.n << 20)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(200 + f.n%50))
	default:
		t.Fatalf("a field of type %s: how is it stored?", v.Type())
	}
}

func filled(t *testing.T, d Decision) Decision {
	v := reflect.ValueOf(d).Elem()
	f := &filler{}
	f.fill(t, v)
	return d
}

// Every field of every decision comes back from what was stored, and a nought
// stays one.
func TestRoundTrip(t *testing.T) {
	for _, d := range all() {
		for _, d := range []Decision{d, filled(t, reflect.New(reflect.TypeOf(d).Elem()).Interface().(Decision))} {
			b := Append([]byte("before"), d)
			if got := Decode(d.Name(), b[len("before"):]); !reflect.DeepEqual(got, d) {
				t.Errorf("%s:\n got %+v\nwant %+v", d.Name(), got, d)
			}
		}
	}
}

// What an older version stored has fewer fields, what a newer one stored more.
func TestOtherVersionsRead(t *testing.T) {
	b := Append(nil, &PoolNew{Why: "first", Waited: "for it"})
	short := b[:1+len("first")]
	if got := Decode("pool.new", short); !reflect.DeepEqual(got, &PoolNew{Why: "first"}) {
		t.Errorf("fewer fields: %+v", got)
	}
	if got := Decode("pool.new", append(b, 1, 2, 3)); !reflect.DeepEqual(got, &PoolNew{Why: "first", Waited: "for it"}) {
		t.Errorf("more fields: %+v", got)
	}
	if got := Decode("pool.new", b[:3]); !reflect.DeepEqual(got, &Unknown{Called: "pool.new", Raw: b[:3]}) {
		t.Errorf("a cut field: %+v", got)
	}
	if got := Decode("pool.shared", b); !reflect.DeepEqual(got, &Unknown{Called: "pool.shared", Raw: b}) {
		t.Errorf("a new name: %+v", got)
	}
}

// Every name is of one kind, and is read as that kind.
func TestNames(t *testing.T) {
	seen := map[trace.EventName]bool{}
	for _, d := range all() {
		if seen[d.Name()] || !strings.Contains(string(d.Name()), ".") {
			t.Errorf("the name %q", d.Name())
		}
		seen[d.Name()] = true
		if got := empty(d.Name()); !reflect.DeepEqual(got, d) {
			t.Errorf("%s is read as %T %+v", d.Name(), got, got)
		}
	}
}

// However much there is to store, it is cut so that it can be read.
func TestBounds(t *testing.T) {
	long := strings.Repeat("ä", 50_000)
	step := &LookupStep{Source: trace.StepSource(long), Question: long, Server: netip.MustParseAddrPort("[fe80::1%eth0]:53"), Text: long}
	ended := &LookupEnded{Partly: true}
	names := &CaptureNames{}
	for range 2000 {
		step.Answers = append(step.Answers, Record{Name: long, TTL: 1 << 31, Type: "A", Data: long})
		ended.Addresses = append(ended.Addresses, Address{IP: netip.MustParseAddr("fe80::1%" + long), TTL: -1 << 62, Source: long, Why: long})
		names.Hosts = append(names.Hosts, HostNames{IP: netip.MustParseAddr("fe80::1%an_interface_15"), Names: make([]string, 2000)})
	}
	for _, d := range []Decision{step, ended, names, &Unknown{Called: "x", Raw: make([]byte, 1<<20)}} {
		b := Append(nil, d)
		got := Decode(d.Name(), b)
		if _, unknown := got.(*Unknown); len(b) > MaxEncoded || unknown != (d.Name() == "x") {
			t.Errorf("%s: %d bytes, read as %T", d.Name(), len(b), got)
		}
	}
	got := Decode("lookup.step", Append(nil, step)).(*LookupStep)
	if got.Server != step.Server || !utf8.ValidString(string(got.Source)) || len(got.Source) < 40_000 {
		t.Errorf("%d bytes of source, server %v", len(got.Source), got.Server)
	}
}

// Redaction reaches every text and leaves the original alone; numbers,
// addresses and words of a vocabulary stay.
func TestRedact(t *testing.T) {
	f := func(s string) string { return strings.ReplaceAll(s, "secret", "-") }
	d := &LookupStep{Source: "dns", Question: "secret. A", Outcome: "answer", Attempt: 2, Answers: []Record{{Name: "secret.", Type: "A", TTL: 3, Data: "secret"}}, Text: "a secret"}
	was := Append(nil, d)
	got := Redact(d, f)
	want := &LookupStep{Source: "dns", Question: "-. A", Outcome: "answer", Attempt: 2, Answers: []Record{{Name: "-.", Type: "A", TTL: 3, Data: "-"}}, Text: "a -"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if string(Append(nil, d)) != string(was) {
		t.Errorf("the original was changed: %+v", d)
	}
	for _, d := range all() {
		if b := Append(nil, Redact(filled(t, d), func(string) string { return "" })); strings.Contains(string(b), "text") {
			for _, w := range words(d) {
				b = []byte(strings.ReplaceAll(string(b), w, ""))
			}
			if strings.Contains(string(b), "text") {
				t.Errorf("%s keeps a text: %q", d.Name(), b)
			}
		}
	}
	if u := Redact(&Unknown{Called: "x.y", Raw: []byte("secret")}, f).(*Unknown); u.Called != "x.y" || len(u.Raw) != 0 {
		t.Errorf("%+v", u)
	}
}

// words are the fields that redaction leaves: those of a vocabulary.
func words(d Decision) (out []string) {
	switch d := d.(type) {
	case *RequestStarted:
		out = []string{string(d.Cause)}
	case *RequestFailed:
		out = []string{string(d.Failure.Layer), string(d.Failure.Code), string(d.Failure.Hint)}
	case *PoolReused:
		out = []string{string(d.Protocol)}
	case *LookupStep:
		out = []string{d.Transport, string(d.Outcome), d.Rcode, d.Answers[0].Type, d.Answers[1].Type}
	case *LookupEnded:
		out = []string{string(d.Failure.Layer), string(d.Failure.Code), string(d.Failure.Hint)}
	case *ConnectFailed:
		out = []string{string(d.Outcome)}
	case *SocketOpened:
		out = []string{string(d.Transport), string(d.For)}
	case *SocketClosed:
		out = []string{string(d.By)}
	case *TCPInfo:
		out = append([]string{d.State}, d.Options...)
	case *TLSFailed:
		out = []string{string(d.Code)}
	case *TLSVerdict:
		out = []string{string(d.Code), string(d.Hint)}
	case *TCPDecided:
		out = []string{d.State}
	}
	return out
}

// A decision in a file can say anything: it is read without a panic and within
// bounds, and what was read is stored as it is.
func FuzzDecode(f *testing.F) {
	for _, d := range all() {
		f.Add(string(d.Name()), Append(nil, d))
	}
	f.Add("lookup.end", Append(nil, &LookupEnded{Addresses: []Address{{IP: netip.MustParseAddr("fe80::1%eth0"), TTL: -1}}}))
	f.Add("capture.names", Append(nil, &CaptureNames{Hosts: []HostNames{{IP: netip.MustParseAddr("192.0.2.1"), Names: []string{"a", "b"}}}}))
	f.Add("tcp.info", Append(nil, &TCPInfo{State: "ESTABLISHED", RTT: 1e6, Options: []string{"sack"}}))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		d := Decode(trace.EventName(name), b)
		if d.Name() != trace.EventName(name) {
			t.Fatalf("%q came as %q", name, d.Name())
		}
		Note(d)
		Redact(d, strings.ToUpper)
		out := Append(nil, d)
		if len(out) > MaxEncoded {
			t.Fatalf("%d bytes", len(out))
		}
		if len(b) > maxText {
			return // texts may be cut
		}
		if again := Append(nil, Decode(trace.EventName(name), out)); string(again) != string(out) {
			t.Fatalf("%+v\nwas stored as %x\nand then as  %x", d, out, again)
		}
	})
}
