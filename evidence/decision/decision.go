// Package decision has what was decided about a request and that no wire
// shows: which source answered a name, which connection was taken and why,
// what the verifier said. Each decision is one struct. Who decides fills it,
// the capture carries it, and package analyze switches on its type.
//
// A struct describes itself once, in its method fields: from that list it is
// written, read and freed of what is private, so that the three cannot differ.
package decision

import (
	"bytes"
	"strings"
	"sync"

	"peel/trace"
)

// Decision is a pointer to one of the structs of this package.
type Decision interface {
	// Name is the dotted word by which traces and files call it, such as
	// "pool.reuse".
	Name() trace.EventName
	// fields goes through all fields in the order in which they are stored.
	// A new field is added at the end: what was stored without it then has
	// its zero value.
	fields(*codec)
}

// kinds makes an empty decision of each kind whose name is fixed.
var kinds = [...]func() Decision{
	of[RequestStarted], of[RequestBound], of[RequestFailed], of[BodyDecoded], of[BodyRead], of[BodyAbandoned], of[Redirected], of[CookieStored], of[CookieRejected],
	of[PoolNew], of[PoolReused], of[PoolWaited],
	of[LookupStarted], of[LookupStep], of[LookupEarly], of[LookupEnded],
	of[ConnectTo], of[ConnectStarted], of[ConnectDone], of[ConnectFailed],
	of[SocketBound], of[SocketOpened], of[SocketAccepted], of[SocketEOF], of[SocketReset], of[SocketClosed], of[TCPInfo],
	of[TLSStarted], of[TLSDone], of[TLSFailed], of[TLSVerdict],
	of[CaptureDamaged], of[CaptureDropped], of[CaptureNames], of[CaptureFormat], of[CaptureComment],
}

func of[T any, P interface {
	*T
	Decision
}]() Decision {
	return P(new(T))
}

var byName = sync.OnceValue(func() map[trace.EventName]func() Decision {
	m := make(map[trace.EventName]func() Decision, len(kinds))
	for _, k := range kinds {
		m[k().Name()] = k
	}
	return m
})

// empty returns a decision of that name with nothing in it.
func empty(name trace.EventName) Decision {
	if k := byName()[name]; k != nil {
		return k()
	}
	// The rest of these names is said by the network that decided.
	if what, ok := strings.CutPrefix(string(name), framePrefix); ok {
		return &FrameHandled{Verdict: what}
	}
	if what, ok := strings.CutPrefix(string(name), tcpPrefix); ok {
		return &TCPDecided{What: what}
	}
	if what, ok := strings.CutPrefix(string(name), hostPrefix); ok {
		return &HostDecided{What: what}
	}
	return &Unknown{Called: name}
}

// MaxEncoded is more than the bytes that Append ever adds: what is longer, in
// texts or lists, is cut.
const MaxEncoded = 64 << 10

// Append appends the fields of d to b, from which Decode makes it again.
func Append(b []byte, d Decision) []byte {
	c := codec{mode: writing, out: b, room: maxText}
	d.fields(&c)
	return c.out
}

// Decode reads what Append wrote for a decision of that name; it keeps nothing
// of b. A name that this version does not know, or fields that are none of
// that name, come as Unknown.
func Decode(name trace.EventName, b []byte) Decision {
	d := empty(name)
	c := codec{mode: reading, in: string(b)}
	d.fields(&c)
	if c.bad {
		return &Unknown{Called: name, Raw: bytes.Clone(b)}
	}
	return d
}

// Redact returns a copy of d in which every text has gone through f. Of an
// Unknown only the name is left: what is a text in it nobody knows.
func Redact(d Decision, f func(text string) string) Decision {
	out := Decode(d.Name(), Append(nil, d))
	out.fields(&codec{mode: rewriting, rewrite: f})
	return out
}

// Note says in a few words why it was decided so, or what was seen; it is
// empty where the name says all.
func Note(d Decision) string {
	if n, ok := d.(interface{ note() string }); ok {
		return n.note()
	}
	return ""
}

// Unknown is a decision that a newer version stored, or whose fields are
// damaged.
type Unknown struct {
	// Called is its name.
	Called trace.EventName
	// Raw is its fields as stored.
	Raw []byte
}

// Name returns Called.
func (d *Unknown) Name() trace.EventName { return d.Called }

func (d *Unknown) fields(c *codec) { c.rest(&d.Raw) }
