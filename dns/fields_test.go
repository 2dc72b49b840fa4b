package dns

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	oracle "github.com/miekg/dns"

	"peel/internal/needs"
	"peel/trace"
)

// flatten lists all fields below fs, parents first.
func flatten(fs []trace.Field) []trace.Field {
	var out []trace.Field
	for _, f := range fs {
		out = append(out, f)
		out = append(out, flatten(f.Children)...)
	}
	return out
}

// checkFields holds a tree against what any tree must be: children inside
// their parent, nothing outside the message, the end reached.
func checkFields(t *testing.T, msg []byte, fs []trace.Field, from, to int) {
	for _, f := range fs {
		if f.Name == "" || f.Offset < from || f.Length < 0 || f.Offset+f.Length > to {
			t.Fatalf("field %q at %d+%d is outside %d–%d of %x", f.Name, f.Offset, f.Length, from, to, msg)
		}
		checkFields(t, msg, f.Children, f.Offset, f.Offset+f.Length)
	}
}

func TestFieldsOfABrokenMessageSayWhereItBreaks(t *testing.T) {
	b := query("www.example.com", TypeA, nil)
	fs := Fields(b[:len(b)-3])
	checkFields(t, b, fs, 0, len(b))
	last := fs[len(fs)-1]
	if last.Name != "_ws.malformed" || !strings.Contains(last.Value, "dns.qry.type at offset 29") {
		t.Errorf("%+v", last)
	}
	if fs := Fields(nil); len(fs) != 1 || fs[0].Name != "_ws.malformed" {
		t.Errorf("%+v", fs)
	}
}

func FuzzFields(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := Fields(b)
		checkFields(t, b, fs, 0, len(b))
		_, err := Parse(b)
		broken := len(fs) > 0 && fs[len(fs)-1].Name == "_ws.malformed"
		if err == nil && broken {
			t.Fatalf("Parse reads it, Fields says %s", fs[len(fs)-1].Value)
		}
	})
}

// capture wraps messages into a pcap file of raw IPv4 packets with UDP.
func capture(msgs [][]byte) []byte {
	var out []byte
	le := binary.LittleEndian
	out = le.AppendUint32(out, 0xa1b2c3d4)
	out = le.AppendUint16(out, 2)
	out = le.AppendUint16(out, 4)
	out = append(out, make([]byte, 8)...)
	out = le.AppendUint32(out, 65535)
	out = le.AppendUint32(out, 101) // LINKTYPE_RAW
	for i, m := range msgs {
		out = le.AppendUint32(out, uint32(i))
		out = le.AppendUint32(out, 0)
		out = le.AppendUint32(out, uint32(28+len(m)))
		out = le.AppendUint32(out, uint32(28+len(m)))
		ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}
		binary.BigEndian.PutUint16(ip[2:], uint16(28+len(m)))
		udp := binary.BigEndian.AppendUint16(nil, 53)
		udp = binary.BigEndian.AppendUint16(udp, uint16(20000+i))
		udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(m)))
		out = append(append(append(append(out, ip...), udp...), 0, 0), m...)
	}
	return out
}

type pdmlField struct {
	Name   string      `xml:"name,attr"`
	Pos    string      `xml:"pos,attr"`
	Size   string      `xml:"size,attr"`
	Show   string      `xml:"show,attr"`
	Fields []pdmlField `xml:"field"`
}

func (p pdmlField) each(f func(pdmlField)) {
	f(p)
	for _, c := range p.Fields {
		c.each(f)
	}
}

// Names, places and values are Wireshark's for all fields that both describe.
func TestFieldsAgainstWireshark(t *testing.T) {
	tshark := needs.Tool(t, "tshark")
	r := rand.New(rand.NewPCG(5, 6))
	rrs := oracleRecords(t)
	var msgs [][]byte
	for _, rr := range rrs {
		m := &oracle.Msg{Answer: []oracle.RR{rr}, Question: []oracle.Question{{Name: "wWw.example.com.", Qtype: 1, Qclass: 1}}, Compress: true}
		m.Response = true
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, b)
	}
	for range 100 {
		m := oracleMessage(r, rrs)
		m.Opcode = 0
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, b)
	}
	cmd := exec.Command(tshark, "-r", "-", "-T", "pdml", "-d", "udp.port==53,dns")
	cmd.Stdin = bytes.NewReader(capture(msgs))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var pdml struct {
		Packets []struct {
			Protos []pdmlField `xml:"proto"`
		} `xml:"packet"`
	}
	if err := xml.Unmarshal(out, &pdml); err != nil {
		t.Fatal(err)
	}
	if len(pdml.Packets) != len(msgs) {
		t.Fatalf("%d packets, want %d", len(pdml.Packets), len(msgs))
	}
	// Fields that group others have no name of their own in Wireshark.
	// It takes apart further: parameters of SVCB, the octets of types that this
	// package does not read, the owner of an SRV record, the bits of NSEC.
	groups := map[string]bool{"dns.svcb.svcparam.value": true, "dns.data": true, "dns.nsec.types": true,
		"dns.queries": true, "dns.answers": true, "dns.authorities": true, "dns.additionals": true, "dns.query": true, "dns.resp": true}
	// Wireshark leaves out of queries what only responses use.
	inQuery := map[string]bool{"dns.flags.authoritative": true, "dns.flags.recavail": true, "dns.flags.authenticated": true, "dns.flags.rcode": true}
	unknown := map[string]int{}
	compared := 0
	for i, p := range pdml.Packets {
		theirs := map[string]string{}
		byName := map[string][]string{}
		for _, proto := range p.Protos {
			proto.each(func(f pdmlField) {
				pos, _ := strconv.Atoi(f.Pos)
				key := fmt.Sprintf("%s %d+%s", f.Name, pos-28, f.Size)
				theirs[key] = f.Show
				byName[f.Name] = append(byName[f.Name], key)
			})
		}
		for _, f := range flatten(Fields(msgs[i])) {
			if srvOwner := f.Name == "dns.resp.name" && strings.Contains(f.Value, "_tcp."); srvOwner {
				continue
			}
			if groups[f.Name] || inQuery[f.Name] && msgs[i][2]&0x80 == 0 {
				continue
			}
			if byName[f.Name] == nil {
				unknown[f.Name]++
				continue
			}
			offset, length := f.Offset, f.Length
			if strings.HasPrefix(f.Name, "dns.flags.") {
				offset, length = 2, 2 // Wireshark places them on both octets
			}
			if f.Name == "dns.resp.z.do" {
				length = 2
			}
			show, ok := theirs[fmt.Sprintf("%s %d+%d", f.Name, offset, length)]
			if !ok {
				t.Errorf("message %d: %s at %d+%d, Wireshark has %v", i, f.Name, f.Offset, f.Length, byName[f.Name])
				continue
			}
			compared++
			if show != "" && !sameValue(f, show) {
				t.Errorf("message %d: %s is %q, Wireshark says %q", i, f.Name, f.Value, show)
			}
		}
	}
	t.Logf("%d fields compared", compared)
	for name, n := range unknown {
		t.Errorf("%s (%d times) is no name that Wireshark used", name, n)
	}
}

// sameValue knows the two ways in which Wireshark shows a value otherwise: it
// escapes nothing in a name, and prints the times of signatures.
func sameValue(ours trace.Field, show string) bool {
	if ours.Value == show || strings.ReplaceAll(show, ":", "") == ours.Value || strings.ReplaceAll(ours.Value, `\`, "") == show {
		return true
	}
	if at, err := time.Parse("Jan _2, 2006 15:04:05.000000000 MST", show); err == nil {
		return ours.Value == strconv.FormatInt(at.Unix(), 10)
	}
	x, err1 := strconv.ParseUint(ours.Value, 0, 64)
	y, err2 := strconv.ParseUint(show, 0, 64)
	return err1 == nil && err2 == nil && x == y
}

func query(name string, typ Type, edns *EDNS) []byte {
	m := &Message{Header: Header{ID: 99, RecursionDesired: true}, Questions: []Question{{MustName(name), typ, ClassIN}}}
	if edns != nil {
		m.Additional = []Resource{edns.Resource()}
	}
	b, _ := m.Append(nil)
	return b
}
