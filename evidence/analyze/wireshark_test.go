package analyze

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"peel/evidence/capture"
	"peel/internal/needs"
	"peel/trace"
)

// Wireshark's own test captures, which cover what nobody would think of
// making. They are fetched from Debian's source package and not part of this
// repository.
const wiresharkRelease = "wireshark"

var fetching sync.Mutex

// wiresharkCaptures returns the folder of Wireshark's test captures, fetched
// on first use.
func wiresharkCaptures(t *testing.T) string {
	t.Helper()
	fetching.Lock()
	defer fetching.Unlock()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "peel-test-wireshark")
	find := func() string {
		m, _ := filepath.Glob(filepath.Join(dir, "*", "test", "captures"))
		if len(m) == 0 {
			return ""
		}
		return m[0]
	}
	if d := find(); d != "" {
		return d
	}
	script := `set -e
mkdir -p "$1/apt/lists/partial" && cd "$1"
. /etc/os-release
key=
test -e /usr/share/keyrings/debian-archive-keyring.gpg && key='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] '
echo "deb-src ${key}http://deb.debian.org/debian $VERSION_CODENAME main" > sources.list
o="-o Dir::Etc::sourcelist=$1/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$1/apt/lists -o APT::Sandbox::User=root"
apt-get $o update -qq
apt-get $o source --download-only -qq ` + wiresharkRelease + `
tar xf wireshark_*.orig.tar.* --wildcards '*/test/captures/*' '*/test/keys/*'
rm -rf apt wireshark_*`
	os.MkdirAll(dir, 0o755)
	if out, err := exec.Command("sh", "-c", script, "sh", dir).CombinedOutput(); err != nil {
		needs.Missing(t, "Wireshark's captures cannot be fetched: %v\n%s", err, out)
	}
	return find()
}

// keysFor are the key logs and preferences of those captures that have some.
var keysFor = map[string]string{
	"tls12-chacha20poly1305.pcap": "tls12-chacha20poly1305.keys", "tls13-20-chacha20poly1305.pcap": "tls13-20-chacha20poly1305.keys",
	"tls13-rfc8446.pcap": "tls13-rfc8446.keys", "http2-data-reassembly.pcap": "http2-data-reassembly.keys", "dhe1.pcapng.gz": "dhe1_keylog.dat",
}

// layerFields are the fields compared for each packet, outermost occurrence.
var layerFields = []string{
	"eth.dst", "eth.src", "eth.type", "vlan.id", "arp.opcode", "arp.src.proto_ipv4", "arp.dst.proto_ipv4", "arp.src.hw_mac",
	"ip.version", "ip.hdr_len", "ip.dsfield.dscp", "ip.len", "ip.id", "ip.frag_offset", "ip.flags.df", "ip.flags.mf", "ip.ttl", "ip.proto", "ip.checksum", "ip.src", "ip.dst",
	"ipv6.flow", "ipv6.plen", "ipv6.nxt", "ipv6.hlim", "ipv6.src", "ipv6.dst", "ipv6.fraghdr.offset",
	"udp.srcport", "udp.dstport", "udp.length", "udp.checksum",
	"tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.hdr_len", "tcp.flags", "tcp.window_size_value", "tcp.checksum", "tcp.urgent_pointer",
	"tcp.options.mss_val", "tcp.options.wscale.shift", "tcp.options.timestamp.tsval", "tcp.options.timestamp.tsecr", "tcp.options.sack_le",
	"icmp.type", "icmp.code", "icmpv6.type", "icmpv6.code",
}

// seen is a packet as peel and as tshark show it.
type seen struct {
	length, captured int
	fields           map[string]string
	connection       int
	notes            string
}

func peelPackets(t *testing.T, file string, keys []byte) ([]seen, *trace.Trace) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := capture.NewFileReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a := New(Limits{Body: 1 << 20})
	a.KeyLog(keys)
	var out []seen
	a.OnPacket(func(p *trace.Packet) {
		s := seen{length: p.Length, captured: p.Captured, fields: map[string]string{}, connection: p.Connection, notes: strings.Join(p.Notes, "; ")}
		flatten(s.fields, PacketFields(p))
		out = append(out, s)
	})
	a.Read(r, true)
	a.End()
	return out, a.Trace()
}

func flatten(m map[string]string, fields []trace.Field) {
	for _, f := range fields {
		if _, ok := m[f.Name]; !ok {
			m[f.Name] = f.Value
		}
		flatten(m, f.Children)
	}
}

func tsharkPackets(t *testing.T, file, keys string, fields []string, more ...string) [][]string {
	t.Helper()
	tshark := needs.Tool(t, "tshark")
	args := []string{"-n", "-r", file, "-T", "fields", "-E", "separator=/t", "-o", "tcp.reassemble_out_of_order:TRUE", "-o", "ip.defragment:TRUE"}
	if keys != "" {
		args = append(args, "-o", "tls.keylog_file:"+keys)
	}
	args = append(args, more...)
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command(tshark, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Logf("tshark on %s: %v\n%s", filepath.Base(file), err, stderr.String())
	}
	var rows [][]string
	for _, l := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		if l != "" {
			rows = append(rows, strings.Split(l, "\t"))
		}
	}
	return rows
}

// same compares values as numbers where both are.
func same(a, b string) bool {
	if a == b {
		return true
	}
	x, err1 := strconv.ParseUint(a, 0, 64)
	y, err2 := strconv.ParseUint(b, 0, 64)
	return err1 == nil && err2 == nil && x == y
}

// Each packet of each of Wireshark's captures: same count, lengths, and
// fields of every header from the link up to the transport; and packets
// belong to the same TCP connections.
func TestWiresharkCapturesPacketByPacket(t *testing.T) {
	needs.Long(t)
	t.Parallel()
	dir := wiresharkCaptures(t)
	files, _ := filepath.Glob(filepath.Join(dir, "*.pcap*"))
	compared, packets, values := 0, 0, 0
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "many_interfaces.pcapng.") {
			continue // a set of files that only together are one
		}
		ours, _ := peelPackets(t, file, nil)
		fields := append([]string{"frame.number", "frame.len", "frame.cap_len", "tcp.stream", "frame.protocols"}, layerFields...)
		rows := tsharkPackets(t, file, "", fields, "-E", "occurrence=f", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-o", "tcp.relative_sequence_numbers:FALSE")
		rows = slices.DeleteFunc(rows, func(r []string) bool {
			return strings.HasPrefix(r[4], "pcapng") || strings.HasPrefix(r[4], "file-pcapng")
		})
		if len(rows) != len(ours) {
			t.Errorf("%s: %d packets, tshark has %d", name, len(ours), len(rows))
			continue
		}
		compared++
		wrong := map[string]int{}
		example := map[string]string{}
		stream, conn := map[string]int{}, map[int]string{}
		for i, row := range rows {
			packets++
			p := ours[i]
			if strconv.Itoa(p.length) != row[1] || strconv.Itoa(p.captured) != row[2] {
				t.Errorf("%s: packet %d has %d bytes of %d, tshark says %s of %s", name, i+1, p.captured, p.length, row[2], row[1])
			}
			if first, _, _ := strings.Cut(row[4], ":"); !slices.Contains([]string{"eth", "sll", "null", "ip", "ipv6", "raw", "loop"}, first) {
				continue // a link that peel does not read, and says so
			}
			tunnelled := strings.Count(row[4], ":ip")+strings.Count(row[4], ":ipv6") > 1
			for j, f := range layerFields {
				theirs := row[5+j]
				if theirs == "" || tunnelled && !strings.HasPrefix(f, "eth") {
					continue
				}
				values++
				if mine, ok := p.fields[f]; !ok || !same(mine, theirs) {
					wrong[f]++
					if example[f] == "" {
						example[f] = fmt.Sprintf("packet %d: %q, tshark %q (%s)", i+1, mine, theirs, row[4])
					}
				}
			}
			if s := row[3]; s != "" && !tunnelled && p.connection != 0 {
				if c, ok := stream[s]; ok && c != p.connection {
					wrong["tcp.stream"]++
					example["tcp.stream"] = fmt.Sprintf("packet %d is of connection %d, others of tcp.stream %s of %d", i+1, p.connection, s, c)
				}
				if o, ok := conn[p.connection]; ok && o != s {
					wrong["connection"]++
					example["connection"] = fmt.Sprintf("packet %d is of tcp.stream %s, others of connection %d of %s", i+1, s, p.connection, o)
				}
				stream[s], conn[p.connection] = p.connection, s
			}
		}
		for f, n := range wrong {
			t.Errorf("%s: %s differs in %d packets, %s", name, f, n, example[f])
		}
	}
	if compared < 80 || packets < 5000 {
		t.Errorf("only %d captures with %d packets were compared", compared, packets)
	}
	t.Logf("%d captures, %d packets, %d values compared", compared, packets, values)
}

// decodeAs tells tshark what is spoken on unusual ports, which peel finds out
// by itself.
var decodeAs = map[string][]string{
	"grpc_person_search_json_with_image.pcapng.gz":     {"50051,http2", "50052,http2"},
	"grpc_person_search_protobuf_with_image.pcapng.gz": {"50051,http2", "50052,http2"},
	"grpc_stream_reassembly_sample.pcapng.gz":          {"50051,http2", "44363,http2"},
	"packet-h2-14_headers.pcapng":                      {"3000,http2"},
	"grpc_web.pcapng.gz":                               {"57226,http", "57227,http2", "57228,http"},
}

// more says why peel rightly sees other messages than tshark.
var more = map[string]string{
	"tcp-badsegments.pcap":        "the segments of the request's head are all there, some of them twice and with other bounds; tshark calls them illegal and shows no request",
	"communityid.pcap.gz":         "the packets were cut to 96 bytes: tshark shows the beginning of a request, peel that bytes are missing",
	"tls12-chacha20poly1305.pcap": "tshark shows no response that ends with its connection",
	"grpc_web.pcapng.gz":          "one of its ports carries HTTP/1.1 and HTTP/2, and tshark is told one",
}

// The requests in Wireshark's captures, with keys where there are some.
func TestWiresharkCapturesRequests(t *testing.T) {
	needs.Long(t)
	t.Parallel()
	dir := wiresharkCaptures(t)
	files, _ := filepath.Glob(filepath.Join(dir, "*.pcap*"))
	total := 0
	for _, file := range files {
		name := filepath.Base(file)
		keys := ""
		var log []byte
		if k := keysFor[name]; k != "" {
			keys = filepath.Join(filepath.Dir(dir), "keys", k)
			log, _ = os.ReadFile(keys)
		}
		want := tsharkRequests(t, file, keys)
		_, tr := peelPackets(t, file, log)
		var got []string
		for _, x := range tr.Exchanges {
			got = append(got, "request "+x.Method+" "+x.Request.Target)
			if x.Response != nil {
				got = append(got, fmt.Sprintf("response %d", x.Response.Status))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		total += len(want)
		if !slices.Equal(got, want) && more[name] == "" {
			t.Errorf("%s:\npeel   %d: %.300q\ntshark %d: %.300q", name, len(got), got, len(want), want)
		}
	}
	t.Logf("%d messages", total)
}

// tsharkRequests lists the requests and final responses that tshark sees.
func tsharkRequests(t *testing.T, file, keys string) []string {
	var out []string
	split := func(s string) []string {
		if s == "" {
			return nil
		}
		return strings.Split(s, "\x01")
	}
	more := []string{"-E", "aggregator=\x01", "-Y", "http or http2"}
	for _, d := range decodeAs[filepath.Base(file)] {
		more = append(more, "-d", "tcp.port=="+d)
	}
	rows := tsharkPackets(t, file, keys, []string{"http.request.method", "http.request.uri", "http.response.code", "http2.headers.method", "http2.headers.path", "http2.headers.status"}, more...)
	for _, r := range rows {
		for len(r) < 6 {
			r = append(r, "")
		}
		uris := split(r[1])
		for i, m := range split(r[0]) {
			if i < len(uris) {
				out = append(out, "request "+m+" "+uris[i])
			}
		}
		paths := split(r[4])
		for i, m := range split(r[3]) {
			if i < len(paths) {
				out = append(out, "request "+m+" "+paths[i])
			}
		}
		for _, s := range append(split(r[2]), split(r[5])...) {
			if !strings.HasPrefix(s, "1") {
				out = append(out, "response "+s)
			}
		}
	}
	return out
}

// analysisFields are tshark's notes on segments, and ours.
var analysisFields = []struct{ field, note string }{
	{"tcp.analysis.retransmission", "retransmission"},
	{"tcp.analysis.spurious_retransmission", "spurious retransmission"},
	{"tcp.analysis.out_of_order", "out of order"},
	{"tcp.analysis.lost_segment", "previous segment not captured"},
	{"tcp.analysis.ack_lost_segment", "acknowledges bytes not captured"},
	{"tcp.analysis.duplicate_ack", "duplicate ACK"},
	{"tcp.analysis.zero_window", "zero window"},
	{"tcp.analysis.zero_window_probe", "zero window probe"},
	{"tcp.analysis.window_full", "window full"},
	{"tcp.analysis.keep_alive", "keep-alive"},
	{"tcp.analysis.window_update", "window update"},
}

// What both say of TCP segments. They are judgements, and Wireshark's differ
// in places where it cannot know: the counts of agreement are bars.
func TestWiresharkCapturesAnalysis(t *testing.T) {
	needs.Long(t)
	t.Parallel()
	dir := wiresharkCaptures(t)
	files, _ := filepath.Glob(filepath.Join(dir, "*.pcap*"))
	agree, onlyOurs, onlyTheirs := map[string]int{}, map[string]int{}, map[string]int{}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "many_interfaces.pcapng.") {
			continue
		}
		ours, _ := peelPackets(t, file, nil)
		fields := []string{"frame.number", "frame.protocols"}
		for _, f := range analysisFields {
			fields = append(fields, f.field)
		}
		rows := tsharkPackets(t, file, "", fields, "-E", "occurrence=f", "-o", "ip.defragment:FALSE")
		rows = slices.DeleteFunc(rows, func(r []string) bool { return strings.Contains(r[1], "pcapng") })
		if len(rows) != len(ours) {
			continue // another test tells
		}
		for i, row := range rows {
			for j, f := range analysisFields {
				theirs := len(row) > 2+j && row[2+j] != ""
				mine := false
				for _, n := range strings.Split(strings.ReplaceAll(ours[i].notes, "; ", ", "), ", ") {
					mine = mine || n == f.note || f.note == "duplicate ACK" && strings.HasPrefix(n, f.note)
				}
				switch {
				case mine && theirs:
					agree[f.note]++
				case mine:
					onlyOurs[f.note]++
					t.Logf("%s packet %d: only peel says %q (%s)", name, i+1, f.note, ours[i].notes)
				case theirs:
					onlyTheirs[f.note]++
					t.Logf("%s packet %d: only tshark says %q (peel: %s)", name, i+1, f.note, ours[i].notes)
				}
			}
		}
	}
	for _, f := range analysisFields {
		a, o, th := agree[f.note], onlyOurs[f.note], onlyTheirs[f.note]
		t.Logf("%-34s agree %4d, only peel %3d, only tshark %3d", f.note, a, o, th)
		if o > a/3+1 || th > a/3+1 {
			t.Errorf("%s: %d agree, only peel %d, only tshark %d", f.note, a, o, th)
		}
	}
}
