package socks

import (
	"strconv"

	"peel/trace"
)

// Layer is that of the events of SOCKS.
const Layer trace.LayerName = "socks"

// Events, by name.
const (
	EventGreeting    trace.EventName = "socks.greeting"
	EventMethod      trace.EventName = "socks.method"
	EventLogin       trace.EventName = "socks.login"
	EventLoginStatus trace.EventName = "socks.login_status"
	EventRequest     trace.EventName = "socks.request"
	EventReply       trace.EventName = "socks.reply"
	EventMalformed   trace.EventName = "socks.malformed"
)

// Fields returns the fields of a message, which the name of its event tells.
func Fields(event trace.EventName, b []byte) []trace.Field {
	var out []trace.Field
	add := func(name, value, meaning string, at, n int) {
		if at+n <= len(b) {
			out = append(out, trace.Field{Name: name, Value: value, Meaning: meaning, Offset: at, Length: n})
		}
	}
	number := func(at int) string {
		if at < len(b) {
			return strconv.Itoa(int(b[at]))
		}
		return ""
	}
	add("socks.version", number(0), "", 0, 1)
	switch event {
	case EventGreeting:
		methods, _, err := ParseGreeting(b)
		if err != nil {
			return out
		}
		add("socks.auth_method_count", number(1), "", 1, 1)
		for i, m := range methods {
			add("socks.auth_method", strconv.Itoa(int(m)), m.String(), 2+i, 1)
		}
	case EventMethod:
		if m, _, err := ParseMethod(b); err == nil {
			add("socks.auth_accepted_method", number(1), m.String(), 1, 1)
		}
	case EventLogin:
		// The message may have been kept without its password.
		if len(b) >= 2 && len(b) >= 2+int(b[1]) {
			add("socks.username", string(b[2:2+int(b[1])]), "", 2, int(b[1]))
		}
	case EventLoginStatus:
		add("socks.auth_status", number(1), "", 1, 1)
	case EventRequest:
		r, n, err := ParseRequest(b)
		if err != nil {
			return out
		}
		add("socks.command", number(1), r.Command.String(), 1, 1)
		if r.Version == Version4 {
			add("socks.dstport", strconv.Itoa(int(r.Target.Port)), "", 2, 2)
			add("socks.dst", r.Target.Host(), "", 4, 4)
			return out
		}
		address(add, b, r.Target, n)
	case EventReply:
		if len(b) > 0 && b[0] == 0 {
			if r, t, _, err := ParseReply(Version4, b); err == nil {
				add("socks.results", number(1), r.String(), 1, 1)
				add("socks.dstport", strconv.Itoa(int(t.Port)), "", 2, 2)
				add("socks.dst", t.Host(), "", 4, 4)
			}
			return out
		}
		if r, t, n, err := ParseReply(Version5, b); err == nil {
			add("socks.results", number(1), r.String(), 1, 1)
			address(add, b, t, n)
		}
	}
	return out
}

func address(add func(name, value, meaning string, at, n int), b []byte, t Target, n int) {
	kind := map[byte]string{typeIPv4: "IPv4", typeName: "a name", typeIPv6: "IPv6"}[b[3]]
	add("socks.address_type", strconv.Itoa(int(b[3])), kind, 3, 1)
	if b[3] == typeName {
		add("socks.remote_name", t.Name, "", 5, n-2-5)
	} else {
		add("socks.dst", t.Host(), "", 4, n-2-4)
	}
	add("socks.port", strconv.Itoa(int(t.Port)), "", n-2, 2)
}
