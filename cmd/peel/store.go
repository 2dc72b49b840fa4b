package main

import (
	"fmt"
	"io"
	"os"

	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/view/redact"
)

// writeTo has a text written to a file that its owner alone can read, or to
// stdout for -.
func writeTo(stdout *os.File, name string, write func(io.Writer) error) (err error) {
	if name == "-" {
		return write(stdout)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	return write(f)
}

// pcapFile is the file of --pcap; a nil one stores nothing.
type pcapFile struct{ f *os.File }

// createPcap creates the file of --pcap, and has store write into it.
func createPcap(name string, secrets bool, mode redact.Mode, store func(io.Writer, capture.FileOptions) error) (*pcapFile, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--pcap: %w", err)
	}
	o := capture.FileOptions{Application: "peel " + version, Secrets: secrets}
	if mode == redact.On {
		// What the packets carry in the clear is in the file all the same.
		o.Redact = redact.Text
	}
	return &pcapFile{f}, store(f, o)
}

// close closes the file. err is what storing came to.
func (p *pcapFile) close(err error) error {
	if p == nil {
		return err
	}
	if cerr := p.f.Close(); err == nil {
		err = cerr
	}
	return err
}

// limits say what the analysis has to keep for the output asked for.
func (g *get) limits() analyze.Limits {
	l := analyze.Limits{}
	if g.o.json != "" || g.o.verbose > 0 {
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
