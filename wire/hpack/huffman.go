package hpack

// huffmanLength returns how many bytes s takes when compressed.
func huffmanLength(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		n += int(huffmanCodes[s[i]].bits)
	}
	return (n + 7) / 8
}

// appendHuffman appends s compressed; n is its huffmanLength.
func appendHuffman(dst []byte, s string, n int) []byte {
	acc, have := uint64(0), uint(0)
	for i := 0; i < len(s); i++ {
		c := huffmanCodes[s[i]]
		acc = acc<<c.bits | uint64(c.code)
		have += uint(c.bits)
		if have >= 32 {
			have -= 32
			w := uint32(acc >> have)
			dst = append(dst, byte(w>>24), byte(w>>16), byte(w>>8), byte(w))
		}
	}
	for have >= 8 {
		have -= 8
		dst = append(dst, byte(acc>>have))
	}
	if have > 0 {
		// The rest is padded with the beginning of EOS: ones.
		dst = append(dst, byte(acc<<(8-have))|byte(0xff>>have))
	}
	return dst
}

// step is what four bits of input do in a state of the decoder. At most one
// octet comes out, for the shortest code has five bits.
type step struct {
	next uint8
	out  uint8
	emit bool
	bad  bool // EOS, which may not stand in a string
}

// decoder is the code as a machine that takes four bits at a time: small
// enough to be built at every start. Its states are the inner nodes of the
// code's tree: where in a code the last bits ended.
type decoder struct {
	steps [][16]step
	// padding tells for each state whether a string may end there: after at
	// most seven ones, the beginning of EOS.
	padding []bool
}

var huffman = buildDecoder()

// buildDecoder makes the machine from the code.
func buildDecoder() *decoder {
	type node struct {
		kids [2]int // 0: none
		leaf int    // octet+1; 257 is EOS
	}
	tree := []node{{}}
	add := func(code uint32, bits uint8, symbol int) {
		at := 0
		for i := int(bits) - 1; i >= 0; i-- {
			bit := code >> i & 1
			if tree[at].kids[bit] == 0 {
				tree = append(tree, node{})
				tree[at].kids[bit] = len(tree) - 1
			}
			at = tree[at].kids[bit]
		}
		tree[at].leaf = symbol + 1
	}
	for i, c := range huffmanCodes {
		add(c.code, c.bits, i)
	}
	add(1<<30-1, 30, 256)
	// Number the inner nodes; the root is 0.
	state := make([]int, len(tree))
	var inner []int
	for i, n := range tree {
		if n.leaf == 0 {
			state[i] = len(inner)
			inner = append(inner, i)
		}
	}
	d := &decoder{steps: make([][16]step, len(inner)), padding: make([]bool, len(inner))}
	for s, start := range inner {
		for in := range 16 {
			st := &d.steps[s][in]
			at := start
			for bit := 3; bit >= 0; bit-- {
				at = tree[at].kids[in>>bit&1]
				leaf := tree[at].leaf
				if leaf == 257 {
					st.bad = true
					break
				}
				if leaf > 0 {
					st.out, st.emit = byte(leaf-1), true
					at = 0
				}
			}
			if !st.bad {
				st.next = uint8(state[at])
			}
		}
	}
	for at, i := 0, 0; i <= 7; i++ {
		d.padding[state[at]] = true
		at = tree[at].kids[1]
	}
	return d
}

// appendHuffmanDecoded appends what b stands for (RFC 7541 §5.2).
func appendHuffmanDecoded(dst, b []byte) ([]byte, error) {
	s := uint8(0)
	steps := huffman.steps
	for _, c := range b {
		high := &steps[s][c>>4]
		if high.emit {
			dst = append(dst, high.out)
		}
		low := &steps[high.next][c&15]
		if low.emit {
			dst = append(dst, low.out)
		}
		if high.bad || low.bad {
			return dst, &Error{Reason: ErrHuffman, Detail: "the end-of-string symbol stands in a string"}
		}
		s = low.next
	}
	if !huffman.padding[s] {
		return dst, &Error{Reason: ErrHuffman, Detail: "the padding is longer than seven bits or not all ones"}
	}
	return dst, nil
}
