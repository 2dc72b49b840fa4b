package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"peel/server"
)

// A server for HTTP/1.1 and HTTP/2, asked over both on one port.
func Example() {
	s := &server.Server{Handler: server.HandlerFunc(func(w *server.ResponseWriter, r *server.Request) {
		w.Header.Add("Content-Type", "text/plain")
		fmt.Fprintf(w, "%s %s over %s", r.Method, r.Path, r.Protocol)
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error)
	go func() { ended <- s.Serve(l) }()

	for _, h2 := range []bool{false, true} {
		p := new(http.Protocols)
		p.SetHTTP1(!h2)
		p.SetUnencryptedHTTP2(h2)
		transport := &http.Transport{Protocols: p}
		resp, err := (&http.Client{Transport: transport}).Get("http://" + l.Addr().String() + "/page")
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.StatusCode, resp.Header.Get("Content-Type"), string(body))
		transport.CloseIdleConnections()
	}
	// What is under way is answered; then Serve returns.
	fmt.Println(s.Shutdown(context.Background()))
	fmt.Println(<-ended)
	// Output:
	// 200 text/plain GET /page over HTTP/1.1
	// 200 text/plain GET /page over HTTP/2
	// <nil>
	// server: closed
}
