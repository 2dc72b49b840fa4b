package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// Captures on which peel once ended in a panic, and what is told of them.
func TestCapturesThatBrokeViews(t *testing.T) {
	for file, want := range map[string][]string{
		"panic-ip-length-beyond-frame.pcap": {"#1 192.0.2.1:40000 → 192.0.2.2:80", "on the wire: 1 packet, 66 B"},
		"panic-bar-overflow.pcap":           {"1 200 ", "4.00 ms ━\n", "  2 200 ", "                         ━\n"},
		"panic-clock-steps-back.pcap":       {"200 OK  HTTP/1.1  2 B  in 2.00 ms", "wait         122 s  not within the request's time: the clock stepped"},
	} {
		for _, flag := range []string{"--color=auto", "-v", "-vv", "--packets", "--json", "--har=-"} {
			r := plain(t, "read", filepath.Join(testdata(t), "captures", file), flag)
			if r.code != 0 || strings.Contains(r.stderr, "panic") {
				t.Errorf("%s %s: exit %d\n%s", file, flag, r.code, r.stderr)
			}
			if flag == "--color=auto" {
				wantIn(t, file, r.stdout, want...)
			}
		}
	}
}
