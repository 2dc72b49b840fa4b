package main

import (
	"os"

	"peel/trace"
	"peel/view/har"
)

// writeHAR writes the requests of a trace to a file, or to stdout for -.
func writeHAR(stdout *os.File, name string, t *trace.Trace) error {
	f := stdout
	if name != "-" {
		var err error
		if f, err = os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		defer f.Close()
	}
	return har.Write(f, t, har.Options{Version: version})
}
