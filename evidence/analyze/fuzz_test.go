package analyze

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"peel/evidence/capture"
	"peel/evidence/decision"
	"peel/trace"
	"peel/wire/pcap"
)

// seeds are captures that peel made of requests to its lab, with secrets.
func seeds(t testing.TB) map[string][]byte {
	t.Helper()
	files, _ := filepath.Glob("testdata/*.pcapng")
	if len(files) == 0 {
		t.Fatal("no captures in testdata")
	}
	out := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[f] = b
	}
	return out
}

func records(t testing.TB, file []byte) []capture.Record {
	r, err := capture.NewFileReader(bytes.NewReader(file))
	if err != nil {
		return nil
	}
	defer r.Close()
	var out []capture.Record
	for {
		rec, ok := r.Next(true)
		if !ok {
			return out
		}
		rec.Data = bytes.Clone(rec.Data)
		out = append(out, rec)
	}
}

// whole analyses records and looks at everything that a view would.
func whole(t testing.TB, list []capture.Record) *trace.Trace {
	// A hang is a failure that a fuzzer does not see by itself.
	watch := time.AfterFunc(20*time.Second, func() { panic("the analysis hangs") })
	defer watch.Stop()
	a := New(Limits{Packets: 500, PacketBytes: 1 << 20, Body: 1 << 16, Events: 5000})
	a.OnPacket(func(p *trace.Packet) {
		for _, l := range p.Layers {
			if l.Offset < 0 || l.Length < 0 || l.Offset+l.Length > p.Captured {
				t.Fatalf("packet %d: %s at %d+%d of %d bytes", p.ID, l.Name, l.Offset, l.Length, p.Captured)
			}
		}
		inside(t, p, PacketFields(p))
	})
	for _, r := range list {
		a.Add(r)
	}
	a.End()
	tr := a.Trace()
	for _, e := range tr.Events {
		Fields(tr, e)
		for _, r := range e.Bytes {
			for i := 0; i < 3 && r.Space != trace.SpacePacket; i++ {
				below := tr.Down(r)
				if len(below) == 0 {
					break
				}
				r = below[0]
			}
		}
	}
	return tr
}

func inside(t testing.TB, p *trace.Packet, fields []trace.Field) {
	for _, f := range fields {
		if f.Offset < 0 || f.Length < 0 || f.Offset+f.Length > p.Captured {
			t.Fatalf("packet %d: field %s at %d+%d of %d bytes", p.ID, f.Name, f.Offset, f.Length, p.Captured)
		}
		inside(t, p, f.Children)
	}
}

// The seeds show what the fuzzer starts from, and that it is worth something.
func TestSeeds(t *testing.T) {
	exchanges := 0
	for name, b := range seeds(t) {
		tr := whole(t, records(t, b))
		for _, x := range tr.Exchanges {
			exchanges++
			if x.Response == nil || !x.Response.Body.Complete {
				t.Errorf("%s: %s %s has no whole response", name, x.Method, x.URL)
			}
		}
	}
	if exchanges < 5 {
		t.Errorf("%d exchanges", exchanges)
	}
}

// A capture in which any byte of the file is anything.
func FuzzFile(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { whole(t, records(t, b)) })
}

// A capture whose packets were changed, cut, doubled, swapped and lost: each
// edit is an operation, a packet, a place and a value.
func FuzzPackets(f *testing.F) {
	var lists [][]capture.Record
	files, _ := filepath.Glob("testdata/*.pcapng")
	all := seeds(f)
	for _, name := range files {
		lists = append(lists, records(f, all[name]))
	}
	for _, c := range tunnels {
		lists = append(lists, c.records(f))
	}
	lists = append(lists, socket("\x05\x01\x02", []byte("\x05\x02"), "\x01\x03ada\x06secret", []byte("\x01\x00"), "\x05\x01\x00\x03\x0bexample.com\x00\x50",
		[]byte("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"), get, []byte(ok)))
	for i := range lists {
		f.Add(uint8(i), []byte{0, 1, 30, 9})
	}
	f.Add(uint8(0), []byte{0, 9, 47, 2, 1, 3, 0, 0, 2, 5, 0, 0, 3, 7, 9, 0})
	f.Add(uint8(1), []byte{4, 9, 20, 0})
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		list := append([]capture.Record(nil), lists[int(which)%len(lists)]...)
		for ; len(edits) >= 4 && len(list) > 1; edits = edits[4:] {
			i := int(edits[1]) % len(list)
			r := &list[i]
			switch at := int(edits[2]); edits[0] % 7 {
			case 0:
				if len(r.Data) > 0 {
					r.Data = bytes.Clone(r.Data)
					r.Data[at%len(r.Data)] = edits[3]
				}
			case 1:
				r.Data = r.Data[:len(r.Data)*at/256]
			case 2:
				list = append(list[:i:i], append([]capture.Record{*r}, list[i:]...)...)
			case 3:
				j := at % len(list)
				list[i], list[j] = list[j], list[i]
			case 4:
				list = append(list[:i:i], list[i+1:]...)
			case 5:
				r.Link.Type = []pcap.LinkType{pcap.LinkNull, pcap.LinkSLL, pcap.LinkSLL2, pcap.LinkRaw, pcap.LinkLoop, 99, pcap.LinkWLAN, pcap.LinkRadiotap, pcap.LinkNFLOG, pcap.LinkPPP, pcap.LinkHDLC, pcap.LinkPPPDir,
					pcap.LinkFrameRelay, pcap.LinkFDDI, pcap.LinkLLC, pcap.LinkMPacket, pcap.LinkPKTAP, pcap.LinkARCNET, pcap.LinkARCNETLinux, pcap.LinkPPPEthernet}[at%20]
			case 6:
				r.Time += 1e6 * 1 << (edits[3] % 40)
			}
			if len(list) > 2000 {
				return
			}
		}
		whole(t, list)
		parts := New(Limits{})
		parts.OnEnd(func(*trace.Trace) {})
		for _, r := range list {
			parts.Add(r)
		}
		parts.End()
		if rest := parts.Trace(); len(rest.Exchanges)+len(rest.Connections)+len(rest.Lookups) > 0 {
			t.Error("something was not handed out")
		}
	})
}

// What is left of a capture that was cut at any place is read.
func TestSeedsCutAnywhere(t *testing.T) {
	for name, b := range seeds(t) {
		for n := 0; n < len(b); n += 97 {
			list := records(t, b[:n])
			for _, r := range list {
				if d, ok := r.Decision.(*decision.CaptureDamaged); ok && d.Text == "" {
					t.Fatalf("%s cut at %d: damage that says nothing", name, n)
				}
			}
			whole(t, list)
		}
	}
}
