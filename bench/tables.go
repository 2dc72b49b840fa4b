package main

import (
	"fmt"
	"os"
)

// self is the command of this program in a role.
func self(role string, seconds float64, more ...string) []string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return append([]string{exe, "-role", role, "-seconds", fmt.Sprint(seconds), "-addr", "{addr}"}, more...)
}

// tables lists every comparison. The first contestant is peel's.
func tables(seconds float64) []table {
	ask := func(name, url string, n int) []string {
		return self("ask-"+name, seconds, "-url", url, "-n", fmt.Sprint(n))
	}
	serve := func(name string) []string { return self("serve-"+name, seconds) }
	nginx := []string{"nginx", "-p", "{dir}", "-c", "{dir}/nginx.conf"}
	nginxTLS := []string{"nginx", "-p", "{dir}", "-c", "{dir}/nginx-tls.conf"}
	nghttpd := []string{"nghttpd", "-d", "{dir}", "-a", "127.0.0.1", "{port}", "{dir}/key.pem", "{dir}/cert.pem"}
	h2load := []string{"h2load", "-D", fmt.Sprintf("%.0f", max(seconds, 1)), "-c", "8", "-m", "32", "https://{addr}/index.html"}
	wrk := func(url string) []string {
		return []string{"wrk", "-t", "1", "-c", "64", "-d", fmt.Sprintf("%.0fs", max(seconds, 1)), url}
	}
	secure, clear := "https://{addr}/index.html", "http://{addr}/index.html"
	return []table{
		{name: "h2-client", title: "HTTP/2 client over TLS, 1 connection, 100 streams, 128 bytes, from peel's server",
			bar: "peel, recording, at most a third of net/http: its ratio at least 3.00×", list: []contestant{
				{"peel, all recorded", serve("peel-tls"), ask("peel", secure, 100)},
				{"peel, nothing recorded", serve("peel-tls"), ask("peel-bare", secure, 100)},
				{"net/http", serve("peel-tls"), ask("nethttp", secure, 100)},
				{"x/net/http2", serve("peel-tls"), ask("xnet", secure, 100)},
				{"h2load", serve("peel-tls"), []string{"h2load", "-D", fmt.Sprintf("%.0f", max(seconds, 1)), "-c", "1", "-m", "100", secure}},
			}},
		{name: "h2-client-nginx", title: "the same from nginx", list: []contestant{
			{"peel, all recorded", nginxTLS, ask("peel", secure, 100)},
			{"net/http", nginxTLS, ask("nethttp", secure, 100)},
		}},
		{name: "h2-server", title: "HTTP/2 server over TLS, h2load with 8 connections of 32 streams, 128 bytes", server: true,
			bar: "at most an eighth of net/http: its ratio at least 8.00×", list: []contestant{
				{"peel", serve("peel-tls"), h2load},
				{"net/http", serve("nethttp-tls"), h2load},
				{"nghttpd", nghttpd, h2load},
				{"nginx", nginxTLS, h2load},
			}},
		{name: "h1-client", title: "HTTP/1.1 client, 64 connections, 128 bytes, from peel's server",
			bar: "at most two thirds of net/http: its ratio at least 1.50×", list: []contestant{
				{"peel, all recorded", serve("peel"), ask("peel", clear, 64)},
				{"peel, nothing recorded", serve("peel"), ask("peel-bare", clear, 64)},
				{"net/http", serve("peel"), ask("nethttp", clear, 64)},
				{"fasthttp", serve("peel"), ask("fasthttp", clear, 64)},
			}},
		{name: "h1-server", title: "HTTP/1.1 server, wrk with 64 connections, 128 bytes", server: true,
			bar: "at most two thirds of net/http: its ratio at least 1.50×", list: []contestant{
				{"peel", serve("peel"), wrk(clear)},
				{"net/http", serve("nethttp"), wrk(clear)},
				{"fasthttp", serve("fasthttp"), wrk(clear)},
				{"nginx", nginx, wrk(clear)},
			}},
		{name: "bulk-h2", title: "100 MB bodies over HTTP/2 and TLS from nginx, one at a time (a request is 100 MB)",
			bar: "at least net/http's throughput: its rate at most peel's", list: []contestant{
				{"peel, all recorded", nginxTLS, ask("peel", "https://{addr}/big", 1)},
				{"peel, nothing recorded", nginxTLS, ask("peel-bare", "https://{addr}/big", 1)},
				{"net/http", nginxTLS, ask("nethttp", "https://{addr}/big", 1)},
			}},
		{name: "bulk-h1", title: "100 MB bodies over HTTP/1.1 and TLS from nginx", list: []contestant{
			{"peel, all recorded", nginxTLS, ask("peel", "https+h1://{addr}/big", 1)},
			{"peel, nothing recorded", nginxTLS, ask("peel-bare", "https+h1://{addr}/big", 1)},
			{"net/http", nginxTLS, ask("nethttp-h1", "https://{addr}/big", 1)},
		}},
	}
}
