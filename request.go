package peel

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"peel/client"
	"peel/wire/httpfield"
)

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// request turns a net/http request into one of ours.
func request(hr *http.Request) (*client.Request, error) {
	u := hr.URL
	if u == nil {
		return nil, errors.New("peel: the request has no URL")
	}
	o, err := origin(u)
	if err != nil {
		return nil, err
	}
	req := &client.Request{Method: hr.Method, Origin: o, Authority: u.Host, Target: u.RequestURI(), ContentLength: hr.ContentLength}
	if req.Method == "" {
		req.Method = http.MethodGet
	}
	if hr.Host != "" {
		req.Authority = hr.Host
	}
	req.Header = make(httpfield.List, 0, len(hr.Header)+1)
	for _, name := range sortedNames(hr.Header) {
		for _, v := range hr.Header[name] {
			req.Header.Add(name, v)
		}
	}
	if u.User != nil && !req.Header.Has("Authorization") {
		pass, _ := u.User.Password()
		req.Header.Add("Authorization", client.Basic(u.User.Username(), pass))
	}
	if hr.Body != nil && hr.Body != http.NoBody {
		req.Body = hr.Body
		if hr.ContentLength == 0 {
			req.ContentLength = -1
		}
		if hr.GetBody != nil {
			req.GetBody = func() (io.Reader, error) { return hr.GetBody() }
		}
		if len(hr.Trailer) > 0 {
			req.Trailer = func() httpfield.List {
				var l httpfield.List
				for _, name := range sortedNames(hr.Trailer) {
					for _, v := range hr.Trailer[name] {
						l.Add(name, v)
					}
				}
				return l
			}
		}
	}
	return req, nil
}

func origin(u *url.URL) (client.Origin, error) {
	o := client.Origin{Scheme: u.Scheme, Host: strings.ToLower(u.Hostname())}
	switch u.Scheme {
	case "http":
		o.Port = 80
	case "https":
		o.Port = 443
	default:
		return o, fmt.Errorf("peel: unsupported scheme %q in %s; only http and https", u.Scheme, u.Redacted())
	}
	if o.Host == "" {
		return o, fmt.Errorf("peel: no host in %q", u.Redacted())
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return o, fmt.Errorf("peel: port %q is not between 1 and 65535", p)
		}
		o.Port = uint16(n)
	}
	return o, nil
}

// header turns a field list into net/http's map. The order is lost there; the
// trace keeps it.
func header(l httpfield.List) http.Header {
	h := make(http.Header, len(l))
	for _, f := range l {
		h.Add(f.Name, f.Value)
	}
	return h
}

func sortedNames(h http.Header) []string {
	names := make([]string, 0, len(h))
	for n := range h {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
