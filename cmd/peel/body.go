package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// body is the content of a request: what was typed, and files, of which only
// the names and lengths are kept, so that they are read each time it is sent.
type body []bodyPart

// bodyPart is a text, or a file.
type bodyPart struct {
	text   []byte
	file   string // empty for a text
	length int64
}

// maxInput bounds what is read into memory so that it can be sent again:
// standard input, pipes, and files whose line ends are taken out.
const maxInput = 1 << 30

// body is what the flags say is sent; nil when they say nothing.
func (o *options) body(std streams) (b body, contentType string, err error) {
	if o.jsonBody != "" {
		if len(o.data)+len(o.dataRaw)+len(o.dataBinary) > 0 {
			return nil, "", errors.New("--json-body and --data exclude each other; give one")
		}
		p, err := newBodyPart(o.jsonBody, std)
		return body{p}, "application/json", err
	}
	add := func(p bodyPart) {
		if b != nil {
			b = append(b, bodyPart{text: []byte("&")})
		}
		b = append(b, p)
	}
	for _, d := range o.data {
		p, err := newBodyPart(d, std)
		if err != nil {
			return nil, "", err
		}
		if strings.HasPrefix(d, "@") {
			// As curl does: line ends of a file are taken out of form data.
			all, err := body{p}.all()
			if err != nil {
				return nil, "", err
			}
			p = bodyPart{text: bytes.ReplaceAll(bytes.ReplaceAll(all, []byte("\n"), nil), []byte("\r"), nil)}
		}
		add(p)
	}
	for _, d := range o.dataRaw {
		add(bodyPart{text: []byte(d)})
	}
	for _, d := range o.dataBinary {
		p, err := newBodyPart(d, std)
		if err != nil {
			return nil, "", err
		}
		add(p)
	}
	return b, "application/x-www-form-urlencoded", nil
}

// newBodyPart is the text, or with @ the file of that name, which is there and
// can be opened. What is no regular file is read now: it cannot be read again.
func newBodyPart(s string, std streams) (bodyPart, error) {
	name, ok := strings.CutPrefix(s, "@")
	if !ok {
		return bodyPart{text: []byte(s)}, nil
	}
	r := std.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return bodyPart{}, fmt.Errorf("the body: %w", err)
		}
		defer f.Close()
		i, err := f.Stat()
		if err != nil {
			return bodyPart{}, fmt.Errorf("the body: %w", err)
		}
		if i.Mode().IsRegular() && i.Size() > 0 { // files of /proc say that they are empty
			return bodyPart{file: name, length: i.Size()}, nil
		}
		r = f
	}
	b, err := readInput(r)
	if err != nil {
		return bodyPart{}, fmt.Errorf("the body from %s: %w", name, err)
	}
	return bodyPart{text: b}, nil
}

func readInput(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(b) > maxInput {
		err = errors.New("larger than 1 GiB")
	}
	return b, err
}

func (b body) size() int64 {
	var n int64
	for _, p := range b {
		n += p.length + int64(len(p.text))
	}
	return n
}

// open gives the content from its beginning, each time anew.
func (b body) open() (io.Reader, error) {
	var list []io.Reader
	for _, p := range b {
		if p.file == "" {
			list = append(list, bytes.NewReader(p.text))
		} else {
			list = append(list, &fileReader{name: p.file})
		}
	}
	return io.MultiReader(list...), nil
}

// all is the content in memory.
func (b body) all() ([]byte, error) {
	r, err := b.open()
	if err != nil {
		return nil, err
	}
	all, err := readInput(r)
	if err != nil {
		return nil, fmt.Errorf("the body: %w", err)
	}
	return all, nil
}

// fileReader reads a file that it opens when the first bytes are wanted, and
// closes at its end.
type fileReader struct {
	name string
	f    *os.File
	err  error
}

func (r *fileReader) Read(p []byte) (int, error) {
	if r.f == nil && r.err == nil {
		r.f, r.err = os.Open(r.name)
	}
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.f.Read(p)
	if err != nil {
		r.f.Close()
		r.err = err
	}
	return n, err
}
