// Package doh carries DNS messages over HTTPS (RFC 8484) with an HTTP client.
package doh

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"peel/client"
	"peel/dns"
	"peel/internal/weburl"
	"peel/wire/httpfield"
)

const media = "application/dns-message"

// Post returns a function that posts a message to a URL with c, and gives the
// message that comes back. It is for dns/client's Client.HTTPS.
func Post(c *client.Client) func(ctx context.Context, url string, message []byte) ([]byte, error) {
	return func(ctx context.Context, url string, message []byte) ([]byte, error) {
		u, err := weburl.Parse(url)
		if err != nil {
			return nil, err
		}
		resp, err := c.Do(ctx, &client.Request{
			Method: "POST", Origin: client.Origin{Scheme: u.Scheme, Host: u.Host, Port: u.Port}, Authority: u.Authority, Target: u.Target,
			Header: httpfield.List{{Name: "Accept", Value: media}, {Name: "Content-Type", Value: media}},
			Body:   bytes.NewReader(message), ContentLength: int64(len(message)),
		})
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, dns.MaxMessage+1))
		if err != nil {
			return nil, err
		}
		if resp.Status != 200 {
			return nil, fmt.Errorf("the server said %d to a DNS message: %.100q", resp.Status, b)
		}
		return b, nil
	}
}
