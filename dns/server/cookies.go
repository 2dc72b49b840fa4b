package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"

	"peel/dns"
)

// Cookies gives clients cookies by which they are known again (RFC 7873): who
// sends one back does not forge its address. The layout is that of RFC 9018
// §4, with HMAC-SHA-256 in place of SipHash, so that servers of one address
// can share a secret among themselves, though not with other software.
type Cookies struct {
	// Secret is what cookies are made with: 32 octets or more that nobody
	// else knows.
	Secret []byte
}

// cookie is what came with a query.
type cookie struct {
	client [8]byte
	has    bool // there is one
	good   bool // with a server's part that is ours, and fresh
	broken bool // it has no form (RFC 7873 §5.2.2)
	// offered is how large a response over UDP the client takes.
	offered int
}

const (
	serverCookie = 16
	cookieOption = 4 + 8 + serverCookie
	// RFC 9018 §4.3: cookies are taken for an hour, and from clocks that are
	// five minutes ahead.
	cookieAge   = time.Hour
	cookieAhead = 5 * time.Minute
)

// read takes the cookie out of a query.
func (c *Cookies) read(query []byte, from netip.Addr, now time.Time) (k cookie) {
	at, n, ok := findOPT(query)
	if !ok {
		return k
	}
	for b := query[at+11 : at+11+n]; len(b) >= 4; {
		code, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if size > len(b)-4 {
			return k
		}
		if value := b[4 : 4+size]; dns.OptionCode(code) == dns.OptionCookie {
			if size != 8 && (size < 16 || size > 40) {
				k.broken = true
				return k
			}
			k.has, k.offered = true, max(int(binary.BigEndian.Uint16(query[at+3:])), 512)
			copy(k.client[:], value)
			k.good = size == 8+serverCookie && c.ours(value, from, now)
			return k
		}
		b = b[4+size:]
	}
	return k
}

// ours tells whether a cookie is one that this server gave to that address.
func (c *Cookies) ours(value []byte, from netip.Addr, now time.Time) bool {
	given := value[8:]
	// The time counts in 32 bits that wrap (RFC 1982).
	age := time.Duration(int32(uint32(now.Unix())-binary.BigEndian.Uint32(given[4:]))) * time.Second
	if given[0] != 1 || age > cookieAge || age < -cookieAhead {
		return false
	}
	sum := c.sum(value[:8], given[:8], from)
	return hmac.Equal(sum[:8], given[8:])
}

func (c *Cookies) sum(client, head []byte, from netip.Addr) []byte {
	h := hmac.New(sha256.New, c.Secret)
	h.Write(client)
	h.Write(head)
	h.Write(from.Unmap().AsSlice())
	return h.Sum(nil)
}

// add appends a cookie to the OPT record of a response, if it stands at the
// end and there is room.
func (c *Cookies) add(msg []byte, k cookie, to netip.Addr, now time.Time, limit int) []byte {
	at, n, ok := findOPT(msg)
	if !ok || at+11+n != len(msg) || len(msg)+cookieOption > limit {
		return msg
	}
	binary.BigEndian.PutUint16(msg[at+9:], uint16(n+cookieOption))
	msg = binary.BigEndian.AppendUint16(msg, uint16(dns.OptionCookie))
	msg = binary.BigEndian.AppendUint16(msg, 8+serverCookie)
	msg = append(msg, k.client[:]...)
	head := [8]byte{1}
	binary.BigEndian.PutUint32(head[4:], uint32(now.Unix()))
	msg = append(msg, head[:]...)
	return append(msg, c.sum(k.client[:], head[:], to)[:8]...)
}

// findOPT returns where the OPT record of a message begins, if its owner is the
// root, and how much data it has.
func findOPT(msg []byte) (at, n int, ok bool) {
	if len(msg) < 12 {
		return 0, 0, false
	}
	count := func(i int) int { return int(binary.BigEndian.Uint16(msg[i:])) }
	at = 12
	for range count(4) {
		if at = skipName(msg, at) + 4; at > len(msg) {
			return 0, 0, false
		}
	}
	for range count(6) + count(8) + count(10) {
		start := at
		if at = skipName(msg, at) + 10; at > len(msg) {
			return 0, 0, false
		}
		typ, size := dns.Type(count(at-10)), count(at-2)
		if at+size > len(msg) {
			return 0, 0, false
		}
		if typ == dns.TypeOPT && at == start+11 && msg[start] == 0 {
			return start, size, true
		}
		at += size
	}
	return 0, 0, false
}

// skipName returns what follows a name, len(msg) or more where it has no end.
func skipName(msg []byte, at int) int {
	for at < len(msg) {
		switch c := msg[at]; {
		case c == 0:
			return at + 1
		case c >= 0xc0:
			return at + 2
		default:
			at += 1 + int(c)
		}
	}
	return len(msg)
}
