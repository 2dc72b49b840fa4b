package hpack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	xhpack "golang.org/x/net/http2/hpack"

	"peel/wire/httpfield"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exchange is one block of an example with the table after it.
type exchange struct {
	block, fields, table string
	size                 uint32
}

func list(s string) httpfield.List {
	var l httpfield.List
	for _, line := range strings.Split(s, "\n") {
		name, value, _ := strings.Cut(line[1:], ": ")
		l.Add(line[:1]+name, value)
	}
	return l
}

func text(l httpfield.List) string {
	var out []string
	for _, f := range l {
		out = append(out, f.Name+": "+f.Value)
	}
	return strings.Join(out, "\n")
}

func testExample(t *testing.T, tableSize uint32, exchanges []exchange) {
	t.Helper()
	d, x := NewDecoder(tableSize), NewDecoder(tableSize)
	for i, e := range exchanges {
		got, res, err := d.Decode(nil, unhex(t, e.block), Limits{})
		if err != nil || text(got) != e.fields || res.Truncated {
			t.Fatalf("block %d: %v\n%s\nwant\n%s", i+1, err, text(got), e.fields)
		}
		var entries []string
		for _, en := range d.Table() {
			entries = append(entries, en.Field.Name+": "+en.Field.Value)
		}
		if s := strings.Join(entries, "\n"); s != e.table || d.Size() != e.size {
			t.Fatalf("table after block %d is %d bytes:\n%s\nwant %d:\n%s", i+1, d.Size(), s, e.size, e.table)
		}
		reps, err := x.Explain(unhex(t, e.block), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		var explained httpfield.List
		for _, r := range reps {
			if r.Offset != at {
				t.Fatalf("block %d: item at %d, want %d", i+1, r.Offset, at)
			}
			at += r.Length
			explained = append(explained, r.Field)
		}
		if at*2 != len(strings.ReplaceAll(e.block, " ", "")) || text(explained) != e.fields {
			t.Fatalf("block %d: the explanation covers %d bytes", i+1, at)
		}
	}
}

const (
	c3a = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com"
	c3b = c3a + "\ncache-control: no-cache"
	c3c = ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value"
	c5a = ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com"
	c5b = ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com"
	c5c = ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\n" +
		"content-encoding: gzip\nset-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"

	c5ta = "location: https://www.example.com\ndate: Mon, 21 Oct 2013 20:13:21 GMT\ncache-control: private\n:status: 302"
	c5tb = ":status: 307\nlocation: https://www.example.com\ndate: Mon, 21 Oct 2013 20:13:21 GMT\ncache-control: private"
	c5tc = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\ncontent-encoding: gzip\ndate: Mon, 21 Oct 2013 20:13:22 GMT"
)

func TestRFC7541_C1_Integers(t *testing.T) {
	for _, c := range []struct {
		v   uint64
		n   uint
		hex string
	}{{10, 5, "0a"}, {1337, 5, "1f9a0a"}, {42, 8, "2a"}} {
		if got := hex.EncodeToString(appendInteger(nil, 0, c.n, c.v)); got != c.hex {
			t.Errorf("%d with a prefix of %d bits is %s, want %s", c.v, c.n, got, c.hex)
		}
		if v, next, err := readInteger(unhex(t, c.hex), 0, c.n); v != c.v || next*2 != len(c.hex) || err != nil {
			t.Errorf("%s reads as %d, %d, %v", c.hex, v, next, err)
		}
	}
}

func TestRFC7541_C2_Representations(t *testing.T) {
	testExample(t, 4096, []exchange{{"400a637573746f6d2d6b65790d637573746f6d2d686561646572", "custom-key: custom-header", "custom-key: custom-header", 55}})
	testExample(t, 4096, []exchange{{"040c2f73616d706c652f70617468", ":path: /sample/path", "", 0}})
	testExample(t, 4096, []exchange{{"100870617373776f726406736563726574", "password: secret", "", 0}})
	testExample(t, 4096, []exchange{{"82", ":method: GET", "", 0}})
	l, _, _ := NewDecoder(4096).Decode(nil, unhex(t, "100870617373776f726406736563726574"), Limits{})
	if !l[0].Sensitive {
		t.Error("a never-indexed literal is not marked as sensitive")
	}
}

func TestRFC7541_C3_RequestsWithoutHuffman(t *testing.T) {
	testExample(t, 4096, []exchange{
		{"828684410f7777772e6578616d706c652e636f6d", c3a, ":authority: www.example.com", 57},
		{"828684be58086e6f2d6361636865", c3b, "cache-control: no-cache\n:authority: www.example.com", 110},
		{"828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", c3c, "custom-key: custom-value\ncache-control: no-cache\n:authority: www.example.com", 164},
	})
}

func TestRFC7541_C4_RequestsWithHuffman(t *testing.T) {
	blocks := []exchange{
		{"828684418cf1e3c2e5f23a6ba0ab90f4ff", c3a, ":authority: www.example.com", 57},
		{"828684be5886a8eb10649cbf", c3b, "cache-control: no-cache\n:authority: www.example.com", 110},
		{"828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", c3c, "custom-key: custom-value\ncache-control: no-cache\n:authority: www.example.com", 164},
	}
	testExample(t, 4096, blocks)
	// Our encoder chooses the same representations here.
	e := NewEncoder(4096)
	for i, b := range blocks {
		if got := hex.EncodeToString(e.AppendBlock(nil, list(b.fields))); got != b.block {
			t.Errorf("block %d is encoded as %s, want %s", i+1, got, b.block)
		}
	}
}

func TestRFC7541_C5_ResponsesWithoutHuffman(t *testing.T) {
	testExample(t, 256, []exchange{
		{"4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d", c5a, c5ta, 222},
		{"4803333037c1c0bf", c5b, c5tb, 222},
		{"88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d" +
			"4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31", c5c, c5tc, 215},
	})
}

func TestRFC7541_C6_ResponsesWithHuffman(t *testing.T) {
	testExample(t, 256, []exchange{
		{"488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3", c5a, c5ta, 222},
		{"4883640effc1c0bf", c5b, c5tb, 222},
		{"88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007", c5c, c5tc, 215},
	})
}

func TestRFC7541_Errors(t *testing.T) {
	for name, c := range map[string]struct {
		hex  string
		want Reason
	}{
		"§6.1 index 0":                     {"80", ErrIndex},
		"§2.3.3 index past the table":      {"be", ErrIndex},
		"§5.1 integer too long":            {"ffffffffffffffffff7f", ErrInteger},
		"§5.2 EOS in a string":             {"0085fffffffcff", ErrHuffman},
		"§5.2 padding of eight ones":       {"00016182" + "1fff", ErrHuffman},
		"§5.2 padding with zeros":          {"00016181" + "18", ErrHuffman},
		"§4.2 size update behind a field":  {"823f00", ErrTableSize},
		"§6.3 size update above the limit": {"3fe21f", ErrTableSize},
		"RFC 9113 §4.3 block that is cut":  {"400a6375", ErrTruncated},
		"RFC 9113 §4.3 value that is cut":  {"40016105", ErrTruncated},
		"§5.1 integer that is cut":         {"ff80", ErrTruncated},
	} {
		d := NewDecoder(4096)
		_, _, err := d.Decode(nil, unhex(t, c.hex), Limits{})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, again := d.Decode(nil, []byte{0x82}, Limits{}); again == nil {
			t.Errorf("%s: the decoder goes on after an error", name)
		}
	}
}

func TestRFC7541_4_2_SmallerLimitDemandsASizeUpdate(t *testing.T) {
	d := NewDecoder(4096)
	d.SetAllowedMaxTableSize(100)
	if _, _, err := d.Decode(nil, []byte{0x82}, Limits{}); !errors.Is(err, ErrTableSize) {
		t.Fatal(err)
	}
	e, d := NewEncoder(4096), NewDecoder(4096)
	e.SetMaxTableSize(0)
	e.SetMaxTableSize(200)
	d.SetAllowedMaxTableSize(200)
	block := e.Append(nil, httpfield.Field{Name: "a", Value: "b"})
	reps, err := d.Explain(block, Limits{})
	if err != nil || len(reps) != 3 || reps[0].TableSize != 0 || reps[1].TableSize != 200 {
		t.Fatalf("%v %+v", err, reps)
	}
}

func TestRFC7541_4_2_SmallestLimitInBetweenMustBeFollowed(t *testing.T) {
	for _, c := range []struct {
		block []byte
		ok    bool
	}{{[]byte{0x82}, false}, {appendInteger(nil, 0x20, 5, 2000), false}, {append(appendInteger(nil, 0x20, 5, 100), append(appendInteger(nil, 0x20, 5, 2000), 0x82)...), true}} {
		d := NewDecoder(4096)
		d.SetAllowedMaxTableSize(100)
		d.SetAllowedMaxTableSize(2000)
		if _, _, err := d.Decode(nil, c.block, Limits{}); (err == nil) != c.ok {
			t.Errorf("% x: %v", c.block, err)
		}
	}
}

func TestEncoderBeginsWithTheDefaultTable(t *testing.T) {
	for _, n := range []uint32{0, 100, 4096, 65536} {
		e, d := NewEncoder(n), NewDecoder(4096)
		for i := range 200 {
			f := httpfield.Field{Name: fmt.Sprintf("x-name-%d", i%50), Value: strings.Repeat("v", 100)}
			if _, _, err := d.Decode(nil, e.Append(nil, f), Limits{}); err != nil {
				t.Fatalf("limit %d: %v", n, err)
			}
			if e.Size() != d.Size() || e.Size() > min(n, 4096) {
				t.Fatalf("limit %d: the tables hold %d and %d bytes", n, e.Size(), d.Size())
			}
		}
		if e.SetMaxTableSize(65536); e.MaxSize() != max(n, min(n, 65536)) {
			t.Errorf("limit %d: grew to %d", n, e.MaxSize())
		}
	}
}

func TestBombOfSizeUpdatesEndsEarly(t *testing.T) {
	reps, err := NewDecoder(4096).Explain(bytes.Repeat([]byte{0x20}, 1<<20), Limits{})
	if !errors.Is(err, ErrTableSize) || len(reps) > maxUpdates {
		t.Errorf("%v after %d items", err, len(reps))
	}
}

// The HTTP/2 bomb: one byte refers to a field again and again.
func TestBombOfReferencesEndsEarly(t *testing.T) {
	block := []byte{0x40, 1, 'a', 1, 'b'}
	block = append(block, bytes.Repeat([]byte{0xbe}, 1<<20)...)
	d := NewDecoder(4096)
	l, res, err := d.Decode(nil, block, Limits{MaxFields: 100, MaxListSize: 16 << 10})
	if !errors.Is(err, ErrTooLarge) || !res.Truncated || len(l) > 100 || res.Fields > 8*16<<10/34+1 {
		t.Fatalf("%v, %d fields kept of %d", err, len(l), res.Fields)
	}
}

func randomField(r *rand.Rand) httpfield.Field {
	names := []string{":path", "content-type", "x-custom", "cookie", "date", "authorization", "accept", "etag", "a", "X-Upper"}
	f := httpfield.Field{Name: names[r.Intn(len(names))]}
	if r.Intn(4) == 0 {
		f.Name += fmt.Sprint(r.Intn(30))
	}
	n := r.Intn(60)
	if r.Intn(50) == 0 {
		n = 5000
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Intn(256))
		if r.Intn(3) > 0 {
			b[i] = "abcdefghij0123456789/=; "[r.Intn(24)]
		}
	}
	if r.Intn(2) == 0 && n > 3 {
		b = b[:3]
		b[0], b[1], b[2] = 'v', 'a', byte('0'+r.Intn(10))
	}
	f.Value = string(b)
	return f
}

// What we write, x/net reads as the same fields; what x/net writes, we do.
func TestAgreesWithXNetBothWays(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for round := range 60 {
		e, d := NewEncoder(4096), NewDecoder(4096)
		var buf bytes.Buffer
		xe := xhpack.NewEncoder(&buf)
		var xl httpfield.List
		xd := xhpack.NewDecoder(4096, func(f xhpack.HeaderField) { xl.Add(f.Name, f.Value) })
		for range 40 {
			if r.Intn(8) == 0 {
				n := uint32(r.Intn(4097))
				e.SetMaxTableSize(n)
				xe.SetMaxDynamicTableSize(n)
			}
			var l, lower httpfield.List
			for range r.Intn(12) {
				f := randomField(r)
				l = append(l, f)
				f.Name = strings.ToLower(f.Name)
				lower = append(lower, f)
			}
			xl = nil
			if _, err := xd.Write(e.AppendBlock(nil, l)); err != nil {
				t.Fatalf("round %d: x/net: %v", round, err)
			}
			if err := xd.Close(); err != nil {
				t.Fatal(err)
			}
			if text(xl) != text(lower) {
				t.Fatalf("round %d: x/net reads\n%q\nwant\n%q", round, text(xl), text(lower))
			}
			buf.Reset()
			for _, f := range lower {
				xe.WriteField(xhpack.HeaderField{Name: f.Name, Value: f.Value, Sensitive: r.Intn(9) == 0})
			}
			got, _, err := d.Decode(nil, buf.Bytes(), Limits{MaxListSize: 1 << 20, MaxFields: 1000})
			if err != nil || text(got) != text(lower) {
				t.Fatalf("round %d: %v: we read\n%q\nwant\n%q", round, err, text(got), text(lower))
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"828684418cf1e3c2e5f23a6ba0ab90f4ff", "3fe11f82", "400a637573746f6d2d6b65790d637573746f6d2d686561646572be", "0085fffffffcff"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		d, x := NewDecoder(4096), NewDecoder(4096)
		l, res, err := d.Decode(nil, block, Limits{MaxFields: 1 << 20, MaxListSize: 1 << 24})
		reps, xerr := x.Explain(block, Limits{MaxFields: 1 << 20, MaxListSize: 1 << 24})
		if (err == nil) != (xerr == nil) {
			t.Fatalf("Decode says %v, Explain %v", err, xerr)
		}
		var xl httpfield.List
		xd := xhpack.NewDecoder(4096, func(f xhpack.HeaderField) { xl.Add(f.Name, f.Value) })
		_, werr := xd.Write(block)
		if werr == nil {
			werr = xd.Close()
		}
		if err != nil {
			return
		}
		if werr == nil && text(xl) != text(l) {
			t.Fatalf("x/net reads %q, we %q", text(xl), text(l))
		}
		if res.Fields != len(l) || d.Size() != x.Size() {
			t.Fatalf("%d fields, result says %d; %d explained", len(l), res.Fields, len(reps))
		}
		// What was read can be written and read again.
		again, _, err := NewDecoder(4096).Decode(nil, NewEncoder(4096).AppendBlock(nil, l), Limits{MaxFields: 1 << 20, MaxListSize: 1 << 24})
		if err != nil || !strings.EqualFold(text(again), text(l)) {
			t.Fatalf("round trip: %v\n%q\n%q", err, text(again), text(l))
		}
	})
}

// story is the requests of one connection, as a browser sends them.
func story() []httpfield.List {
	var out []httpfield.List
	for i := range 50 {
		out = append(out, httpfield.List{
			{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "www.example.com"},
			{Name: ":path", Value: fmt.Sprintf("/assets/app-%d.js?v=%d", i, i*7919)}, {Name: "user-agent", Value: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
			{Name: "accept", Value: "*/*"}, {Name: "accept-encoding", Value: "gzip, deflate, br, zstd"}, {Name: "accept-language", Value: "en-US,en;q=0.9"},
			{Name: "referer", Value: "https://www.example.com/index.html"}, {Name: "cookie", Value: "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark"}})
	}
	return out
}

func BenchmarkEncode(b *testing.B) {
	lists := story()
	e := NewEncoder(4096)
	var buf []byte
	b.ReportAllocs()
	fields := 0
	for b.Loop() {
		for _, l := range lists {
			buf = e.AppendBlock(buf[:0], l)
			fields += len(l)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(fields), "ns/field")
}

func BenchmarkDecode(b *testing.B) {
	e := NewEncoder(4096)
	var blocks [][]byte
	for _, l := range story() {
		blocks = append(blocks, e.AppendBlock(nil, l))
	}
	var dst httpfield.List
	b.ReportAllocs()
	fields := 0
	for b.Loop() {
		d := NewDecoder(4096)
		for _, bl := range blocks {
			var err error
			if dst, _, err = d.Decode(dst[:0], bl, Limits{}); err != nil {
				b.Fatal(err)
			}
			fields += len(dst)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(fields), "ns/field")
}

// A decoder that has missed blocks reads what is certain of the later ones, and
// says of the rest that it is not known.
func TestFieldsBehindMissedBlocks(t *testing.T) {
	r := rand.New(rand.NewSource(7))
	known, partly, unknown := 0, 0, 0
	for round := range 200 {
		e, d, blind := NewEncoder(4096), NewDecoder(4096), NewDecoder(4096)
		for n := range 40 {
			if r.Intn(10) == 0 {
				e.SetMaxTableSize(uint32(r.Intn(4097)))
			}
			var l httpfield.List
			for range 1 + r.Intn(8) {
				f := randomField(r)
				f.Sensitive = r.Intn(10) == 0
				l = append(l, f)
			}
			block := e.AppendBlock(nil, l)
			want, err := d.Explain(block, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if n == 5 || r.Intn(15) == 0 {
				blind.Lose()
				continue // missed
			}
			got, err := blind.Explain(block, Limits{})
			if err != nil || len(got) != len(want) {
				t.Fatalf("round %d, block %d: %v, %d items of %d", round, n, err, len(got), len(want))
			}
			for i, g := range got {
				w := want[i].Field
				switch {
				case g.ValueUnknown && g.Field == (httpfield.Field{}) && g.NameUnknown:
					unknown++
				case g.NameUnknown && g.Field.Name == "" && g.Field.Value == w.Value:
					partly++
				case !g.NameUnknown && !g.ValueUnknown && g.Field == w:
					known++
				default:
					t.Fatalf("round %d, block %d: %+v instead of %+v", round, n, g, want[i])
				}
			}
		}
	}
	if known == 0 || partly == 0 || unknown == 0 || known < unknown {
		t.Errorf("%d known, %d partly, %d unknown: not what is to be tested", known, partly, unknown)
	}
}

// What a decoder that has missed blocks keeps is bounded, whatever it is told.
func TestMissedBlocksAreBounded(t *testing.T) {
	d := NewDecoder(4096)
	d.Lose()
	block := appendInteger(nil, 0x20, 5, 1<<30)
	for range 1000 {
		block = append(block, "\x40\x01a\x7f\x69"...)
		block = append(block, bytes.Repeat([]byte("v"), 127+0x69)...)
	}
	if _, err := d.Explain(block, Limits{MaxWork: 1 << 30}); err != nil || d.Size() > mostKept {
		t.Errorf("%v, %d bytes", err, d.Size())
	}
	if _, err := d.Explain(appendInteger(nil, 0x80, 7, 1<<20), Limits{}); !errors.Is(err, ErrIndex) {
		t.Errorf("an index that no table has: %v", err)
	}
}
