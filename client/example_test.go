package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"

	"peel/client"
	"peel/wire/httpfield"
)

// A request with its header fields in an order and case of one's own, and a
// second one on the same connection.
func Example() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s: %s", r.Method, r.URL, b)
	}))
	defer origin.Close()
	at := netip.MustParseAddrPort(strings.TrimPrefix(origin.URL, "http://"))

	c := client.New(client.Options{})
	defer c.Close()
	for _, text := range []string{"one", "two"} {
		resp, err := c.Do(context.Background(), &client.Request{
			Method:    "POST",
			Origin:    client.Origin{Scheme: "http", Host: at.Addr().String(), Port: at.Port()},
			Authority: at.String(),
			Target:    "/echo?x=1",
			Header:    httpfield.List{{Name: "X-Second", Value: "2"}, {Name: "x-first", Value: "1"}},
			Body:      strings.NewReader(text), ContentLength: int64(len(text)),
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.Protocol, resp.Status, resp.Header.Value("content-length"), string(body), err)
	}
	// Output:
	// HTTP/1.1 200 19 POST /echo?x=1: one <nil>
	// HTTP/1.1 200 19 POST /echo?x=1: two <nil>
}
