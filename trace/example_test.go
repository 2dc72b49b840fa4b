package trace_test

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"peel/trace"
)

func ExampleInterval() {
	asked := &trace.Event{ID: 16, Time: 2_000_000}
	answered := &trace.Event{ID: 28, Time: 3_520_000}
	i := trace.Between(asked, answered)
	fmt.Println(i)
	fmt.Println(*i)
	fmt.Println(trace.Between(answered, asked)) // not observed
	// Output:
	// 1.52 ms (event 16 → event 28)
	// 1.52 ms (event 16 → event 28)
	// <nil>
}

func ExampleTimings() {
	fmt.Println(trace.Timings{DNS: &trace.Interval{Duration: 23_400_000}, Wait: &trace.Interval{Duration: 108_000_000}, Total: &trace.Interval{Duration: 1_310_000_000}})
	// Output: dns 23.4 ms, wait 108 ms, total 1.31 s
}

func ExampleDuration() {
	for _, d := range []trace.Duration{740, 15_230, 1_520_000, 250_000_000, 3_000_000_000} {
		fmt.Println(d)
	}
	// Output:
	// 740 ns
	// 15.2 µs
	// 1.52 ms
	// 250 ms
	// 3.00 s
}

func ExampleConnection() {
	fmt.Println(&trace.Connection{ID: 1, Network: "tcp", LocalAddr: netip.MustParseAddrPort("10.0.0.2:40112"), RemoteAddr: netip.MustParseAddrPort("[2001:db8::1]:443"),
		Protocol: trace.ProtocolHTTP2, BytesOut: 812, BytesIn: 15_210})
	fmt.Println(trace.Connection{ID: 2, Network: "tcp", RemoteAddr: netip.MustParseAddrPort("192.0.2.1:443"),
		Failure: &trace.Failure{Layer: trace.LayerTLS, Code: trace.FailNotTLS, Seen: "it does not speak TLS"}})
	// Output:
	// #1 tcp 10.0.0.2:40112 → [2001:db8::1]:443, HTTP/2, 812 bytes out, 15210 in
	// #2 tcp ? → 192.0.2.1:443, 0 bytes out, 0 in, tls not_tls: it does not speak TLS
}

func ExampleExchange() {
	x := trace.Exchange{ID: 1, Method: "GET", URL: "https://example.com/", Protocol: trace.ProtocolHTTP2, Connection: 1, Response: &trace.Response{Status: 200}}
	x.Timings.Total = &trace.Interval{Duration: 96_300_000}
	fmt.Println(x)
	fmt.Println(&trace.Exchange{ID: 2, Method: "GET", URL: "https://example.net/", Failure: &trace.Failure{Layer: trace.LayerDNS, Code: trace.FailNameNotFound, Seen: "example.net does not exist"}})
	// Output:
	// 1 GET https://example.com/: 200, HTTP/2 on connection #1, 96.3 ms
	// 2 GET https://example.net/: dns name_not_found: example.net does not exist
}

func ExampleFinding() {
	fmt.Println(&trace.Finding{ID: "DNS-TIMEOUT", Severity: trace.Warning, Title: "name server 10.0.0.53:53 did not answer"})
	// Output: warning DNS-TIMEOUT: name server 10.0.0.53:53 did not answer
}

// A question is text in JSON and two words in Go.
func ExampleQuestion() {
	step := trace.Step{Source: trace.SourceDNS, Question: trace.Question{Name: "example.com.", Type: "AAAA"}, Server: netip.MustParseAddrPort("10.0.0.53:53"), Outcome: trace.StepAnswer}
	b, _ := json.Marshal(step)
	fmt.Println(string(b))
	var back trace.Step
	fmt.Println(json.Unmarshal(b, &back), back.Question.Type)
	// Output:
	// {"time":0,"duration":0,"source":"dns","question":"example.com. AAAA","server":"10.0.0.53:53","outcome":"answer","text":""}
	// <nil> AAAA
}
