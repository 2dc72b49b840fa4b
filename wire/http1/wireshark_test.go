package http1

import (
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"peel/internal/needs"
	"peel/trace"
)

// Wireshark is the judge of names and places: each field that it shows of a
// head, and that we know by the same name, stands at the same bytes.
func TestFieldsStandWhereWiresharkSeesThem(t *testing.T) {
	tshark := needs.Tool(t, "tshark")
	for _, head := range []string{benchRequest, benchResponse,
		"POST http://a.example/p?q=r HTTP/1.0\r\nHost: a.example\r\nContent-Length:0\r\n\r\n",
		"HTTP/1.1 302 Found elsewhere\r\nLocation:  /x \r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"} {
		theirs := dissect(t, tshark, head)
		compared := 0
		var walk func([]trace.Field)
		walk = func(list []trace.Field) {
			for _, f := range list {
				if at, ok := theirs[f.Name]; ok {
					compared++
					if at != [2]int{f.Offset, f.Length} {
						t.Errorf("%s: ours at %d+%d, Wireshark's at %d+%d", f.Name, f.Offset, f.Length, at[0], at[1])
					}
				}
				walk(f.Children)
			}
		}
		walk(Fields([]byte(head)))
		if compared < 5 {
			t.Errorf("only %d fields of %q were compared: Wireshark has %v", compared, head, theirs)
		}
	}
}

// dissect gives tshark one segment and returns its http fields: offset in the
// payload and length. Names that occur twice are left out.
func dissect(t *testing.T, tshark, payload string) map[string][2]int {
	client, server := uint16(40000), uint16(80)
	if strings.HasPrefix(payload, "HTTP/") {
		client, server = server, client
	}
	be := binary.BigEndian
	p := make([]byte, 40, 40+len(payload)) // IPv4 and TCP without options
	p[0], p[8], p[9] = 0x45, 64, 6
	be.PutUint16(p[2:], uint16(40+len(payload)))
	copy(p[12:], "\x0a\x00\x00\x01\x0a\x00\x00\x02")
	be.PutUint16(p[20:], client)
	be.PutUint16(p[22:], server)
	be.PutUint32(p[24:], 1)
	be.PutUint32(p[28:], 1)
	p[32], p[33] = 5<<4, 0x18
	p = append(p, payload...)

	le := binary.LittleEndian
	file := le.AppendUint32(nil, 0xa1b2c3d4)
	file = append(file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	file = le.AppendUint32(file, 65535)
	file = le.AppendUint32(file, 101) // LINKTYPE_RAW
	file = append(file, 1, 0, 0, 0, 0, 0, 0, 0)
	file = le.AppendUint32(file, uint32(len(p)))
	file = le.AppendUint32(file, uint32(len(p)))
	name := filepath.Join(t.TempDir(), "one.pcap")
	if err := os.WriteFile(name, append(file, p...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-n", "-r", name, "-T", "pdml").Output()
	if err != nil {
		t.Fatal("tshark: ", err)
	}
	fields, twice := map[string][2]int{}, map[string]bool{}
	for d := xml.NewDecoder(strings.NewReader(string(out))); ; {
		tok, err := d.Token()
		if err != nil {
			break
		}
		e, ok := tok.(xml.StartElement)
		if !ok || e.Name.Local != "field" {
			continue
		}
		var name, hide string
		var pos, size int
		for _, a := range e.Attr {
			switch a.Name.Local {
			case "name":
				name = a.Value
			case "hide":
				hide = a.Value
			case "pos":
				fmt.Sscan(a.Value, &pos)
			case "size":
				fmt.Sscan(a.Value, &size)
			}
		}
		// http.request.line and http.response.line are, for Wireshark, field
		// lines; for us the start line.
		if hide == "yes" || !strings.HasPrefix(name, "http.") || strings.HasSuffix(name, ".line") || size == 0 {
			continue
		}
		if _, ok := fields[name]; ok {
			twice[name] = true
		}
		fields[name] = [2]int{pos - 40, size}
	}
	for name := range twice {
		delete(fields, name)
	}
	return fields
}
