package main

import (
	"errors"
	"os"

	"peel/trace"
)

func writeHAR(stdout *os.File, name string, t *trace.Trace) error {
	return errors.New("not built yet")
}
