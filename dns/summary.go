package dns

import (
	"fmt"
	"strings"
)

// Summary says in one line what a message holds.
func Summary(msg []byte) string {
	m, err := Parse(msg)
	var b strings.Builder
	question := "no question"
	if len(m.Questions) > 0 {
		q := m.Questions[0]
		question = fmt.Sprintf("%s %s", q.Name, q.Type)
	}
	if !m.Response {
		fmt.Fprintf(&b, "query %d: %s?", m.ID, question)
	} else {
		fmt.Fprintf(&b, "response %d: %s: %s", m.ID, question, m.Rcode)
		for i, r := range m.Answers {
			if i == 4 {
				fmt.Fprintf(&b, ", %d more", len(m.Answers)-4)
				break
			}
			sep := ", "
			if i == 0 {
				sep = ": "
			}
			fmt.Fprintf(&b, "%s%s %s (TTL %d)", sep, r.Type, r.Text(), r.TTL)
		}
		if len(m.Answers) == 0 && m.Rcode == RcodeNoError {
			b.WriteString(": no records")
		}
		if m.Truncated {
			b.WriteString(", truncated")
		}
	}
	if err != nil {
		fmt.Fprintf(&b, "; then %v", err)
	}
	return b.String()
}
