package zone_test

import (
	"fmt"
	"strings"

	"peel/dns"
	"peel/dns/zone"
)

const file = `
$TTL 1h
@    SOA   ns admin 2024022900 1h 15m 1w 5m
     NS    ns
     MX    10 mail
ns   A     192.0.2.53
mail AAAA  2001:db8::25
*    CNAME www.example.net.
`

// A zone file is read and answers a query.
func Example() {
	origin := dns.MustName("example.com")
	records, err := zone.Read(strings.NewReader(file), "example.com.zone", zone.ReadOptions{Origin: origin})
	if err != nil {
		fmt.Println(err)
		return
	}
	z, err := zone.New(origin, records...)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(z.Origin(), "has serial", z.Serial(), "and", len(z.Records()), "records")

	for _, name := range []string{"mail.example.com", "any.example.com"} {
		q := dns.Message{Header: dns.Header{ID: 7}, Questions: []dns.Question{{Name: dns.MustName(name), Type: dns.TypeAAAA, Class: dns.ClassIN}}}
		query, _ := q.Append(nil)
		m, err := dns.Parse(z.Answer(query, 512))
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, rr := range m.Answers {
			fmt.Println(m.Rcode, rr)
		}
	}
	// Output:
	// example.com. has serial 2024022900 and 6 records
	// NOERROR mail.example.com. 3600 IN AAAA 2001:db8::25
	// NOERROR any.example.com. 3600 IN CNAME www.example.net.
}

// What is wrong in a zone file is told with line and column.
func ExampleRead() {
	_, err := zone.Read(strings.NewReader("$TTL 1h\nwww A 192.0.2.300\n"), "example.com.zone", zone.ReadOptions{Origin: dns.MustName("example.com")})
	fmt.Println(err)
	// Output:
	// example.com.zone:2:7: A: "192.0.2.300" is not an IPv4 address
}
