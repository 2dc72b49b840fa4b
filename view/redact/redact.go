// Package redact masks secrets in a trace before it is stored or shown:
// credentials, cookies, and tokens in URLs, forms and JSON. In texts a mark
// stands for each; bytes keep their length and place.
package redact

import (
	"bytes"
	"io"
	"reflect"
	"slices"
	"strings"

	"peel/internal/content"
	"peel/trace"
)

// Mode says whether to redact.
type Mode uint8

// Modes. The zero value redacts.
const (
	On Mode = iota
	Off
)

// Mark stands in a text where a secret was.
const Mark = "[redacted]"

// masked stands for each byte of one.
const masked = '*'

// Apply returns a trace without secrets. Values that are secret are found by
// where they stand, and then masked wherever else they appear, in every text
// and in the bytes of messages and packets. t itself is not changed.
func Apply(t *trace.Trace, m Mode) *trace.Trace {
	if m == Off {
		return t
	}
	r := &redaction{secrets: secrets{map[string]bool{}}, spans: map[space][]span{}}
	r.secrets.of(t)
	out := deepCopy(reflect.ValueOf(t)).Interface().(*trace.Trace)
	r.raw(out)
	r.bodies(out)
	list := make([]string, 0, len(r.secrets.values))
	for s := range r.secrets.values {
		list = append(list, s)
	}
	slices.Sort(list)
	r.matcher = newMatcher(list)
	r.match(out)
	r.headers(out)
	r.mask(out)
	for _, x := range out.Exchanges {
		for _, l := range heads(x) {
			for i := range l.fields {
				h := &l.fields[i]
				h.Value = r.marked(h.Value, (*secrets)(nil).field(h.Name, h.Value))
			}
		}
		for _, s := range []*string{&x.URL, &x.Input, &x.Request.Target} {
			*s = r.marked(*s, (*secrets)(nil).address(*s, true))
		}
	}
	r.texts(reflect.ValueOf(out).Elem())
	return out
}

// Text returns a text, such as a URL or a message with one in it, without the
// secrets that can be told from it alone.
func Text(s string) string {
	whole := strings.Contains(s, "://")
	return marked(s, (*secrets)(nil).address(s, whole))
}

// Words returns a function that takes out of a text what is a secret in a
// trace, too.
func Words(t *trace.Trace, m Mode) func(string) string {
	if m == Off {
		return func(s string) string { return s }
	}
	found := &secrets{map[string]bool{}}
	found.of(t)
	list := make([]string, 0, len(found.values))
	for s := range found.values {
		list = append(list, s)
	}
	slices.Sort(list)
	r := &redaction{matcher: newMatcher(list)}
	return func(s string) string { return r.marked(s, (*secrets)(nil).address(s, false)) }
}

// redaction is one run of Apply.
type redaction struct {
	secrets secrets
	matcher *matcher
	spans   map[space][]span // what is masked of the bytes of connections
}

// space is where offsets count.
type space struct {
	space      trace.Space
	connection int
	direction  trace.Direction
}

func spaceOf(r trace.Range) space { return space{r.Space, r.Connection, r.Direction} }

// hide notes that a part of r is a secret.
func (r *redaction) hide(at trace.Range, from, to int64) {
	if to = min(to, at.Length); from < to {
		of := spaceOf(at)
		r.spans[of] = append(r.spans[of], span{at.Offset + from, at.Offset + to})
	}
}

// raw looks for secrets in the bytes of messages and packets by what stands
// before them: a head that is malformed makes no exchange, and the content of
// forms is not kept.
func (r *redaction) raw(t *trace.Trace) {
	for _, e := range t.Events {
		if len(e.Raw) == 0 || len(e.Bytes) == 0 || e.Layer == trace.LayerTLS {
			continue
		}
		from := 0
		if isFrame(e) {
			from = min(frameHeader, len(e.Raw))
		}
		raw := e.Raw[from:]
		scan(raw, messages(e.Direction), func(before string, a, b int, surely bool) {
			if surely {
				r.secrets.add(before, string(raw[a:b]))
			}
			e.Raw = hidden(e.Raw, &e.Masked, from+a, from+b)
			r.hide(e.Bytes[0], int64(from+a), int64(from+b))
		})
	}
	for _, p := range t.Packets {
		at := payloadOf(p)
		if at == len(p.Raw) || sealed(t, p) {
			continue
		}
		raw := p.Raw[at:]
		scan(raw, messages(p.Direction), func(before string, a, b int, surely bool) {
			if surely {
				r.secrets.add(before, string(raw[a:b]))
			}
			p.Raw = hidden(p.Raw, &p.Masked, at+a, at+b)
		})
	}
}

func messages(dir trace.Direction) form {
	if dir == trace.In {
		return inResponse
	}
	return inRequest
}

// sealed tells whether a packet carries bytes that TLS has encrypted.
func sealed(t *trace.Trace, p *trace.Packet) bool {
	c := t.Connection(p.Connection)
	return c != nil && c.TLS != nil && len(c.RecordsIn)+len(c.RecordsOut) > 0
}

// payloadOf is where what TCP or UDP carry begins in a packet.
func payloadOf(p *trace.Packet) int {
	at := len(p.Raw)
	for _, l := range p.Layers {
		if l.Name == "tcp" || l.Name == "udp" {
			at = min(l.Offset+l.Length, len(p.Raw))
			if l.Name == "udp" {
				at = min(l.Offset+8, len(p.Raw))
			}
		}
	}
	return at
}

// maxDecoded bounds a body that is decompressed to be looked at.
const maxDecoded = 64 << 20

// bodies looks for secrets in contents that were kept. One whose coding hides
// secrets is masked as a whole, and kept without its coding.
func (r *redaction) bodies(t *trace.Trace) {
	for _, x := range t.Exchanges {
		r.body(&x.Request.Body, inRequest)
		if x.Response != nil {
			r.body(&x.Response.Body, inResponse)
		}
	}
}

func (r *redaction) body(b *trace.Body, as form) {
	plain, coded := b.Content, false
	if b.Encoding != "" && b.Plain == nil && int64(len(b.Content)) >= b.WireSize && len(b.Content) > 0 {
		d, err := content.NewReader(bytes.NewReader(b.Content), b.Encoding, content.Limit{MaxBytes: maxDecoded})
		if err != nil {
			return
		}
		if plain, err = io.ReadAll(d); err != nil {
			return
		}
		coded = true
	}
	found := false
	scan(plain, as, func(before string, from, to int, surely bool) {
		found = true
		if surely {
			r.secrets.add(before, string(plain[from:to]))
		}
		if !coded {
			r.hideContent(b, from, to)
		}
	})
	if coded && found {
		b.Plain = plain // masked below
	}
}

// hideContent notes that a part of a body is a secret.
func (r *redaction) hideContent(b *trace.Body, from, to int) {
	var done bool
	b.Content = hidden(b.Content, &done, from, to)
	i, _ := slices.BinarySearchFunc(b.Pieces, int64(from), func(p trace.Piece, at int64) int {
		if p.At+p.Length <= at {
			return -1
		}
		return 1
	})
	for _, p := range b.Pieces[i:] {
		if p.At >= int64(to) {
			break
		}
		r.hide(p.Bytes, max(int64(from)-p.At, 0), int64(to)-p.At)
	}
}

// match finds the secrets wherever else they stand in bytes.
func (r *redaction) match(t *trace.Trace) {
	for _, e := range t.Events {
		r.places(e.Raw, e.RawLength > len(e.Raw), func(from, to int) {
			e.Raw = hidden(e.Raw, &e.Masked, from, to)
			if len(e.Bytes) > 0 {
				r.hide(e.Bytes[0], int64(from), int64(to))
			}
		})
	}
	for _, p := range t.Packets {
		if !sealed(t, p) {
			r.places(p.Raw, true, func(from, to int) { p.Raw = hidden(p.Raw, &p.Masked, from, to) })
		}
	}
	for _, x := range t.Exchanges {
		for _, b := range bodiesOf(x) {
			r.places(b.Content, false, func(from, to int) { r.hideContent(b, from, to) })
			if b.Plain != nil {
				continue
			}
			r.coded(b)
		}
		for _, b := range bodiesOf(x) {
			if b.Plain == nil {
				continue
			}
			as := inRequest
			if x.Response != nil && b == &x.Response.Body {
				as = inResponse
			}
			var done bool
			plain := b.Plain
			scan(b.Plain, as, func(_ string, from, to int, _ bool) { plain = hidden(plain, &done, from, to) })
			r.places(b.Plain, false, func(from, to int) { plain = hidden(plain, &done, from, to) })
			b.Plain = plain
			r.hideContent(b, 0, len(b.Content))
		}
	}
}

// coded looks into a body whose coding hides what it says.
func (r *redaction) coded(b *trace.Body) {
	if b.Encoding == "" || len(b.Content) == 0 || int64(len(b.Content)) < b.WireSize {
		return
	}
	d, err := content.NewReader(bytes.NewReader(b.Content), b.Encoding, content.Limit{MaxBytes: maxDecoded})
	if err != nil {
		return
	}
	plain, err := io.ReadAll(d)
	if err != nil {
		return
	}
	r.places(plain, false, func(int, int) { b.Plain = plain })
}

func bodiesOf(x *trace.Exchange) []*trace.Body {
	out := []*trace.Body{&x.Request.Body}
	if x.Response != nil {
		out = append(out, &x.Response.Body)
	}
	return out
}

// begun is how much of a secret at the end of something that was cut off is
// taken for one.
const begun = 8

// places finds the secrets in b; cut says that it goes on elsewhere.
func (r *redaction) places(b []byte, cut bool, found func(from, to int)) {
	if n := find(r.matcher, b, found); cut && n >= begun {
		found(len(b)-n, len(b))
	}
}

// headers notes where the secrets of heads stand that the bytes do not show:
// short ones, and those that HPACK has packed.
func (r *redaction) headers(t *trace.Trace) {
	open := map[space][]span{} // fields that are no secret, in HTTP/2
	for _, x := range t.Exchanges {
		for _, l := range heads(x) {
			for _, h := range l.fields {
				if h.Bytes == nil {
					continue
				}
				parts := (*secrets)(nil).field(h.Name, h.Value)
				if h.Coding != "" {
					if len(parts) == 0 && !r.holds(h.Value) {
						open[spaceOf(*h.Bytes)] = append(open[spaceOf(*h.Bytes)], span{h.Bytes.Offset, h.Bytes.Offset + h.Bytes.Length})
					}
					continue
				}
				// A line of HTTP/1: the value stands behind ": ", mostly.
				value := int64(len(h.Name) + 2)
				if value+int64(len(h.Value))+2 != h.Bytes.Length && len(parts) > 0 {
					parts = []span{{-1, h.Bytes.Length - value - 2}}
				}
				for _, p := range parts {
					r.hide(*h.Bytes, value+p.from, value+p.to)
				}
			}
		}
		// A short secret in a request's target.
		for _, p := range (*secrets)(nil).address(x.Request.Target, true) {
			r.target(t, x, p)
		}
	}
	for of := range open {
		open[of] = merged(open[of])
	}
	for _, e := range t.Events {
		if isHeaderBlock(e) && len(e.Bytes) > 0 {
			r.block(e.Bytes[0], open[spaceOf(e.Bytes[0])])
		}
	}
}

// target hides a part of the target in the request line of HTTP/1.
func (r *redaction) target(t *trace.Trace, x *trace.Exchange, p span) {
	if len(x.Request.Headers) == 0 || x.Request.Headers[0].Coding != "" || x.Request.Headers[0].Bytes == nil {
		return
	}
	// The line before the first field is "METHOD TARGET HTTP/1.1".
	first := *x.Request.Headers[0].Bytes
	line := int64(len(x.Request.Method) + 1 + len(x.Request.Target) + len(" HTTP/1.1\r\n"))
	if first.Offset < line {
		return
	}
	first.Offset, first.Length = first.Offset-line, line
	at := int64(len(x.Request.Method) + 1)
	r.hide(first, at+p.from, at+p.to)
}

// block hides of a frame's piece of a header block what is not known to be no
// secret: fields that are, and those of blocks that nobody could decode.
func (r *redaction) block(at trace.Range, open []span) {
	from, end := at.Offset+frameHeader, at.Offset+at.Length
	i, _ := slices.BinarySearchFunc(open, from, func(s span, at int64) int {
		if s.to <= at {
			return -1
		}
		return 1
	})
	for _, s := range open[i:] {
		if s.from >= end {
			break
		}
		r.hide(at, from-at.Offset, s.from-at.Offset)
		from = max(from, s.to)
	}
	r.hide(at, from-at.Offset, end-at.Offset)
}

// mask masks everything that was noted: in the messages, and in the packets
// that carried them.
func (r *redaction) mask(t *trace.Trace) {
	packets := map[int]*trace.Packet{}
	for _, p := range t.Packets {
		packets[p.ID] = p
	}
	for of, list := range r.spans {
		list = merged(list)
		r.spans[of] = list
		c := t.Connection(of.connection)
		if of.space != trace.SpaceStream || c == nil || len(packets) == 0 {
			continue
		}
		for _, s := range list {
			for _, at := range c.Packets(trace.Range{Space: of.space, Connection: of.connection, Direction: of.direction, Offset: s.from, Length: s.to - s.from}) {
				if p := packets[at.Packet]; p != nil {
					p.Raw = hidden(p.Raw, &p.Masked, int(at.Offset), int(at.Offset+at.Length))
				}
			}
		}
	}
	for _, e := range t.Events {
		if e.Masked {
			e.Fields, e.Hex = nil, "" // they are made anew of what is left
		}
		if len(e.Bytes) == 0 || len(e.Raw) == 0 {
			continue
		}
		at := e.Bytes[0]
		list := r.spans[spaceOf(at)]
		i, _ := slices.BinarySearchFunc(list, at.Offset, func(s span, at int64) int {
			if s.to <= at {
				return -1
			}
			return 1
		})
		for _, s := range list[i:] {
			if s.from >= at.Offset+int64(len(e.Raw)) {
				break
			}
			e.Raw = hidden(e.Raw, &e.Masked, int(max(s.from-at.Offset, 0)), int(s.to-at.Offset))
		}
		if e.Masked {
			e.Fields, e.Hex = nil, "" // they are made anew of what is left
		}
	}
	for _, p := range t.Packets {
		if p.Masked {
			p.Fields, p.Hex = nil, ""
		}
	}
}

// hidden masks a part of b, in a copy unless it was copied before.
func hidden(b []byte, copied *bool, from, to int) []byte {
	from, to = max(from, 0), min(to, len(b))
	if from >= to {
		return b
	}
	if !*copied {
		b, *copied = bytes.Clone(b), true
	}
	for i := from; i < to; i++ {
		b[i] = masked
	}
	return b
}

// merged sorts spans and joins those that touch.
func merged(list []span) []span {
	slices.SortFunc(list, func(a, b span) int {
		switch {
		case a.from < b.from:
			return -1
		case a.from > b.from:
			return 1
		}
		return 0
	})
	out := list[:0]
	for _, s := range list {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

func (r *redaction) holds(text string) bool {
	found := false
	find(r.matcher, text, func(int, int) { found = true })
	return found
}

// marked is a text with a mark for each secret: those that stand at parts, and
// those that the matcher knows.
func (r *redaction) marked(s string, parts []span) string {
	find(r.matcher, s, func(from, to int) { parts = append(parts, span{int64(from), int64(to)}) })
	// A text that was cut off shows it by three dots.
	if before, cut := strings.CutSuffix(s, "…"); cut {
		if n := find(r.matcher, before, func(int, int) {}); n >= begun {
			parts = append(parts, span{int64(len(before) - n), int64(len(before))})
		}
	}
	return marked(s, parts)
}

func marked(s string, parts []span) string {
	if len(parts) == 0 {
		return s
	}
	var b strings.Builder
	at := int64(0)
	for _, p := range merged(parts) {
		b.WriteString(s[at:p.from])
		b.WriteString(Mark)
		at = p.to
	}
	b.WriteString(s[at:])
	return b.String()
}
