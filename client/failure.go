package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"peel/evidence/decision"
	words "peel/evidence/failure"
	"peel/internal/kernel"
	"peel/trace"
)

// Error is why a request did not succeed: the layer, what was seen there, and
// what to try. The trace holds the same as a trace.Failure.
type Error struct {
	trace.Failure
	// Err is the cause, for errors.Is and errors.As; it may be nil.
	Err error
}

func (e *Error) Error() string {
	s := string(e.Layer) + ": " + e.Seen
	if e.Try != "" {
		s += "; " + e.Try
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

func failure(layer trace.LayerName, code trace.FailureCode, seen, try string, err error) *Error {
	return &Error{Failure: trace.Failure{Layer: layer, Code: code, Seen: seen, Try: try}, Err: err}
}

// because is a failure in the words that a capture of it would be told in.
func because(f trace.Failure, err error) *Error { return &Error{Failure: f, Err: err} }

// hint adds to e what of the program that uses this client would help.
func (e *Error) hint(h trace.Hint) *Error {
	e.Hint = h
	return e
}

// limitError is a wait that reached its limit.
type limitError struct {
	what  string
	limit time.Duration
}

func (e *limitError) Error() string   { return fmt.Sprintf("%s took longer than %v", e.what, e.limit) }
func (e *limitError) Timeout() bool   { return true }
func (e *limitError) Temporary() bool { return true }

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// cancelled turns the end of a context into a failure at the given layer.
func cancelled(ctx context.Context, layer trace.LayerName, doing string) *Error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) || isTimeout(cause) {
		return failure(layer, trace.FailTimeout, fmt.Sprintf("the time limit ran out while %s", doing), "allow more time", cause).hint(trace.HintTimeLimit)
	}
	return failure(layer, trace.FailCancelled, "cancelled while "+doing, "", cause)
}

// connectFailure says why one attempt at a TCP connection failed: as the decision
// that the trace keeps, and in the words of a capture of it.
func connectFailure(addr netip.AddrPort, err error, took time.Duration) (*decision.ConnectFailed, *Error) {
	ended := func(outcome trace.AttemptOutcome, e *Error) (*decision.ConnectFailed, *Error) {
		return &decision.ConnectFailed{Outcome: outcome, Error: e.Seen}, e
	}
	var refusal *kernel.Refusal
	if errors.As(err, &refusal) && refusal.ICMP != nil {
		i := refusal.ICMP
		e := because(words.Rejected(addr, trace.Rejection{From: i.From, V6: i.V6, Type: i.Type, Code: i.Code, Local: i.Local}), err)
		outcome := trace.AttemptUnreachable
		if e.Code == trace.FailRejected {
			outcome = trace.AttemptRejected
		}
		return &decision.ConnectFailed{Outcome: outcome, Error: e.Seen, From: i.From, V6: i.V6, Type: i.Type, Code: i.Code, Local: i.Local}, e
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) && refusal != nil:
		d, e := ended(trace.AttemptRefused, because(words.Refused(addr.String()), err))
		d.Reset = true
		return d, e
	case errors.Is(err, syscall.ECONNREFUSED):
		return ended(trace.AttemptRefused, because(words.RefusedSomehow(addr.String()), err))
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return ended(trace.AttemptUnreachable, failure(trace.LayerTCP, trace.FailUnreachable,
			fmt.Sprintf("%s cannot be reached from here (%s)", addr, errno(err)),
			"check the route and, for an IPv6 address, that this machine has IPv6", err))
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return ended(trace.AttemptFailed, failure(trace.LayerTCP, trace.FailNotPermitted, "this machine does not permit the connection to "+addr.String()+" ("+errno(err)+")",
			"a local firewall or sandbox forbids it", err))
	case isTimeout(err):
		return ended(trace.AttemptTimeout, because(words.Unanswered(addr.String(), took), err))
	case errors.Is(err, context.Canceled):
		return ended(trace.AttemptCancelled, failure(trace.LayerTCP, trace.FailCancelled, "the attempt at "+addr.String()+" was cancelled", "", err))
	}
	return ended(trace.AttemptFailed, failure(trace.LayerTCP, trace.FailConnect, addr.String()+": "+errno(err), "", err))
}

// errno gives the system's words for an error without Go's wrapping.
func errno(err error) string {
	var en syscall.Errno
	if errors.As(err, &en) {
		return en.Error()
	}
	return err.Error()
}

// brokenFailure says how a connection ended while a message was under way.
func brokenFailure(layer trace.LayerName, doing string, err error) *Error {
	if a, ok := remoteAlert(err); ok {
		// In TLS 1.3 the server's judgement on a client certificate comes
		// after the client's handshake is complete, as the first read fails.
		about := words.TLSAlert{From: "the server", Description: uint8(a), Agreed: true}
		var late *alertError
		if errors.As(err, &late) {
			about = late.seen.alert(about)
		}
		return because(words.Alert(about), err)
	}
	switch {
	case isEOF(err) || errors.Is(err, io.ErrUnexpectedEOF):
		return because(words.Closed(layer, doing), err)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return because(words.Reset(layer, doing), err)
	case isTimeout(err):
		return failure(layer, trace.FailTimeout, "nothing came "+doing+": "+err.Error(), "the server is slow or the path is dead; allow more time", err).hint(trace.HintTimeLimit)
	}
	return failure(layer, trace.FailBroken, "the connection broke "+doing+": "+err.Error(), "", err)
}

// tlsFailure says why a handshake failed, from the error of crypto/tls, what
// the client had offered and what it had seen.
func tlsFailure(host string, err error, offered words.TLSAlert, seen handshake) *Error {
	var verdict *verdictError
	var rh tls.RecordHeaderError
	alert, remote := remoteAlert(err)
	switch {
	case errors.As(err, &verdict):
		v := verdict.verdict
		return failure(trace.LayerTLS, trace.FailCertificate(v.Code), v.Title, v.Try, err).hint(v.Hint)
	case errors.As(err, &rh):
		return because(words.NotTLS(host, rh.RecordHeader[:]), err)
	case remote:
		offered.From, offered.Description = host, uint8(alert)
		return because(words.Alert(seen.alert(offered)), err)
	case isEOF(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || isTimeout(err):
		return brokenFailure(trace.LayerTLS, words.DuringHandshake, err)
	case strings.Contains(err.Error(), "unsupported version") || strings.Contains(err.Error(), "unsupported versions"):
		return failure(trace.LayerTLS, trace.FailVersion, host+" chose a TLS version that this client does not speak: "+trimTLS(err),
			"the server is too old or the client limited", err).hint(trace.HintVersionLimits)
	}
	return failure(trace.LayerTLS, trace.FailHandshake, "the TLS handshake with "+host+" failed: "+trimTLS(err), "", err)
}

// remoteAlert returns the alert that the peer sent. crypto/tls does not
// export the type that it has outside of QUIC, but its texts are the same.
func remoteAlert(err error) (tls.AlertError, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	for n := range 256 {
		if a := tls.AlertError(n); a.Error() == op.Err.Error() {
			return a, true
		}
	}
	return 0, false
}

func trimTLS(err error) string { return strings.TrimPrefix(err.Error(), "tls: ") }

// said is an engine's error without the name of its package, which the layer
// of the failure repeats.
func said(err error) string {
	s := err.Error()
	for _, p := range []string{"http1: ", "http2: "} {
		s = strings.TrimPrefix(s, p)
	}
	return s
}

// round shortens a duration to three digits or so, for a person.
func round(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d
}
