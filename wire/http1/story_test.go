package http1

import (
	"fmt"
	"strings"
)

// story tells what a Reader sees in a stream that comes in pieces of step
// bytes. Neighbouring data is joined, so that it does not depend on step.
func story(role Role, lim Limits, in string, step int, methods ...string) string {
	var r Reader
	r.Reset(role, lim)
	for _, m := range methods {
		r.ExpectResponseTo(m)
	}
	var out []string
	body := ""
	say := func(s string) {
		if body != "" {
			out = append(out, fmt.Sprintf("data %q", body))
			body = ""
		}
		out = append(out, s)
	}
	from, to := 0, 0
	for {
		eof := to == len(in)
		ev, n, err := r.Next([]byte(in[from:to]), eof)
		from += n
		switch {
		case err != nil:
			if e, ok := err.(*Error); ok {
				say(fmt.Sprintf("error %d at %d: %v", e.Status, e.Offset, err))
			} else {
				say("untyped error: " + err.Error())
			}
			return strings.Join(out, "\n")
		case ev.Kind == NeedMore:
			if eof {
				say("stuck")
				return strings.Join(out, "\n")
			}
			to = min(to+step, len(in))
		case ev.Kind == HeadEvent:
			h := ev.Head
			say(fmt.Sprintf("head %s %s %d %q 1.%d %v framing %d length %d keep %v %q expect %v upgrade %q deviations %q", h.Method, h.Target,
				h.Status, h.Reason, h.Minor, h.Fields, h.Framing, h.ContentLength, h.KeepAlive, h.WhyClose, h.Expect100, h.Upgrade, h.Deviations))
		case ev.Kind == Data:
			body += string(ev.Data)
		case ev.Kind == End:
			say(fmt.Sprintf("end %v", ev.Trailers))
		default:
			say(fmt.Sprintf("kind %d, %d bytes left", ev.Kind, len(in)-from))
			return strings.Join(out, "\n")
		}
	}
}

// samples are streams of both roles, good and bad: seeds, and material for
// tests of how they may be cut.
var samples = map[Role][]string{
	ServerRole: {
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"\r\nGET /a?b HTTP/1.1\r\nHost: a\r\n\r\nGET /c HTTP/1.1\r\nhOsT: b:80\r\nConnection: close\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n00\r\nX-T: 1\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\nhel",
		"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
	},
	ClientRole: {
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x00\x01rest",
		"HTTP/1.1 200\nX: a\n b\n  c\nContent-Length: 0\n\n", "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 1,1\r\n\r\nz",
		"SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel",
	},
}
