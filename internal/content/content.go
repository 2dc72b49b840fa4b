// Package content takes content encodings off a body (RFC 9110 §8.4): gzip,
// deflate, br and zstd, also one upon another, within bounds that a
// decompression bomb cannot pass.
package content

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// AcceptEncoding returns the codings that NewReader takes, as a request asks
// for them.
func AcceptEncoding() string { return "gzip, deflate, br, zstd" }

// Limit bounds what a body may become. The zero value has safe bounds.
type Limit struct {
	// MaxBytes bounds the decoded size; 0 means no bound but the ratio.
	MaxBytes int64
	// MaxRatio bounds decoded to encoded size once FreeBytes were decoded;
	// 0 means 200, and 16 MiB.
	MaxRatio  int64
	FreeBytes int64
}

// BombError is a body that becomes too large.
type BombError struct{ Encoded, Decoded, MaxBytes, MaxRatio int64 }

func (e *BombError) Error() string {
	if e.MaxBytes > 0 && e.Decoded > e.MaxBytes {
		return fmt.Sprintf("content: the body decodes to more than %d bytes", e.MaxBytes)
	}
	return fmt.Sprintf("content: %d bytes decode to %d already, more than %d times as much: it looks like a decompression bomb", e.Encoded, e.Decoded, e.MaxRatio)
}

// UnknownError is a coding that is not known.
type UnknownError struct{ Coding string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("content: the coding %q is not known; known are gzip, deflate, br, zstd", e.Coding)
}

// maxCodings bounds how many codings may lie one upon another.
const maxCodings = 5

// zstdWindow is the largest window that a decoder must offer (RFC 9659).
const zstdWindow = 8 << 20

// Reader reads a decoded body.
type Reader struct {
	r       io.Reader
	in      *counter
	lim     Limit
	decoded int64
	close   []func()
	err     error
}

// counter counts the encoded bytes.
type counter struct {
	r   io.Reader
	n   int64
	err error // of the body itself, which is not the decoder's fault
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// NewReader returns a reader of r without the codings, which are listed in
// the order in which they were applied. Errors of r itself come through as
// they are.
func NewReader(r io.Reader, codings string, lim Limit) (*Reader, error) {
	if lim.MaxRatio == 0 {
		lim.MaxRatio = 200
	}
	if lim.FreeBytes == 0 {
		lim.FreeBytes = 16 << 20
	}
	d := &Reader{in: &counter{r: r}, lim: lim}
	d.r = d.in
	var list []string
	for _, c := range strings.Split(codings, ",") {
		if c = strings.ToLower(strings.TrimSpace(c)); c != "" && c != "identity" {
			list = append(list, c)
		}
	}
	if len(list) > maxCodings {
		return nil, fmt.Errorf("content: %d codings one upon another, more than %d", len(list), maxCodings)
	}
	for i := len(list) - 1; i >= 0; i-- {
		if err := d.push(list[i]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Reader) push(coding string) error {
	switch coding {
	case "gzip", "x-gzip":
		d.r = &lazy{src: d.r, open: openGzip}
	case "deflate":
		d.r = &lazy{src: d.r, open: openDeflate}
	case "br":
		d.r = brotli.NewReader(d.r)
	case "zstd":
		z, err := zstd.NewReader(d.r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return err
		}
		d.close = append(d.close, z.Close)
		d.r = z
	default:
		return &UnknownError{coding}
	}
	return nil
}

// openGzip says of a body that is no gzip at all that it is none, and not that it
// ends too early, however short it is.
func openGzip(r io.Reader) (io.Reader, error) {
	b := r.(*bufio.Reader)
	if begin, _ := b.Peek(2); len(begin) > 0 && !bytes.HasPrefix([]byte{0x1f, 0x8b}, begin) {
		return nil, gzip.ErrHeader
	}
	return gzip.NewReader(b)
}

// lazy opens a decoder when the first byte is asked for, since opening reads
// a header: a response's head must not wait for its body.
type lazy struct {
	src  io.Reader
	open func(io.Reader) (io.Reader, error)
	r    io.Reader
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.r == nil {
		b := bufio.NewReader(l.src)
		// A body of no bytes at all is empty, whatever its coding.
		if _, err := b.Peek(1); err != nil {
			return 0, err
		}
		r, err := l.open(b)
		if err != nil {
			return 0, err
		}
		l.r = r
	}
	return l.r.Read(p)
}

// openDeflate reads zlib, which RFC 9110 means, or raw deflate, which some
// servers send.
func openDeflate(r io.Reader) (io.Reader, error) {
	b := r.(*bufio.Reader)
	h, err := b.Peek(2)
	if err == nil && h[0]&0x0f == 8 && (int(h[0])<<8|int(h[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

// Read gives decoded bytes. All that could be decoded comes before an error.
func (d *Reader) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.r.Read(p)
	d.decoded += int64(n)
	switch {
	case d.lim.MaxBytes > 0 && d.decoded > d.lim.MaxBytes,
		d.decoded > d.lim.FreeBytes && d.decoded > d.in.n*d.lim.MaxRatio:
		over := int64(0)
		if d.lim.MaxBytes > 0 && d.decoded > d.lim.MaxBytes {
			over = d.decoded - d.lim.MaxBytes
		}
		d.finish(&BombError{d.in.n, d.decoded, d.lim.MaxBytes, d.lim.MaxRatio})
		return n - int(min(over, int64(n))), d.err
	case err != nil:
		d.finish(d.explain(err))
		return n, d.err
	}
	return n, nil
}

// explain tells the body's own errors from the decoder's.
func (d *Reader) explain(err error) error {
	switch {
	case d.in.err != nil:
		return d.in.err
	case err == io.EOF:
		return io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("content: the encoded body ends too early, after %d bytes, of which %d came out: %w", d.in.n, d.decoded, err)
	}
	return fmt.Errorf("content: after %d decoded bytes: %w", d.decoded, err)
}

func (d *Reader) finish(err error) {
	d.err = err
	for _, f := range d.close {
		f()
	}
}

// Encoded and Decoded count the bytes so far on either side.
func (d *Reader) Encoded() int64 { return d.in.n }
func (d *Reader) Decoded() int64 { return d.decoded }
