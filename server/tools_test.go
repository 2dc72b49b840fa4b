package server

import (
	"encoding/pem"
	"io"

	"peel/httpfield"
)

func pemEncode(w io.Writer, der []byte) { pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der}) }

func fields(pairs ...string) (l httpfield.List) {
	for i := 0; i < len(pairs); i += 2 {
		l.Add(pairs[i], pairs[i+1])
	}
	return l
}
