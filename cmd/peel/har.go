package main

import (
	"io"
	"os"

	"peel/trace"
	"peel/view/har"
)

// writeHAR writes the requests of a trace to a file, or to stdout for -.
func writeHAR(stdout *os.File, name string, t *trace.Trace) error {
	return writeTo(stdout, name, func(w io.Writer) error { return har.Write(w, t, har.Options{Version: version}) })
}
