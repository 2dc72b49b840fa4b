package ip

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"peel/clock"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 1071 §3: the words 0001 f203 f4f5 f6f7 sum to ddf2.
func TestSumExample(t *testing.T) {
	if got := Sum(0, unhex(t, "0001f203f4f5f6f7")); got != 0xddf2 {
		t.Errorf("%#x", got)
	}
}

// The fast sum is the plain one, for every length and split at even places.
func TestSumAgainstPlain(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		var plain uint32
		for i := 0; i < n; i += 2 {
			w := uint32(b[i]) << 8
			if i+1 < n {
				w |= uint32(b[i+1])
			}
			plain += w
		}
		for plain>>16 != 0 {
			plain = plain>>16 + plain&0xffff
		}
		cut := n / 4 * 2
		if got := Sum(Sum(0, b[:cut]), b[cut:]); uint32(got) != plain {
			t.Fatalf("%d bytes: %#x, want %#x", n, got, plain)
		}
	}
}

const header4 = "45000073000040004011b861c0a80001c0a800c7" // its checksum is right

func TestParse4(t *testing.T) {
	b := append(unhex(t, header4), make([]byte, 0x73-20)...)
	p, err := Parse(append(b, 1, 2, 3)) // and Ethernet's padding
	if err != nil || !p.ChecksumOK || p.TTL != 64 || p.Protocol != ProtoUDP || !p.DontFragment || p.Fragment || p.Src.String() != "192.168.0.1" || len(p.Payload(append(b, 1, 2, 3))) != 0x73-20 {
		t.Errorf("%+v, %v", p, err)
	}
	b[10]++
	if p, _ := Parse(b); p.ChecksumOK {
		t.Error("a wrong checksum passed")
	}
	for _, c := range []struct{ b, err string }{
		{"46000014", "ip: 4 bytes are too few for a header of 20"},
		{"4400001400000000400100000a0000010a000002", "ip: a header length of 16 bytes is less than 20"},
		{"4600001400000000400100000a0000010a000002", "ip: the header of 24 bytes is cut off after 20"},
		{"4500001000000000400100000a0000010a000002", "ip: total length 16 is less than the header's 20"},
		{"35", "ip: version 3 is neither 4 nor 6"},
	} {
		if _, err := Parse(unhex(t, c.b)); err == nil || err.Error() != c.err {
			t.Errorf("%s: %v, want %s", c.b, err, c.err)
		}
	}
}

func TestParse6Extensions(t *testing.T) {
	b := unhex(t, "6000000000180040"+"20010db8000000000000000000000001"+"20010db8000000000000000000000002"+
		"2c00050200000100"+ // hop by hop, router alert; next is a fragment header
		"06000001000000ff"+ // first fragment of TCP
		"0000000000000000")
	p, err := Parse(b)
	if err != nil || p.NExtensions != 2 || p.Protocol != ProtoTCP || p.HeaderLen != 56 || !p.Fragment || !p.MoreFragments || p.ID != 255 {
		t.Errorf("%+v, %v", p, err)
	}
	if len(p.Payload(b)) != 8 {
		t.Errorf("payload of %d bytes", len(p.Payload(b)))
	}
}

func TestCheck(t *testing.T) {
	src, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	d := unhex(t, "003500350009000068")
	sum := ^Sum(PseudoSum(src, dst, ProtoUDP, len(d)), d)
	d[6], d[7] = byte(sum>>8), byte(sum)
	if v := Check(src, dst, ProtoUDP, d, 6); v != Good {
		t.Error(v)
	}
	d[8]++
	if v := Check(src, dst, ProtoUDP, d, 6); v != Bad {
		t.Error(v)
	}
	for _, length := range []int{len(d), 0} { // 0: with segmentation offload
		partial := PseudoSum(src, dst, ProtoUDP, length)
		d[6], d[7] = byte(partial>>8), byte(partial)
		if v := Check(src, dst, ProtoUDP, d, 6); v != Offloaded {
			t.Error(v)
		}
	}
}

// Fragments in any order, some twice, give back what was cut.
func TestReassembly(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 300 {
		want := make([]byte, 1+r.IntN(20000))
		for i := range want {
			want[i] = byte(r.Uint32())
		}
		type cut struct {
			at   int
			data []byte
			more bool
		}
		var cuts []cut
		for at := 0; at < len(want); {
			n := min((1+r.IntN(180))*8, len(want)-at)
			cuts = append(cuts, cut{at, want[at : at+n], at+n < len(want)})
			if r.IntN(5) == 0 {
				cuts = append(cuts, cuts[len(cuts)-1])
			}
			at += n
		}
		r.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
		re := NewReassembler(Limits{})
		var got []byte
		for i, c := range cuts {
			w, ok := re.Add(&Packet{Version: 4, ID: 7, Protocol: ProtoUDP, Fragment: true, FragmentOffset: c.at, MoreFragments: c.more}, c.data, i+1, 34, 1)
			if !ok {
				continue
			}
			got = w.Payload
			next := 0
			for _, part := range w.Parts {
				if part.Offset != next || part.Packet == 0 || part.At < 34 {
					t.Fatalf("round %d: parts %v", round, w.Parts)
				}
				next += part.Length
			}
			if next != len(want) {
				t.Fatalf("round %d: the parts make %d of %d bytes", round, next, len(want))
			}
			break // the copies left over begin a datagram that never ends
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("round %d: %d bytes came back of %d", round, len(got), len(want))
		}
	}
}

func TestReassemblyLimits(t *testing.T) {
	re := NewReassembler(Limits{Datagrams: 4, Fragments: 8})
	frag := func(id uint32, at int, more bool, n int, now int64) bool {
		_, ok := re.Add(&Packet{Version: 6, ID: id, FragmentOffset: at, MoreFragments: more}, make([]byte, n), 1, 0, 1)
		return ok
	}
	for id := range uint32(100) {
		frag(id, 0, true, 8, 1)
	}
	if re.Open() != 4 || re.Dropped != 96 {
		t.Errorf("%d open, %d dropped", re.Open(), re.Dropped)
	}
	// RFC 791: no datagram is longer than 65,535 bytes (the ping of death).
	if frag(200, 65528, false, 100, 1) {
		t.Error("a datagram longer than any")
	}
	re.Add(&Packet{Version: 6, ID: 300, MoreFragments: true}, make([]byte, 8), 1, 0, 1)
	re.Add(&Packet{Version: 6, ID: 301, MoreFragments: true}, make([]byte, 8), 1, 0, 1+clock.Time(61*time.Second))
	if re.Open() != 1 || re.Expired == 0 {
		t.Errorf("%d open, %d expired after 61 s", re.Open(), re.Expired)
	}
	// Overlapping bytes that differ: the first stay, and it is said.
	re = NewReassembler(Limits{})
	re.Add(&Packet{Version: 4, ID: 1, MoreFragments: true, Fragment: true}, []byte("aaaaaaaabbbbbbbb"), 1, 0, 1)
	w, ok := re.Add(&Packet{Version: 4, ID: 1, FragmentOffset: 8, Fragment: true}, []byte("XXXXXXXXcccc"), 2, 0, 1)
	if !ok || string(w.Payload) != "aaaaaaaabbbbbbbbcccc" || !w.Overlap {
		t.Errorf("%q %v %v", w.Payload, w.Overlap, ok)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, header4))
	f.Add(unhex(f, "6000000000180040"+"20010db8000000000000000000000001"+"20010db8000000000000000000000002"+"2c00050200000100"+"06000001000000ff"))
	f.Add(unhex(f, "4700001c000040004011b861c0a80001c0a800c70707040000000100"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err == nil && (p.HeaderLen > len(b) || len(p.Payload(b)) > len(b)) {
			t.Fatalf("%+v in %d bytes", p, len(b))
		}
		for _, field := range Fields(b, 0) {
			if field.Offset+field.Length > len(b) || field.Length < 0 {
				t.Fatalf("%s at %d+%d in %d bytes", field.Name, field.Offset, field.Length, len(b))
			}
		}
	})
}

func FuzzReassemble(f *testing.F) {
	f.Add([]byte{0, 1, 4, 1, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		re := NewReassembler(Limits{Datagrams: 8, Fragments: 16})
		for i := 0; i+3 <= len(b); i += 3 {
			n := int(b[i+2]) * 8
			w, ok := re.Add(&Packet{Version: 4, ID: uint32(b[i] & 3), FragmentOffset: int(b[i+1]) * 8, MoreFragments: b[i]&0x80 != 0}, make([]byte, n), i, 0, 1)
			sum := 0
			for _, p := range w.Parts {
				sum += p.Length
			}
			if ok && sum != len(w.Payload) {
				t.Fatalf("parts of %d bytes make %d", sum, len(w.Payload))
			}
		}
		if re.Open() > 8 {
			t.Fatalf("%d datagrams are open", re.Open())
		}
	})
}

func BenchmarkParse(b *testing.B) {
	h := unhex(b, header4)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(h); err != nil {
			b.Fatal(err)
		}
	}
}

// Sum against the definition of RFC 1071, a word at a time, over all lengths
// and alignments at which it changes its way.
func TestRFC1071_SumByDefinition(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 70000)
	for i := range buf {
		buf[i] = byte(rnd.Uint32())
	}
	for i := 1000; i < 3000; i++ {
		buf[i] = 0xff // carries all the way
	}
	for n := range 3000 {
		if n > 1200 {
			n = rnd.IntN(65536)
		}
		at := rnd.IntN(100)
		b, start := buf[at:at+n], uint16(rnd.Uint32())
		want := uint32(start)
		for i := 0; i < n; i += 2 {
			w := uint32(b[i]) << 8
			if i+1 < n {
				w |= uint32(b[i+1])
			}
			want += w
			want = want>>16 + want&0xffff
		}
		if got := Sum(start, b); got != uint16(want) {
			t.Fatalf("%d bytes from %d on: %#x, want %#x", n, at, got, want)
		}
	}
}

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{20, 64, 1480, 65500} {
		buf := make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				Sum(0, buf)
			}
		})
	}
}
