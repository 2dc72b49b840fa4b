package client

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"peel/internal/kernel"
	"peel/trace"
)

// What the system says in one number has several causes: each is told as what
// it is, and what is not known is left open.
func TestConnectFailureSaysWhoAnswered(t *testing.T) {
	to := netip.MustParseAddrPort("192.0.2.2:80")
	from := netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		err  error
		code trace.FailureCode
		says string
		not  string
	}{
		{&kernel.Refusal{Err: syscall.ECONNREFUSED}, trace.FailConnectionRefused, "(RST", "ICMP"},
		{syscall.ECONNREFUSED, trace.FailConnectionRefused, "which was not seen", "(RST"},
		{&kernel.Refusal{Err: syscall.ECONNREFUSED, ICMP: &kernel.ICMPError{From: to.Addr(), Type: 3, Code: 3}}, trace.FailRejected, "192.0.2.2 answered with ICMP port unreachable", "RST"},
		{&kernel.Refusal{Err: syscall.EHOSTUNREACH, ICMP: &kernel.ICMPError{From: from, Type: 3, Code: 13}}, trace.FailRejected, "a machine on the way, 192.0.2.1, answered with ICMP communication administratively prohibited", "no route"},
		{&kernel.Refusal{Err: syscall.EHOSTUNREACH, ICMP: &kernel.ICMPError{From: from, Type: 3, Code: 1, Local: true}}, trace.FailUnreachable, "nobody on the link answers", "no route"},
		{&kernel.Refusal{Err: syscall.ENETUNREACH, ICMP: &kernel.ICMPError{From: from, V6: true, Type: 1, Code: 0}}, trace.FailUnreachable, "has no way to it (ICMP no route)", "RST"},
		{syscall.ENETUNREACH, trace.FailUnreachable, "cannot be reached from here", "ICMP"},
	} {
		d, e := connectFailure(to, c.err, time.Millisecond)
		if e.Code != c.code || !strings.Contains(e.Seen, c.says) || strings.Contains(e.Seen, c.not) {
			t.Errorf("%v: %s, %q; want %s and %q", c.err, e.Code, e.Seen, c.code, c.says)
		}
		if d.Error != e.Seen {
			t.Errorf("%v: the trace says %q", c.err, d.Error)
		}
	}
}
