package analyze

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"peel/clock"
	words "peel/evidence/failure"
	"peel/internal/content"
	"peel/trace"
)

// Bounds of decoding: the coded bytes of one body and of all that are under way,
// and what all bodies of a capture may decode to, beside a multiple of what they
// are: a capture of bombs must not cost more than one of bytes.
const (
	maxCoded     = 16 << 20
	maxAllCoded  = 128 << 20
	freeDecoded  = 256 << 20
	decodedRatio = 64
)

// coded is a body with a content encoding, while it comes.
type coded struct {
	on   bool
	buf  []byte
	held int // counted among those of all bodies
}

// begin prepares to decode the response's body, which begins. What decisions tell
// of was decoded, or not, by who asked for it.
func (c *coded) begin(x *exchange) {
	c.on = x.number == 0 && x.tr.Response.Body.Encoding != "" && x.tr.Response.Body.Encoding != "identity"
}

func (c *coded) add(a *Analyzer, b []byte) {
	if !c.on {
		return
	}
	if len(c.buf)+len(b) > maxCoded || a.coded+len(b) > maxAllCoded {
		c.drop(a)
		return
	}
	a.coded += len(b)
	c.held += len(b)
	c.buf = append(c.buf, b...)
}

// drop lets go of a body that is not decoded: bytes of it are missing, or it has
// no end.
func (c *coded) drop(a *Analyzer) {
	a.coded -= c.held
	*c = coded{}
}

// decode takes the encoding off a body that is whole. It is false when that was
// not tried to the end.
func (c *coded) decode(a *Analyzer, encoding string) (size int64, err error, done bool) {
	if !c.on || len(c.buf) == 0 {
		c.drop(a)
		return 0, nil, false
	}
	b := c.buf
	c.drop(a)
	a.decodable += int64(len(b)) * decodedRatio
	budget := freeDecoded + a.decodable - a.decoded
	if budget <= 0 {
		return 0, nil, false
	}
	r, err := content.NewReader(bytes.NewReader(b), encoding, content.Limit{MaxBytes: budget})
	if err != nil {
		var unknown *content.UnknownError
		if errors.As(err, &unknown) {
			return 0, nil, false // not of the list that is decoded: nothing is wrong
		}
		return 0, err, true
	}
	_, err = io.Copy(io.Discard, r)
	size = r.Decoded()
	a.decoded += size
	var bomb *content.BombError
	if errors.As(err, &bomb) && size >= budget {
		return 0, nil, false
	}
	return size, err, true
}

// undeclared notes a body that begins as gzip does and whose head does not say
// so, though its type is one of text: clients show such a body as it is.
func (h *h1conn) undeclared(t clock.Time, x *exchange, b []byte) {
	r := x.tr.Response
	if r.Body.WireSize > 0 || len(b) < 4 || b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 || r.Body.Encoding != "" {
		return
	}
	kind := ""
	for _, f := range r.Headers {
		if strings.EqualFold(f.Name, "Content-Type") {
			kind = strings.ToLower(f.Value)
		}
	}
	if !strings.HasPrefix(kind, "text/") && !strings.HasPrefix(kind, "application/json") && !strings.HasPrefix(kind, "application/javascript") {
		return
	}
	e := h.l.c.a.event(t, trace.LayerHTTP, trace.EventBodyCoding, fmt.Sprintf("the body begins as gzip does (1f 8b 08), is said to be %s, and no Content-Encoding says that it is coded", kind))
	e.Connection, e.Exchange, e.Direction = h.l.c.tr.ID, x.tr.ID, trace.In
}

// decodeBody notes what the response's body, which is whole, decodes to, or that
// it does not.
func (x *exchange) decodeBody(c *conn, t clock.Time) {
	size, err, done := x.coded.decode(c.a, x.tr.Response.Body.Encoding)
	if !done {
		return
	}
	x.tr.Response.Body.DecodedSize = size
	if err != nil && x.fault == nil {
		f := words.Encoding(err)
		x.fault = &f
		e := c.a.event(t, trace.LayerHTTP, trace.EventBodyDecoded, f.Seen)
		e.Connection, e.Exchange = c.tr.ID, x.tr.ID
		x.failed = e
	}
}
