package dns_test

import (
	"fmt"
	"net/netip"

	"peel/dns"
)

// A query as it goes out, and an answer as it comes in.
func Example() {
	query := dns.Message{
		Header:    dns.Header{ID: 1, RecursionDesired: true},
		Questions: []dns.Question{{Name: dns.MustName("example.com"), Type: dns.TypeMX, Class: dns.ClassIN}},
	}
	wire, err := query.Append(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(wire), "octets:", dns.Summary(wire))

	answer := dns.Message{
		Header:    dns.Header{ID: 1, Response: true, RecursionDesired: true, RecursionAvailable: true},
		Questions: query.Questions,
		Answers: []dns.Resource{
			dns.NewResource(dns.MustName("example.com"), 3600, dns.MX{Preference: 10, Host: dns.MustName("mail.example.com")}),
		},
		Additional: []dns.Resource{
			dns.NewResource(dns.MustName("mail.example.com"), 3600, dns.A{Addr: netip.MustParseAddr("192.0.2.25")}),
		},
	}
	wire, err = answer.Append(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := dns.Parse(wire)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, rr := range m.Answers {
		if mx, ok := rr.Value().(dns.MX); ok {
			fmt.Println("mail goes to", mx.Host, "with preference", mx.Preference)
		}
	}
	fmt.Println(m.Additional[0])
	// Output:
	// 29 octets: query 1: example.com. MX?
	// mail goes to mail.example.com. with preference 10
	// mail.example.com. 3600 IN A 192.0.2.25
}

// What is wrong with a message is told with the place; what stood before it is
// there.
func ExampleParse() {
	wire := []byte("\x00\x01\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00" + // the header: one question, one answer
		"\x07example\x03com\x00\x00\x01\x00\x01" +
		"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\xc0\x00") // two octets too few
	m, err := dns.Parse(wire)
	fmt.Println(err)
	fmt.Println(m.Questions[0], len(m.Answers))
	// Output:
	// dns: answer 1 of 1: A data at offset 41: 4 octets announced, 2 left
	// example.com. IN A 0
}
