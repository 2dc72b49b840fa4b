package analyze

import (
	"strings"

	"peel/dns"
	"peel/http1"
	"peel/http2"
	"peel/tlswire"
	"peel/trace"
)

// Fields returns the tree of fields of the message that an event is about,
// or nil when it is about none. t is the trace that the event is from.
func Fields(t *trace.Trace, e *trace.Event) []trace.Field {
	if len(e.Raw) == 0 {
		return nil
	}
	switch e.Layer {
	case trace.LayerDNS:
		return dns.Fields(e.Raw)
	case trace.LayerTLS:
		if strings.HasPrefix(e.Name, "tls.handshake.") {
			return tlswire.Fields(tlsVersion(t, e), e.Raw)
		}
		if e.Name == "tls.alert" {
			return tlswire.AlertFields(e.Raw)
		}
	case trace.LayerHTTP1:
		return http1.Fields(e.Raw)
	case trace.LayerHTTP2:
		if e.Name != "http2.preface" {
			return http2.Fields(e.Raw)
		}
	}
	return nil
}

// tlsVersion is the version agreed on in the event's connection, on which the
// form of some handshake messages depends.
func tlsVersion(t *trace.Trace, e *trace.Event) uint16 {
	if c := t.Connection(e.Connection); c != nil && c.TLS != nil && c.TLS.Version == tlswire.VersionName(0x0303) {
		return 0x0303
	}
	return 0x0304
}
