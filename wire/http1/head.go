// Package http1 is HTTP/1.1 and 1.0 on the wire (RFC 9112): a reader for
// either role that takes bytes and gives events, builders for heads and
// chunks, and the description of a head's fields. It does no I/O.
package http1

import (
	"bytes"
	"fmt"

	"peel/wire/httpfield"
)

// Role says which side of a connection a Reader stands on.
type Role uint8

const (
	// ClientRole reads responses.
	ClientRole Role = iota
	// ServerRole reads requests.
	ServerRole
)

// Framing says how the end of a body is found (RFC 9112 §6.3).
type Framing uint8

const (
	// NoBody: the message ends with its head.
	NoBody Framing = iota
	// ContentLength: the body has an announced length.
	ContentLength
	// Chunked: the body comes in chunks.
	Chunked
	// UntilClose: the body ends with the connection.
	UntilClose
)

// Head is the start line and the fields of a message, with what follows from
// them. Its strings are safe to keep; Fields is used again for the next head.
type Head struct {
	// Method and Target are set in requests, Status and Reason in responses.
	Method, Target string
	Status         int
	Reason         string
	// Form is the form of Target. Authority is that of the target in absolute
	// and authority form, else the value of Host.
	Form      TargetForm
	Authority string
	// Minor is the x of HTTP/1.x: 0 or 1.
	Minor  int
	Fields httpfield.List

	Framing Framing
	// ContentLength is the announced length in bytes, -1 when there is none.
	ContentLength int64
	// KeepAlive tells that the connection may serve another message; WhyClose
	// says why it may not.
	KeepAlive bool
	WhyClose  string
	// Expect100 tells that the client waits for a 100 response.
	Expect100 bool
	// Upgrade is the value of the Upgrade field when Connection names it.
	Upgrade string
	// Deviations lists oddities that were tolerated.
	Deviations []string
}

// Limits bound what a Reader takes. Zero fields have the defaults given.
type Limits struct {
	// StartLine bounds the start line in bytes; 0 means 8 KiB.
	StartLine int
	// HeadBytes bounds the whole head in bytes; 0 means 64 KiB for responses
	// and 32 KiB for requests.
	HeadBytes int
	// Fields bounds the number of fields; 0 means 256.
	Fields int
	// Trailer bounds the trailer section in bytes; 0 means 16 KiB.
	Trailer int
	// ChunkExtensions bounds the bytes of chunk extensions in one body; 0
	// means 16 KiB.
	ChunkExtensions int
	// Interim bounds the 1xx responses before one final response; 0 means 32.
	Interim int
	// Observe tolerates whatever can be read unambiguously: for an observer
	// that must show what it sees, not for a peer that acts on it.
	Observe bool
}

func (l *Limits) fill(role Role) {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.StartLine, 8<<10)
	if role == ServerRole {
		set(&l.HeadBytes, 32<<10)
	}
	set(&l.HeadBytes, 64<<10)
	set(&l.Fields, 256)
	set(&l.Interim, 32)
	set(&l.Trailer, 16<<10)
	set(&l.ChunkExtensions, 16<<10)
}

// Error is a message that breaks the rules.
type Error struct {
	// Status is what a server answers with: 400, 414, 431, 501 or 505.
	Status int
	// Offset is the place in the connection's byte stream, from 0.
	Offset int64
	// What says what was wrong and what was seen.
	What string
	// Announced and Received are set when a body ended too early.
	Announced, Received int64
	truncated, alien    bool
}

func (e *Error) Error() string { return "http1: " + e.Detail() }

// Detail is Error without the name of the package, for whoever names the protocol
// already.
func (e *Error) Detail() string {
	if e.truncated {
		return e.What
	}
	return fmt.Sprintf("at byte %d: %s", e.Offset, e.What)
}

// Truncated tells that the connection ended inside of a message.
func (e *Error) Truncated() bool { return e.truncated }

// TooLarge tells that the message is larger than the reader takes.
func (e *Error) TooLarge() bool { return e.Status == 414 || e.Status == 431 }

// Alien tells that what came begins like nothing in HTTP/1.
func (e *Error) Alien() bool { return e.alien }

// Line is where a field line stands in a head.
type Line struct{ Offset, Length int }

// FieldLines returns where the field lines of a head stand, CRLF included, in
// order. A continuation line (obs-fold) belongs to the line before it.
func FieldLines(head []byte) []Line {
	var out []Line
	start := true
	for pos := 0; pos < len(head); {
		end := bytes.IndexByte(head[pos:], '\n')
		if end < 0 {
			break
		}
		end += pos + 1
		line := bytes.TrimRight(head[pos:end], "\r\n")
		switch {
		case start:
			start = false
		case len(line) == 0:
			return out
		case (line[0] == ' ' || line[0] == '\t') && len(out) > 0:
			out[len(out)-1].Length += end - pos
		default:
			out = append(out, Line{pos, end - pos})
		}
		pos = end
	}
	return out
}

// quoted shows bytes in an error, bounded.
func quoted[T ~string | ~[]byte](s T) string {
	if len(s) > 40 {
		return fmt.Sprintf("%q…", string(s[:40]))
	}
	return fmt.Sprintf("%q", string(s))
}

// trimOWS removes spaces and tabs at both ends.
func trimOWS(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
