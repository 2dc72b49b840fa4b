package pcap

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"peel/clock"
	"peel/internal/needs"
)

// classic makes a pcap file with packets of 1, 2, 3 … bytes, a millisecond
// apart.
func classic(order binary.AppendByteOrder, magic uint32, link, packets int) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = order.AppendUint32(b, 0)
	b = order.AppendUint32(b, 0)
	b = order.AppendUint32(b, 65535)
	b = order.AppendUint32(b, uint32(link))
	for i := range packets {
		b = order.AppendUint32(b, 1_700_000_000)
		unit := uint32(1000)
		if magic == 0xa1b23c4d {
			unit = 1_000_000
		}
		b = order.AppendUint32(b, uint32(i)*unit)
		b = order.AppendUint32(b, uint32(i+1))
		b = order.AppendUint32(b, uint32(i+1+i%2*100)) // every other one was cut
		b = append(b, bytes.Repeat([]byte{byte(i)}, i+1)...)
	}
	return b
}

func readAll(t testing.TB, b []byte) (list []Block, ifaces []Interface) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		blk, err := r.Next()
		if err == io.EOF {
			return list, r.Interfaces()
		}
		if err != nil {
			t.Fatal(err)
		}
		blk.Data = bytes.Clone(blk.Data)
		list = append(list, blk)
	}
}

func TestClassic(t *testing.T) {
	for _, c := range []struct {
		name  string
		order binary.AppendByteOrder
		magic uint32
	}{{"µs, little", binary.LittleEndian, 0xa1b2c3d4}, {"µs, big", binary.BigEndian, 0xa1b2c3d4}, {"ns, little", binary.LittleEndian, 0xa1b23c4d}, {"ns, big", binary.BigEndian, 0xa1b23c4d}} {
		file := classic(c.order, c.magic, 1, 50)
		for _, form := range []string{"", "gzip", "zstd"} {
			list, ifaces := readAll(t, compressed(form, file))
			if len(list) != 50 || len(ifaces) != 1 || ifaces[0].Link != LinkEthernet {
				t.Fatalf("%s %s: %d packets, interfaces %v", c.name, form, len(list), ifaces)
			}
			for i, b := range list {
				want := clock.Time(1_700_000_000*1e9 + int64(i)*1e6)
				if b.Kind != KindPacket || b.Time != want || len(b.Data) != i+1 || b.Length != i+1+i%2*100 || b.Data[0] != byte(i) || file[b.DataOffset] != byte(i) {
					t.Fatalf("%s %s: packet %d: %+v", c.name, form, i, b)
				}
			}
		}
	}
}

func compressed(form string, b []byte) []byte {
	var out bytes.Buffer
	switch form {
	case "gzip":
		w := gzip.NewWriter(&out)
		w.Write(b)
		w.Close()
	case "zstd":
		w, _ := zstd.NewWriter(&out)
		w.Write(b)
		w.Close()
	default:
		return b
	}
	return out.Bytes()
}

// sample is a file with every block that Writer writes.
func sample() []byte {
	var out bytes.Buffer
	w := NewWriter(&out, "peel test")
	w.Secrets(SecretsTLS, []byte("CLIENT_RANDOM 00 11\n"))
	eth := w.Interface(Interface{Name: "eth0", Link: LinkEthernet, Custom: []Custom{{32473, []byte("x")}}})
	raw := w.Interface(Interface{Name: "tun0", Description: "a tunnel", Link: LinkRaw, Snap: 96})
	w.Packet(&Block{Interface: eth, Time: 1_700_000_000_123_456_789, Data: []byte("first"), Length: 5, Outbound: true, Comments: []string{"hello", "again"}})
	w.Names(map[netip.Addr][]string{netip.MustParseAddr("192.0.2.1"): {"a.example", "b.example"}, netip.MustParseAddr("2001:db8::1"): {"c.example"}},
		[]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")})
	w.Custom(Custom{32473, []byte("own data")})
	w.Packet(&Block{Interface: raw, Time: 1_700_000_001_000_000_001, Data: []byte("second packet"), Length: 1500, Inbound: true, Custom: []Custom{{32473, []byte("opt")}}})
	w.Statistics(eth, 1_700_000_002_000_000_000, 17, 3)
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	list, ifaces := readAll(t, sample())
	var kinds []Kind
	for _, b := range list {
		kinds = append(kinds, b.Kind)
	}
	want := []Kind{KindSection, KindSecrets, KindInterface, KindInterface, KindPacket, KindNames, KindCustom, KindPacket, KindStatistics}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Fatalf("kinds %v, want %v", kinds, want)
	}
	if ifaces[0].Name != "eth0" || ifaces[1].Description != "a tunnel" || ifaces[1].Snap != 96 || len(ifaces[0].Custom) != 1 || string(ifaces[0].Custom[0].Data) != "x" {
		t.Errorf("interfaces %+v", ifaces)
	}
	if list[0].Application != "peel test" || string(list[1].Data) != "CLIENT_RANDOM 00 11\n" || list[1].SecretsType != SecretsTLS {
		t.Errorf("%+v %+v", list[0], list[1])
	}
	p := list[4]
	if string(p.Data) != "first" || p.Time != 1_700_000_000_123_456_789 || !p.Outbound || p.Inbound || fmt.Sprint(p.Comments) != "[hello again]" {
		t.Errorf("first packet %+v", p)
	}
	p = list[7]
	if string(p.Data) != "second packet" || p.Length != 1500 || !p.Inbound || p.Interface != 1 || len(p.Custom) != 1 || string(p.Custom[0].Data) != "opt" {
		t.Errorf("second packet %+v", p)
	}
	if n := list[5].Names; len(n) != 2 || fmt.Sprint(n[0].Names) != "[a.example b.example]" || len(n[1].Address) != 16 {
		t.Errorf("names %+v", n)
	}
	if s := list[8]; s.Received != 17 || s.Dropped != 3 {
		t.Errorf("statistics %+v", s)
	}
}

// bigEndian is a section in the other byte order, with a simple packet, an
// obsolete packet, and time units of 2^-20 s and of seconds with an offset.
func bigEndian() []byte {
	o := binary.BigEndian
	var b []byte
	block := func(typ uint32, body []byte) {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		n := uint32(len(body) + 12)
		b = o.AppendUint32(b, typ)
		b = o.AppendUint32(b, n)
		b = append(b, body...)
		b = o.AppendUint32(b, n)
	}
	body := o.AppendUint32(nil, byteOrderMagic)
	body = append(body, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255)
	block(blockSection, body)
	block(blockInterface, []byte{0, 101, 0, 0, 0, 0, 0, 8, 0, 9, 0, 1, 0x94, 0, 0, 0, 0, 0, 0, 0})                                   // if_tsresol 2^-20
	block(blockInterface, []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 14, 0, 8, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0}) // seconds, offset 100
	ts := uint64(1_700_000_000)<<20 | 1<<19
	body = o.AppendUint32(nil, 0)
	body = o.AppendUint32(body, uint32(ts>>32))
	body = o.AppendUint32(body, uint32(ts))
	body = append(body, 0, 0, 0, 3, 0, 0, 0, 9, 'a', 'b', 'c')
	block(blockEnhanced, body)
	block(blockSimple, append([]byte{0, 0, 0, 20}, "0123456789abcdefghij"...)) // the interface keeps 8 bytes
	block(blockPacketOld, append([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 2}, "xy"...))
	block(0x12345678, []byte("unknown!"))
	return b
}

func TestBigEndianAndOldBlocks(t *testing.T) {
	list, _ := readAll(t, append(sample(), bigEndian()...)) // a second section
	list = list[9:]
	if len(list) != 7 {
		t.Fatalf("%d blocks", len(list))
	}
	if p := list[3]; string(p.Data) != "abc" || p.Length != 9 || p.Time != 1_700_000_000_500_000_000 || p.Interface != 2 {
		t.Errorf("enhanced %+v", p)
	}
	if p := list[4]; string(p.Data) != "01234567" || p.Length != 20 {
		t.Errorf("simple %+v", p)
	}
	if p := list[5]; string(p.Data) != "xy" || p.Time != clock.Time(105*time.Second) || p.Interface != 3 {
		t.Errorf("obsolete %+v", p)
	}
	if list[6].Kind != KindUnknown || list[6].Type != 0x12345678 {
		t.Errorf("unknown %+v", list[6])
	}
}

// A file that ends anywhere gives all that was whole, and one error that
// names the byte.
func TestTruncatedAtEveryByte(t *testing.T) {
	for name, file := range map[string][]byte{"pcapng": append(sample(), bigEndian()...), "pcap": classic(binary.LittleEndian, 0xa1b2c3d4, 1, 12)} {
		whole, _ := readAll(t, file)
		for n := range file {
			r, err := NewReader(bytes.NewReader(file[:n]))
			if err != nil {
				if !errors.Is(err, ErrFormat) {
					t.Fatalf("%s cut at %d: %v", name, n, err)
				}
				continue
			}
			var list []Block
			for {
				b, err := r.Next()
				if err != nil {
					break
				}
				list = append(list, b)
			}
			good := 0
			for good < len(list) && list[good].Kind != KindDamage {
				good++
			}
			ends := good < len(whole) && int(whole[good].Offset) == n || good == len(whole)
			switch {
			case ends && good != len(list):
				t.Fatalf("%s cut at %d, between blocks: %v", name, n, list[good].Err)
			case !ends && (good != len(list)-1 || !list[good].Err.Cut || int64(list[good].Err.Offset) > int64(n)):
				t.Fatalf("%s cut at %d: %d good blocks of %d, then %+v", name, n, good, len(list), list[good:])
			}
		}
	}
}

// Damage in the middle costs what it hit: reading goes on behind it.
func TestDamage(t *testing.T) {
	t.Run("pcapng: a wrong length", func(t *testing.T) {
		file := append(sample(), sample()...)
		whole, _ := readAll(t, file)
		at := whole[4].Offset + 4
		file[at+1] ^= 0x40
		list, _ := readAll(t, file)
		damage, packets := 0, 0
		for _, b := range list {
			switch b.Kind {
			case KindDamage:
				damage++
				if b.Err.Offset != whole[4].Offset || b.Err.Skipped == 0 {
					t.Errorf("%v", b.Err)
				}
			case KindPacket:
				packets++
			}
		}
		if damage != 1 || packets != 3 {
			t.Errorf("%d places of damage, %d packets of 4", damage, packets)
		}
	})
	t.Run("pcap: a wrong record header", func(t *testing.T) {
		file := classic(binary.LittleEndian, 0xa1b2c3d4, 1, 40)
		whole, _ := readAll(t, file)
		binary.LittleEndian.PutUint32(file[whole[20].Offset+8:], 0xffffffff)
		list, _ := readAll(t, file)
		damage, packets := 0, 0
		for _, b := range list {
			if b.Kind == KindDamage {
				damage++
			} else {
				packets++
			}
		}
		if damage != 1 || packets < 38 {
			t.Errorf("%d places of damage, %d packets of 40", damage, packets)
		}
	})
	t.Run("gzip that breaks off", func(t *testing.T) {
		file := compressed("gzip", classic(binary.LittleEndian, 0xa1b2c3d4, 1, 2000))
		list, _ := readAll(t, file[:len(file)-100])
		last := list[len(list)-1]
		if len(list) < 1000 || last.Kind != KindDamage || !strings.Contains(last.Err.Error(), "unexpected EOF") {
			t.Errorf("%d blocks, the last %+v", len(list), last.Err)
		}
	})
}

// A length that claims gigabytes costs no memory until the bytes are there.
func TestClaimedLengthCostsNothing(t *testing.T) {
	b := sample()
	head := binary.LittleEndian.AppendUint32(nil, blockEnhanced)
	head = binary.LittleEndian.AppendUint32(head, maxBlock)
	r, err := NewReader(bytes.NewReader(append(b, head...)))
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := r.Next(); err != nil {
			break
		}
	}
	if len(r.buf) > 1<<20 {
		t.Errorf("the buffer grew to %d bytes", len(r.buf))
	}
}

// editcap and tshark read what Writer writes, and Reader reads what editcap
// writes, in each of its forms.
func TestAgainstWireshark(t *testing.T) {
	needs.Tools(t, "tshark", "editcap")
	dir := t.TempDir()
	file := filepath.Join(dir, "f.pcapng")
	os.WriteFile(file, sample(), 0o600)
	out, err := exec.Command("tshark", "-r", file, "-Y", "frame.interface_name", "-T", "fields", "-e", "frame.time_epoch",
		"-e", "frame.len", "-e", "frame.cap_len", "-e", "frame.interface_name", "-e", "frame.comment", "-e", "frame.packet_flags_direction").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.TrimSpace(string(out))
	want := "1700000000.123456789\t5\t5\teth0\thello,again\t0x00000002\n1700000001.000000001\t1500\t13\ttun0\t\t0x00000001"
	if got != want {
		t.Errorf("tshark reads\n%s\nwant\n%s", got, want)
	}
	plain := filepath.Join(dir, "in.pcap")
	os.WriteFile(plain, classic(binary.BigEndian, 0xa1b23c4d, 1, 30), 0o600)
	for _, form := range []string{"pcap", "nsecpcap", "pcapng", "modpcap"} {
		other := filepath.Join(dir, form)
		if out, err := exec.Command("editcap", "-F", form, plain, other).CombinedOutput(); err != nil {
			t.Fatalf("editcap -F %s: %v\n%s", form, err, out)
		}
		b, err := os.ReadFile(other)
		if err != nil {
			t.Fatal(err)
		}
		list, _ := readAll(t, b)
		n := 0
		for _, p := range list {
			if p.Kind != KindPacket {
				continue
			}
			if len(p.Data) != n+1 || p.Data[0] != byte(n) || p.Time != clock.Time(1_700_000_000*1e9+int64(n)*1e6) {
				t.Errorf("%s: packet %d: %+v", form, n, p)
			}
			n++
		}
		if n != 30 {
			t.Errorf("%s: %d packets", form, n)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(sample())
	f.Add(bigEndian())
	f.Add(classic(binary.LittleEndian, 0xa1b2c3d4, 1, 5))
	f.Add(classic(binary.BigEndian, 0xa1b23c4d, 101, 3))
	f.Add(compressed("gzip", classic(binary.LittleEndian, 0xa1b2c3d4, 1, 5)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		defer r.Close()
		last := int64(-1)
		for n := 0; ; n++ {
			blk, err := r.Next()
			if err != nil {
				break
			}
			if blk.Offset < last || n > 2*len(b)+1000000 {
				t.Fatalf("block %d at %d, behind one at %d", n, blk.Offset, last)
			}
			last = blk.Offset
			if blk.Kind == KindPacket && (blk.Interface >= len(r.Interfaces()) || len(blk.Data) > maxPacket || blk.Length < 0) {
				t.Fatalf("%+v", blk)
			}
			if blk.Kind == KindDamage && blk.Err == nil {
				t.Fatal("damage without an error")
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	file := classic(binary.LittleEndian, 0xa1b2c3d4, 1, 1500)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		r, _ := NewReader(bytes.NewReader(file))
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
}

// A packet whose time is wrong is a packet: where it ends the next begins.
func TestTimesThatAreNone(t *testing.T) {
	file := unhexFile("d4c3b2a1 02000400 00000000 00000000 00000400 01000000")
	record := func(sec, frac uint32, data string) {
		for _, v := range []uint32{sec, frac, uint32(len(data)), uint32(len(data))} {
			file = binary.LittleEndian.AppendUint32(file, v)
		}
		file = append(file, data...)
	}
	record(1000, 5, "one")
	record(1000, 0x80000000, "two")
	record(1001, 0xffffffff, "three")
	record(1002, 7, "four")
	record(1003, 0x80000000, "five")
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		b, err := r.Next()
		if err != nil {
			break
		}
		if b.Kind == KindDamage {
			t.Errorf("%v", b.Err)
			continue
		}
		got = append(got, fmt.Sprintf("%s %v %d", b.Data, time.Duration(b.Time), len(b.Comments)))
	}
	if want := "one 16m40.000005s 0, two 16m40s 1, three 16m41s 1, four 16m42.000007s 0, five 16m43s 1"; strings.Join(got, ", ") != want {
		t.Errorf("%s", strings.Join(got, ", "))
	}
}

func unhexFile(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}
