package redact

// matcher finds many texts in one pass (Aho and Corasick, 1975): what it costs
// grows with what is searched through, and not with the number of texts.
type matcher struct {
	edges map[uint64]int32 // node and byte → node
	fail  []int32          // the longest other text's beginning that a node ends with
	// ends is the length of the longest text that ends at a node, depth how
	// much of one stands before it.
	ends, depth []int32
	// begins tells by two bytes whether a text can begin there.
	begins [1 << 16]bool
}

const (
	// piece is how much of a long text is one text to search for, so that a
	// part of it is found where it was cut off, too.
	piece = 64
	// maxNodes bounds what all texts together take: past that, secrets are
	// masked where they stand, and not looked for elsewhere.
	maxNodes = 2 << 20
)

func newMatcher(texts []string) *matcher {
	m := &matcher{edges: map[uint64]int32{}, fail: []int32{0}, ends: []int32{0}, depth: []int32{0}}
	for _, t := range texts {
		for len(t) > 2*piece {
			m.add(t[:piece])
			t = t[piece:]
		}
		m.add(t)
	}
	m.link()
	return m
}

func edge(node int32, c byte) uint64 { return uint64(node)<<8 | uint64(c) }

func (m *matcher) add(t string) {
	if len(t) < shortest || len(m.fail)+len(t) > maxNodes {
		return
	}
	m.begins[int(t[0])<<8|int(t[1])] = true
	at := int32(0)
	for i := range len(t) {
		next, ok := m.edges[edge(at, t[i])]
		if !ok {
			next = int32(len(m.fail))
			m.edges[edge(at, t[i])] = next
			m.fail, m.ends, m.depth = append(m.fail, 0), append(m.ends, 0), append(m.depth, int32(i+1))
		}
		at = next
	}
	m.ends[at] = int32(len(t))
}

// link finds where each node goes on when the next byte does not fit, nearest
// nodes first.
func (m *matcher) link() {
	type child struct {
		from, to int32
		c        byte
	}
	byDepth := map[int32][]child{}
	deepest := int32(0)
	for e, to := range m.edges {
		d := m.depth[to]
		byDepth[d] = append(byDepth[d], child{int32(e >> 8), to, byte(e)})
		deepest = max(deepest, d)
	}
	for d := int32(2); d <= deepest; d++ {
		for _, x := range byDepth[d] {
			for f := m.fail[x.from]; ; f = m.fail[f] {
				if next, ok := m.edges[edge(f, x.c)]; ok {
					m.fail[x.to] = next
					m.ends[x.to] = max(m.ends[x.to], m.ends[next])
					break
				}
				if f == 0 {
					break
				}
			}
		}
	}
}

// find calls found with each place where a text stands, in the order of their
// ends; places can overlap. It returns how many bytes at the end are the
// beginning of a text that goes on past it.
func find[B []byte | string](m *matcher, b B, found func(from, to int)) (begun int) {
	at := int32(0)
	for i := 0; i < len(b); i++ {
		if at == 0 && i+1 < len(b) && !m.begins[int(b[i])<<8|int(b[i+1])] {
			continue
		}
		for {
			if next, ok := m.edges[edge(at, b[i])]; ok {
				at = next
				break
			}
			if at == 0 {
				break
			}
			at = m.fail[at]
		}
		if n := int(m.ends[at]); n > 0 {
			found(i+1-n, i+1)
		}
	}
	return int(m.depth[at])
}
