package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"peel"
	"peel/dns"
	"peel/internal/needs"
	"peel/trace"
	"peel/wire/pcap"
	"peel/wire/tlswire"

	oracle "github.com/miekg/dns"
)

// The corpus is captures of the world, which nobody here made, with what tshark
// reads in each. It is no part of the repository: PEEL_CORPUS names its folder,
// or it lies beside the repository.
func corpusFolder() string {
	if dir := os.Getenv("PEEL_CORPUS"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "..", "shared", "corpus")
}

// corpusFile is one capture, what tshark reads in it, and what peel does.
type corpusFile struct {
	name     string
	file     []byte
	expected expectedFile
	trace    *trace.Trace
	packets  int
	took     time.Duration
	err      error
}

// expectedFile is a line of expected.jsonl.xz: what tshark reads in a capture.
// Lists are of messages, each with the number of its TCP stream, or nothing
// where it is of none.
type expectedFile struct {
	File    string
	Packets int
	HTTP    [][4]string // stream, method, target, host
	Status  [][2]any    // stream, status
	DNS     [][5]any    // id, name, type, rcode or null for a query, addresses
	TLS     [][6]any    // stream, client or server, server name, version, supported versions, suite
}

// corpus is read once for all tests.
var corpus = sync.OnceValues(func() ([]*corpusFile, error) {
	dir := corpusFolder()
	expected := map[string]expectedFile{}
	lines, err := exec.Command("xz", "-dc", filepath.Join(dir, "expected.jsonl.xz")).Output()
	if err != nil {
		return nil, fmt.Errorf("expected.jsonl.xz: %w", err)
	}
	for d := json.NewDecoder(bytes.NewReader(lines)); ; {
		var e expectedFile
		if err := d.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("expected.jsonl.xz: %w", err)
		}
		expected[e.File] = e
	}
	archive, err := exec.Command("xz", "-dc", filepath.Join(dir, "public.tar.xz")).Output()
	if err != nil {
		return nil, fmt.Errorf("public.tar.xz: %w", err)
	}
	var list []*corpusFile
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("public.tar.xz: %w", err)
		}
		name := strings.TrimPrefix(h.Name, "public/")
		e, ok := expected[name]
		if h.Typeflag != tar.TypeReg || !ok {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		list = append(list, &corpusFile{name: name, file: b, expected: e})
	}
	slices.SortFunc(list, func(a, b *corpusFile) int { return strings.Compare(a.name, b.name) })
	work := make(chan *corpusFile)
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			for f := range work {
				f.read()
			}
		})
	}
	for _, f := range list {
		work <- f
	}
	close(work)
	wait.Wait()
	return list, nil
})

// read reads the capture with peel. A panic is an error.
func (f *corpusFile) read() {
	defer func() {
		if p := recover(); p != nil {
			f.err = fmt.Errorf("panic: %v", p)
		}
	}()
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), corpusLimit)
	defer cancel()
	r := peel.NewReading(peel.ReadOptions{})
	if f.err = r.Open(ctx, bytes.NewReader(f.file)); f.err != nil {
		return
	}
	for ctx.Err() == nil && r.Next() {
		continue
	}
	f.err = ctx.Err()
	r.Close()
	f.trace, f.packets, f.took = r.Trace(), r.Packets(), time.Since(start)
}

// corpusLimit is how long reading a capture may take.
const corpusLimit = 10 * time.Second

func readCorpus(t testing.TB) []*corpusFile {
	t.Helper()
	needs.Long(t)
	if _, err := os.Stat(corpusFolder()); err != nil && os.Getenv("PEEL_CORPUS") == "" {
		t.Skip("SKIPPED: the corpus of public captures is not here; PEEL_CORPUS is to name its folder")
	}
	needs.Tool(t, "xz")
	list, err := corpus()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

var updateCorpus = flag.Bool("update-corpus", false, "write testdata/corpus anew: the differences to tshark, with the reasons that are known, and the table of findings")

// peel reads what tshark reads in the captures of the world, no more and no
// less; or the difference stands in the list, with its reason.
func TestCorpusAsTsharkReadsIt(t *testing.T) {
	files := readCorpus(t)
	known := knownDifferences(t)
	agreed, total := map[string]int{}, map[string]int{}
	var all []unlike
	byName := map[string]*corpusFile{}
	for _, f := range files {
		byName[f.name] = f
		if f.trace == nil || f.err != nil {
			t.Errorf("%s: %v", f.name, f.err)
			continue
		}
		for topic, c := range f.compare() {
			total[topic] += c.expected
			agreed[topic] += c.agreed
			for _, text := range c.differences {
				all = append(all, unlike{f.name, topic, text, ""})
			}
		}
	}
	slices.SortFunc(all, func(a, b unlike) int { return strings.Compare(a.key(), b.key()) })
	seen := map[string]bool{}
	for i := range all {
		d := &all[i]
		seen[d.key()] = true
		d.reason = known[d.key()]
		if *updateCorpus {
			continue
		}
		if d.reason == "" {
			t.Errorf("%s: %s: %s: a difference without a reason", d.file, d.topic, d.text)
		} else if err := byName[d.file].holds(*d); err != nil {
			t.Errorf("%s: %s: %s: the reason does not hold: %s: %v", d.file, d.topic, d.text, d.reason, err)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if !seen[k] && !*updateCorpus {
			t.Errorf("there is no such difference any more, take it out of the list: %s", strings.ReplaceAll(k, "\t", ": "))
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%-8s tshark reads %5d, peel the same of %5d", topic, total[topic], agreed[topic])
	}
	if *updateCorpus {
		writeKnown(t, all)
	}
}

// unlike is what only one of the two reads.
type unlike struct{ file, topic, text, reason string }

func (d unlike) key() string { return d.file + "\t" + d.topic + "\t" + d.text }

// A reason can hold on to the bytes, in brackets at its end: the text, quoted as
// in Go, that stands in a packet; that the messages are of no TCP stream; that
// no message with a question asks for the name; how many records a file has.
var (
	inPacket    = regexp.MustCompile(`\[packet (\d+): ("(?:[^"\\]|\\.)*")\]`)
	ofNoTCP     = "[of no TCP stream]"
	askedByNone = "[asked by no message]"
	inRecords   = regexp.MustCompile(`\[(\d+) records\]`)
)

// holds checks a reason against the bytes of the file.
func (f *corpusFile) holds(d unlike) error {
	for _, m := range inPacket.FindAllStringSubmatch(d.reason, -1) {
		n, _ := strconv.Atoi(m[1])
		text, err := strconv.Unquote(m[2])
		if err != nil {
			return err
		}
		if b := f.packet(n); !bytes.Contains(b, []byte(text)) {
			return fmt.Errorf("packet %d does not hold %s", n, m[2])
		}
	}
	if m := inRecords.FindStringSubmatch(d.reason); m != nil {
		if n := fmt.Sprint(f.records()); n != m[1] {
			return fmt.Errorf("the file holds %s records", n)
		}
	}
	if strings.Contains(d.reason, ofNoTCP) {
		what := d.text[strings.Index(d.text, "× ")+len("× "):]
		for _, h := range f.expected.TLS {
			if h[0] != "" && d.topic == "hello" && what == helloText(h) {
				return fmt.Errorf("it is of TCP stream %s", h[0])
			}
		}
		for _, r := range f.expected.HTTP {
			if r[0] != "" && d.topic == "request" && what == requestText(r[1], r[2]) {
				return fmt.Errorf("it is of TCP stream %s", r[0])
			}
		}
	}
	if strings.Contains(d.reason, askedByNone) {
		for _, m := range f.expected.DNS {
			if strings.Contains(d.text, "× "+plainName(m[1].(string))+". ") {
				return errors.New("a message asks for it")
			}
		}
	}
	return nil
}

// packet returns the bytes of a packet by its number, or nil.
func (f *corpusFile) packet(n int) []byte {
	r, err := pcap.NewReader(bytes.NewReader(f.file))
	if err != nil {
		return nil
	}
	defer r.Close()
	for {
		b, err := r.Next()
		if err != nil {
			return nil
		}
		if b.Kind == pcap.KindPacket {
			if n--; n == 0 {
				return b.Data
			}
		}
	}
}

// records counts the records of a pcap file by their headers alone.
func (f *corpusFile) records() (n int) {
	var order binary.ByteOrder = binary.LittleEndian
	if f.file[0] == 0xa1 {
		order = binary.BigEndian
	}
	for at := 24; at+16 <= len(f.file); n++ {
		at += 16 + int(order.Uint32(f.file[at+8:]))
	}
	return n
}

const knownFile = "testdata/corpus/known.tsv"

// knownDifferences are those that have a reason: a line each, of the file, the
// topic, the difference and the reason, with tabs between.
func knownDifferences(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile(knownFile)
	if err != nil && !*updateCorpus {
		t.Fatal(err)
	}
	known := map[string]string{}
	for n, line := range strings.Split(string(b), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		p := strings.Split(line, "\t")
		if len(p) != 4 {
			t.Fatalf("%s:%d: %d columns", knownFile, n+1, len(p))
		}
		d := unlike{p[0], p[1], p[2], p[3]}
		known[d.key()] = d.reason
	}
	return known
}

func writeKnown(t *testing.T, all []unlike) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("# What peel and tshark 4.0.17 read differently in the corpus: file, topic, difference (- only tshark, + only peel), reason.\n")
	for _, d := range all {
		fmt.Fprintf(&b, "%s\t%s\n", d.key(), d.reason)
	}
	if err := os.MkdirAll(filepath.Dir(knownFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(knownFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compared is one topic of one capture.
type compared struct {
	expected, agreed int
	differences      []string
}

// compare holds what peel reads in the capture against what tshark does.
func (f *corpusFile) compare() map[string]compared {
	type counts = map[string]int
	theirs, ours := map[string]counts{}, map[string]counts{}
	for _, topic := range []string{"packets", "request", "status", "dns", "hello"} {
		theirs[topic], ours[topic] = counts{}, counts{}
	}
	theirs["packets"]["packets"], ours["packets"]["packets"] = f.expected.Packets, f.packets
	for _, r := range f.expected.HTTP {
		theirs["request"][requestText(r[1], r[2])]++
	}
	for _, s := range f.expected.Status {
		theirs["status"][fmt.Sprint(s[1])]++
	}
	for _, x := range f.trace.Exchanges {
		if x.Protocol == trace.ProtocolHTTP2 {
			continue
		}
		if x.Request.Method != "" {
			ours["request"][requestText(x.Request.Method, x.Request.Target)]++
		}
		if x.Response != nil {
			ours["status"][fmt.Sprint(x.Response.Status)]++
			for _, s := range x.Response.Informational {
				ours["status"][fmt.Sprint(s)]++
			}
		}
	}
	f.names(theirs["dns"], ours["dns"])
	f.hellos(theirs["hello"], ours["hello"])
	out := map[string]compared{}
	for topic := range theirs {
		var c compared
		for what, n := range theirs[topic] {
			c.expected += n
			c.agreed += min(n, ours[topic][what])
		}
		keys := maps.Clone(theirs[topic])
		maps.Copy(keys, ours[topic])
		for _, what := range slices.Sorted(maps.Keys(keys)) {
			switch a, b := theirs[topic][what], ours[topic][what]; {
			case topic == "packets" && a != b:
				c.differences = append(c.differences, fmt.Sprintf("%d, not %d", b, a))
			case a > b:
				c.differences = append(c.differences, fmt.Sprintf("- %d× %s", a-b, what))
			case b > a:
				c.differences = append(c.differences, fmt.Sprintf("+ %d× %s", b-a, what))
			}
		}
		out[topic] = c
	}
	return out
}

// names compares answered questions: each with its rcode, and each address
// that was told for it.
func (f *corpusFile) names(theirs, ours map[string]int) {
	question := func(name, typ string, rcode int) string {
		// tshark shows the four bits of the header, and not those of EDNS.
		return plainName(name) + ". " + typ + " " + dns.Rcode(rcode&15).String()
	}
	for _, l := range f.trace.Lookups {
		for _, s := range l.Steps {
			if s.Source != trace.SourceDNS || s.Rcode == "" {
				continue
			}
			q := question(s.Question.Name, s.Question.Type, rcodes[s.Rcode])
			ours[q] = 1
			for _, a := range s.Answers {
				if a.Type == "A" || a.Type == "AAAA" {
					ours[q+" "+a.Data] = 1
				}
			}
		}
	}
	beside := f.besideAnswers()
	for _, m := range f.expected.DNS {
		if m[3] == nil {
			continue // a query
		}
		typ, _ := strconv.Atoi(fmt.Sprint(m[2]))
		q := question(m[1].(string), dns.Type(typ).String(), int(m[3].(float64)))
		theirs[q] = 1
		for _, a := range m[4].([]any) {
			// tshark's list is of all sections; what is told of a name are the
			// addresses of the answer.
			if one := q + " " + a.(string); ours[one] == 1 || !beside[plainName(m[1].(string))+" "+a.(string)] {
				theirs[one] = 1
			}
		}
	}
}

// plainName is a name in small letters, without the last dot; nothing is the
// root's.
func plainName(name string) string {
	if name = strings.ToLower(strings.TrimSuffix(name, ".")); name == "<root>" {
		return ""
	}
	return name
}

// rcodes are the numbers of rcodes by their names.
var rcodes = func() map[string]int {
	m := map[string]int{}
	for i := range 4096 {
		m[dns.Rcode(i).String()] = i
	}
	return m
}()

// besideAnswers are the addresses that stand in responses outside of the answer
// section, each after the name that was asked for: by another's parser.
func (f *corpusFile) besideAnswers() map[string]bool {
	found := map[string]bool{}
	for _, e := range f.trace.Events {
		var m oracle.Msg
		if e.Name != trace.EventDNSResponse || m.Unpack(e.Raw) != nil || len(m.Question) == 0 {
			continue
		}
		name := plainName(m.Question[0].Name)
		for _, rr := range append(m.Ns, m.Extra...) {
			switch rr := rr.(type) {
			case *oracle.A:
				found[name+" "+rr.A.String()] = true
			case *oracle.AAAA:
				found[name+" "+rr.AAAA.String()] = true
			}
		}
	}
	return found
}

// helloText is what is compared of a hello: nothing where a client names none.
func helloText(h [6]any) string {
	if h[1] == "client" {
		if h[2] == "" {
			return ""
		}
		return "client " + h[2].(string)
	}
	version := h[3].(string)
	if list := h[4].([]any); len(list) > 0 {
		version = list[0].(string)
	}
	v, _ := strconv.ParseUint(version, 0, 16)
	c, _ := strconv.ParseUint(fmt.Sprint(h[5]), 0, 16)
	return "server " + tlswire.VersionName(uint16(v)) + " " + tlswire.SuiteName(uint16(c))
}

func requestText(method, target string) string { return strconv.QuoteToGraphic(method + " " + target) }

// hellos compares what clients and servers of TLS say first: the name that is
// asked for, the version and the suite that are chosen.
func (f *corpusFile) hellos(theirs, ours map[string]int) {
	streams := map[string][2]string{} // the last of each stream
	for i, h := range f.expected.TLS {
		stream := h[0].(string)
		if stream == "" {
			stream = fmt.Sprintf("none %d", i)
		}
		s := streams[stream]
		if text := helloText(h); h[1] == "server" {
			s[1] = text
		} else if text != "" {
			s[0] = text
		}
		streams[stream] = s
	}
	for _, s := range streams {
		for _, text := range s {
			if text != "" {
				theirs[text]++
			}
		}
	}
	for _, c := range f.trace.Connections {
		if c.TLS == nil {
			continue
		}
		if c.TLS.SNI != "" {
			ours["client "+c.TLS.SNI]++
		}
		if c.TLS.Suite != "" {
			ours["server "+c.TLS.Version+" "+c.TLS.Suite]++
		}
	}
}
