package main

import (
	"bufio"
	"fmt"
	"os"

	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/view/redact"
)

// pcapFile is the file of --pcap; a nil one stores nothing.
type pcapFile struct {
	f   *os.File
	buf *bufio.Writer
	w   *capture.FileWriter
	err error
}

// createPcap creates the file of --pcap.
func createPcap(name string, secrets bool, mode redact.Mode) (*pcapFile, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--pcap: %w", err)
	}
	p := &pcapFile{f: f, buf: bufio.NewWriterSize(f, 1<<18)}
	o := capture.FileOptions{Application: "peel " + version, Secrets: secrets}
	if mode == redact.On {
		// What the packets carry in the clear is in the file all the same.
		o.Redact = redact.Text
	}
	p.w = capture.NewFileWriter(p.buf, o)
	return p, nil
}

func (p *pcapFile) write(r capture.Record) {
	if p != nil && p.err == nil {
		p.err = p.w.Write(r)
	}
}

func (p *pcapFile) close(received, dropped uint64) error {
	if p == nil {
		return nil
	}
	if received > 0 {
		p.w.Statistics(received, dropped)
	}
	for _, f := range []func() error{p.w.Close, p.buf.Flush, p.f.Close} {
		if err := f(); p.err == nil {
			p.err = err
		}
	}
	return p.err
}

// limits say what the analysis has to keep for the output asked for.
func (g *get) limits(packets bool) analyze.Limits {
	l := analyze.Limits{}
	if packets && (g.o.json != "" || g.o.verbose > 0) {
		l.Packets = 10_000
		if g.o.verbose > 1 {
			l.PacketBytes = 64 << 20
		}
	}
	if g.o.har != "" {
		l.Body = 16 << 20
	}
	return l
}
