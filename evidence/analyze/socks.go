package analyze

import (
	"errors"
	"slices"
	"strings"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/socks"
)

var socksProtocol = protocol{
	name: trace.ProtocolSOCKS, layer: socks.Layer,
	fields:    func(_ *trace.Trace, e *trace.Event) []trace.Field { return socks.Fields(e.Name, e.Raw) },
	recognise: looksLikeSOCKS,
	open:      func(l *layer, _ *exchange) decoder { return &socksConn{l: l, version: join(l.early[capture.Out])[0]} },
}

// looksLikeSOCKS goes by what both say: a few bytes of a greeting or request
// could be anything, and the proxy's answer to them tells. It comes when they
// are whole, and chooses what was offered.
func looksLikeSOCKS(o *opening) guess {
	if len(o.out) == 0 || o.out[0] != socks.Version5 && o.out[0] != socks.Version4 {
		return no
	}
	var err error
	var offered []socks.Method
	var chosen socks.Method
	if o.out[0] == socks.Version4 && len(o.out) > 1 && socks.Command(o.out[1]) != socks.Connect && socks.Command(o.out[1]) != socks.Bind {
		return no
	}
	if o.out[0] == socks.Version5 {
		offered, _, err = socks.ParseGreeting(o.out)
	} else {
		_, _, err = socks.ParseRequest(o.out)
	}
	switch {
	case err != nil && len(o.in) > 0:
		return no
	case err == nil && o.out[0] == socks.Version5:
		chosen, _, err = socks.ParseMethod(o.in)
	case err == nil:
		_, _, _, err = socks.ParseReply(socks.Version4, o.in)
	}
	switch {
	case err == nil && offered != nil && chosen != socks.NoneAcceptable && !slices.Contains(offered, chosen):
		return no
	case err == nil:
		return yes
	case errors.Is(err, socks.ErrShort):
		return perhaps
	}
	return no
}

// socksConn reads how a client asks a proxy for a connection. What follows is
// the connection that it asked for.
type socksConn struct {
	silent
	l       *layer
	version byte
	step    [2]socksStep // what each direction says next
	request socks.Request
}

type socksStep uint8

const (
	greeting socksStep = iota
	login
	asking
	done
)

func (s *socksConn) input(t clock.Time, dir capture.Direction, b []byte) {
	s.l.in[dir].add(t, b)
	if s.version == socks.Version4 && s.step[0] == greeting {
		s.step = [2]socksStep{asking, asking}
	}
	// The answer to what was just said may be there already.
	for s.l.dec == s && (s.next(t, capture.Out) || s.next(t, capture.In)) {
	}
}

// next reads one message of a direction.
func (s *socksConn) next(t clock.Time, dir capture.Direction) bool {
	f := &s.l.in[dir]
	if len(f.buf) == 0 || dir == capture.In && s.step[capture.Out] <= s.step[capture.In] && s.step[capture.In] != done {
		return false // the question comes first
	}
	name, text, n, err := s.read(dir, f.buf)
	switch {
	case errors.Is(err, socks.ErrShort):
		return false
	case err != nil:
		s.l.message(t, socks.Layer, socks.EventMalformed, strings.TrimPrefix(err.Error(), "socks: "), dir, f.offset, len(f.buf), f.buf)
		s.l.ignore()
		return false
	case n == 0:
		return false
	}
	raw := f.buf[:n]
	if name == socks.EventLogin {
		raw = raw[:2+int(raw[1])] // the password is nobody's business
	}
	s.l.message(f.first, socks.Layer, name, text, dir, f.offset, n, raw)
	f.take(n, t)
	if name == socks.EventReply {
		s.replied(t)
	}
	return true
}

func (s *socksConn) read(dir capture.Direction, b []byte) (name trace.EventName, text string, n int, err error) {
	step := s.step[dir]
	switch {
	case step == done:
		return "", "", 0, nil
	case dir == capture.Out && step == greeting:
		var methods []socks.Method
		if methods, n, err = socks.ParseGreeting(b); err == nil {
			var names []string
			for _, m := range methods {
				names = append(names, m.String())
			}
			s.step[dir] = login
			return socks.EventGreeting, "SOCKS5 client offers " + strings.Join(names, ", "), n, nil
		}
	case dir == capture.In && step == greeting:
		var m socks.Method
		if m, n, err = socks.ParseMethod(b); err == nil {
			s.step[dir] = login
			if m != socks.UsernamePassword {
				s.step = [2]socksStep{asking, asking}
			}
			if m == socks.NoneAcceptable {
				s.refused("accepts no way to authenticate that the client offers", "give the proxy a user name and password")
			}
			return socks.EventMethod, "SOCKS5 proxy chooses: " + m.String(), n, nil
		}
	case dir == capture.Out && step == login:
		if s.step[capture.In] == greeting {
			return "", "", 0, socks.ErrShort // which way was not chosen yet
		}
		var user string
		if user, n, err = socks.ParseLogin(b); err == nil {
			s.step[dir] = asking
			return socks.EventLogin, "SOCKS5 user " + user + " with a password", n, nil
		}
	case dir == capture.In && step == login:
		var ok bool
		if ok, n, err = socks.ParseLoginStatus(b); err == nil {
			s.step[dir] = asking
			if !ok {
				s.refused("refuses the user name or password", "check both with whoever runs the proxy")
				return socks.EventLoginStatus, "SOCKS5 proxy refuses the user name or password", n, nil
			}
			return socks.EventLoginStatus, "SOCKS5 proxy takes the password", n, nil
		}
	case dir == capture.Out:
		if s.request, n, err = socks.ParseRequest(b); err == nil {
			s.step[dir] = done
			return socks.EventRequest, string(s.name()) + " " + s.request.Command.String() + " " + s.request.Target.String(), n, nil
		}
	default:
		var r socks.Reply
		if r, _, n, err = socks.ParseReply(s.version, b); err == nil {
			s.step[dir] = done
			if !r.Granted() {
				s.refused("did not connect to "+s.request.Target.String()+": "+r.String(), "look at the proxy's log and rules, and whether it can reach the target")
			}
			return socks.EventReply, string(s.name()) + " reply: " + r.String(), n, nil
		}
	}
	return "", "", 0, err
}

// refused says why there is no connection through the proxy.
func (s *socksConn) refused(what, try string) {
	s.l.c.tr.Failure = &trace.Failure{Layer: socks.Layer, Code: trace.FailProxyRefused, Seen: "the " + string(s.name()) + " proxy " + what, Try: try}
}

func (s *socksConn) name() trace.ProxyProtocol {
	if s.version == socks.Version4 {
		return trace.ProxySOCKS4
	}
	return trace.ProxySOCKS5
}

// replied goes on with what passes through the proxy.
func (s *socksConn) replied(t clock.Time) {
	if s.l.c.tr.Failure != nil || s.request.Command != socks.Connect {
		s.l.ignore()
		return
	}
	s.l.tunnel(t, &trace.Proxy{Protocol: s.name(), Address: s.l.c.tr.RemoteAddr, Target: s.request.Target.String()})
}
