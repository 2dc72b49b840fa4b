package peel_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"peel/dns"
	"peel/trace"
)

// What an exchange asks and gets in DNS is a lookup, and the exchange stays one.
func TestRFC8484_LookupsInsideHTTP(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		query, _ := io.ReadAll(r.Body)
		if r.Method == "GET" {
			query, _ = base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns"))
		}
		w.Header().Set("Content-Type", "application/dns-message")
		w.Write(faulty(query, true))
	}
	secure, options := newServer(t, answer)
	clear := newClearServer(t, answer)
	question := func(name string) []byte {
		m := dns.Message{Header: dns.Header{RecursionDesired: true}, Questions: []dns.Question{{Name: dns.MustName(name), Type: dns.TypeA, Class: dns.ClassIN}}}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct{ url, transport string }{{secure.URL, "https"}, {clear, "http"}} {
		client := newClient(t, options)
		send := func(method, url string, body []byte) {
			r, err := http.NewRequest(method, url, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", "application/dns-message")
			if body != nil {
				r.Header.Set("Content-Type", "application/dns-message")
			}
			resp, err := client.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		send("POST", c.url+"/dns-query", question("www.good.test"))
		send("GET", c.url+"/dns-query?dns="+base64.RawURLEncoding.EncodeToString(question("nope.test")), nil)
		tr := client.Trace()
		if len(tr.Exchanges) != 2 {
			t.Fatalf("%d exchanges", len(tr.Exchanges))
		}
		var got []string
		for _, l := range tr.Lookups {
			for _, s := range l.Steps {
				if s.Source == trace.SourceDNS {
					got = append(got, l.Name+" "+s.Question.Type+" "+s.Transport+" "+s.Rcode+" "+string(s.Outcome))
				}
			}
		}
		want := "www.good.test A " + c.transport + " NOERROR answer, nope.test A " + c.transport + " NXDOMAIN no_name"
		if strings.Join(got, ", ") != want {
			t.Errorf("%s\nwant %s", strings.Join(got, ", "), want)
		}
		carried := map[int]int{}
		for _, e := range tr.Events {
			if e.Name == trace.EventDNSQuery || e.Name == trace.EventDNSResponse {
				carried[e.Exchange]++
			}
		}
		if carried[tr.Exchanges[0].ID] != 2 || carried[tr.Exchanges[1].ID] != 2 {
			t.Errorf("messages by exchange: %v", carried)
		}
		found := told(tr)
		if len(found) != 1 || found[0] != "error DNS-NXDOMAIN: nope.test does not exist" {
			t.Error(found)
		}
	}
}
