// Package doh answers DNS over HTTPS (RFC 8484) on a server.
package doh

import (
	"context"
	"encoding/base64"
	"io"
	"net/netip"
	"net/url"
	"strings"

	"peel/dns"
	"peel/server"
)

// Answerer answers one DNS message. It fails on what is no query, and with
// ctx.
type Answerer interface {
	Answer(ctx context.Context, query []byte, peer netip.AddrPort) ([]byte, error)
}

const media = "application/dns-message"

// Handler answers on any path.
func Handler(a Answerer) server.Handler {
	return server.HandlerFunc(func(w *server.ResponseWriter, r *server.Request) {
		query, status, why := message(r)
		if status != 0 {
			refuse(w, status, why)
			return
		}
		peer, _ := netip.ParseAddrPort(r.RemoteAddr.String())
		out, err := a.Answer(r.Context(), query, peer)
		if err != nil {
			if r.Context().Err() == nil {
				refuse(w, 400, err.Error())
			}
			return
		}
		w.Header.Set("Content-Type", media)
		if age, ok := freshness(out); ok { // RFC 8484 §5.1
			w.Header.Set("Cache-Control", "max-age="+age)
		}
		_, _ = w.Write(out)
	})
}

func refuse(w *server.ResponseWriter, status int, why string) {
	w.Header.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, why+"\n")
}

// message takes the query out of a request, or gives the status to refuse it
// with.
func message(r *server.Request) (query []byte, status int, why string) {
	switch r.Method {
	case "GET", "HEAD":
		values, err := url.ParseQuery(r.Query)
		if err == nil {
			query, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(values.Get("dns"), "="))
		}
		if err != nil || len(query) == 0 {
			return nil, 400, "the query parameter dns holds a DNS message in base64url (RFC 8484 section 4.1)"
		}
	case "POST":
		if got, _ := r.Header.Get("Content-Type"); got != media {
			return nil, 415, "the content type is " + media
		}
		var err error
		if query, err = io.ReadAll(io.LimitReader(r.Body, dns.MaxMessage+1)); err != nil || len(query) > dns.MaxMessage {
			return nil, 400, "the message is too long or cut short"
		}
	default:
		return nil, 405, "GET or POST"
	}
	return query, 0, ""
}
