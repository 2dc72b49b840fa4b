package analyze

import (
	"fmt"
	"strings"

	"peel/dns"
)

// datagramText says what the current UDP datagram holds.
func (p *packet) datagramText() string {
	switch {
	case p.named != nil:
		return namedText(p.named)
	case p.src.Port() == portNBNS && p.dst.Port() == portNBNS || p.dst.Port() == portNBNS:
		return fmt.Sprintf("NetBIOS name service, UDP len %d", p.payload.len)
	}
	return fmt.Sprintf("UDP len %d", p.payload.len)
}

// portNBNS is that of NetBIOS names (RFC 1002 §4.2), which are not read.
const portNBNS = 137

// maxNamed bounds the records that a packet's line names.
const maxNamed = 6

// namedText is a DNS message in one line: "A? foo.test", "A foo.test 192.0.2.1".
func namedText(m *dns.Message) string {
	var b strings.Builder
	if m.Opcode != dns.OpcodeQuery {
		b.WriteString(m.Opcode.String() + " ")
	}
	mark := "?"
	if m.Response {
		mark = ""
	}
	for i, q := range m.Questions {
		if i == maxNamed {
			fmt.Fprintf(&b, ", %d more", len(m.Questions)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(q.Type.String() + mark + " " + hostOf(q.Name))
	}
	if len(m.Questions) == 0 {
		b.WriteString("DNS")
	}
	if !m.Response {
		return b.String()
	}
	if m.Rcode != dns.RcodeNoError {
		b.WriteString(" " + m.Rcode.String())
	} else if len(m.Answers) == 0 {
		b.WriteString(" no answer in it")
		if isReferral(m) {
			b.WriteString(", a referral")
		}
	}
	for i, r := range m.Answers {
		if i == maxNamed {
			fmt.Fprintf(&b, ", %d more", len(m.Answers)-i)
			break
		}
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(" ")
		if len(m.Questions) != 1 || r.Type != m.Questions[0].Type {
			b.WriteString(r.Type.String() + " ")
		}
		text := r.Text()
		if len(text) > 80 {
			text = text[:80] + "…"
		}
		b.WriteString(strings.TrimSuffix(text, "."))
	}
	if m.Truncated {
		b.WriteString(", cut short (TC)")
	}
	return b.String()
}

// hostOf is a name as people write it.
func hostOf(n dns.Name) string {
	if n.IsRoot() {
		return "."
	}
	return n.Host()
}
