package stub

import "strings"

// Status is how a source of nsswitch.conf fared.
type Status uint8

// The statuses of nsswitch.conf(5).
const (
	StatusSuccess  Status = iota
	StatusNotFound        // the source answered that there is no such entry
	StatusUnavail         // the source cannot be asked
	StatusTryAgain        // the source failed for now
)

var statusNames = [...]string{"SUCCESS", "NOTFOUND", "UNAVAIL", "TRYAGAIN"}

func (s Status) String() string { return statusNames[s] }

// Source is one word of the hosts line with the action for each status.
type Source struct {
	Name string
	// Stops tells whether the search ends here with that status.
	Stops [len(statusNames)]bool
}

// Nsswitch is the hosts line of /etc/nsswitch.conf.
type Nsswitch struct {
	// Line is where it stands, 0 when there is none and the default holds.
	Line    int
	Sources []Source
	Notes   []Note
}

// maxSources bounds the sources taken from one line.
const maxSources = 32

// ParseNsswitch reads nsswitch.conf and keeps its hosts line; the first one
// counts. Without one, the order is "files dns". It never fails.
func ParseNsswitch(b []byte) *Nsswitch {
	c := &Nsswitch{}
	var n notes
	line := 0
	for text := range strings.Lines(string(b)) {
		line++
		text, _, _ = strings.Cut(text, "#")
		database, rest, ok := strings.Cut(text, ":")
		if strings.TrimSpace(database) != "hosts" {
			continue
		}
		switch {
		case !ok:
			n.add(line, "hosts without a colon")
		case c.Line != 0:
			n.add(line, "a second hosts line, not used")
		default:
			c.Line = line
			c.parse(rest, line, &n)
		}
	}
	if len(c.Sources) == 0 {
		c.Line = 0
		n.add(0, `no hosts line, so the order is "files dns"`)
		c.Sources = []Source{newSource("files"), newSource("dns")}
	}
	c.Notes = n
	return c
}

func newSource(name string) Source {
	s := Source{Name: name}
	s.Stops[StatusSuccess] = true
	return s
}

func (c *Nsswitch) parse(rest string, line int, n *notes) {
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		if rest[0] == '[' {
			actions, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				n.add(line, "[%.60s has no closing bracket", actions)
				return
			}
			rest = after
			if len(c.Sources) == 0 {
				n.add(line, "[%.60s] stands before any source", actions)
				continue
			}
			for _, a := range strings.Fields(actions) {
				c.Sources[len(c.Sources)-1].action(a, line, n)
			}
			continue
		}
		end := strings.IndexAny(rest, " \t\r\n[")
		if end < 0 {
			end = len(rest)
		}
		if len(c.Sources) == maxSources {
			n.add(line, "more than %d sources", maxSources)
			return
		}
		c.Sources = append(c.Sources, newSource(rest[:end]))
		rest = rest[end:]
	}
}

// action applies STATUS=action or !STATUS=action, which means every other
// status.
func (s *Source) action(text string, line int, n *notes) {
	word, action, _ := strings.Cut(text, "=")
	word, negated := strings.CutPrefix(word, "!")
	stop := strings.EqualFold(action, "return")
	if !stop && !strings.EqualFold(action, "continue") {
		n.add(line, "action %.60q is not return or continue", text)
		return
	}
	for i, name := range statusNames {
		if strings.EqualFold(word, name) {
			for j := range s.Stops {
				if (j == i) != negated {
					s.Stops[j] = stop
				}
			}
			return
		}
	}
	n.add(line, "status %.60q is not known", word)
}
