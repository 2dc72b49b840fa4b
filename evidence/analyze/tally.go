package analyze

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"peel/trace"
	"peel/wire/udp"
)

// tally counts the packets that are not read, by what they are, so that a
// capture is never silent about what it holds.
type tally struct {
	kinds map[string]*trace.Unread
	order []*trace.Unread
	// quic and dtls remember the conversations that began so: their later
	// packets do not tell.
	spoken map[flowKey]string
}

// Bounds of what is remembered: kinds, of which the rest counts as one, and
// conversations.
const (
	maxUnread = 64
	maxSpoken = 1 << 14
)

const unreadRest = "of other kinds"

// notRead counts the current packet as one of a kind that is not read.
func (a *Analyzer) notRead(w *wire, p *packet, kind string) {
	u := &w.unread
	k := u.kinds[kind]
	if k == nil && len(u.order) >= maxUnread {
		kind = unreadRest
		k = u.kinds[kind]
	}
	if k == nil {
		if u.kinds == nil {
			u.kinds = map[string]*trace.Unread{}
		}
		k = &trace.Unread{Protocol: kind, First: p.id}
		u.kinds[kind] = k
		u.order = append(u.order, k)
	}
	k.Packets++
}

// list is what was counted, the most first.
func (u *tally) list() []trace.Unread {
	out := make([]trace.Unread, len(u.order))
	for i, k := range u.order {
		out[i] = *k
	}
	slices.SortStableFunc(out, func(x, y trace.Unread) int { return y.Packets - x.Packets })
	return out
}

// datagramNotRead counts a datagram whose protocol is not read, by its name or
// port.
func (a *Analyzer) datagramNotRead(w *wire, p *packet, d udp.Datagram) {
	if w.damaged(p) {
		a.notRead(w, p, "UDP with a wrong checksum")
		return
	}
	u, key := &w.unread, p.key(p.src, p.dst)
	name := u.spoken[key]
	if name == "" {
		if name = datagramName(d.Payload()); name != "" {
			if u.spoken == nil {
				u.spoken = map[flowKey]string{}
			}
			if len(u.spoken) < maxSpoken {
				u.spoken[key] = name
			}
		}
	}
	if name == "" {
		port := p.dst.Port()
		if rank(p.src.Port()) > rank(port) || rank(p.src.Port()) == rank(port) && p.src.Port() < port {
			port = p.src.Port()
		}
		name = fmt.Sprintf("UDP port %d", port)
		if n := udpPorts[port]; n != "" {
			name += " (" + n + ")"
		}
	}
	a.notRead(w, p, name)
}

// udpPorts names the services of ports, where no byte tells. A name is that of
// the port, and no claim about the bytes.
var udpPorts = map[uint16]string{7: "echo", 53: "DNS", 67: "DHCP", 68: "DHCP", 69: "TFTP", 88: "Kerberos", 111: "RPC", 123: "NTP", 137: "NetBIOS names", 138: "NetBIOS datagrams", 161: "SNMP", 162: "SNMP",
	389: "LDAP", 443: "HTTPS", 500: "IKE", 514: "syslog", 520: "RIP", 546: "DHCPv6", 547: "DHCPv6", 1194: "OpenVPN", 1645: "RADIUS", 1646: "RADIUS", 1701: "L2TP", 1812: "RADIUS", 1813: "RADIUS", 1900: "SSDP",
	2055: "NetFlow", 2123: "GTP-C", 2152: "GTP-U", 3478: "STUN", 3544: "Teredo", 3702: "WS-Discovery", 4500: "IPsec", 4789: "VXLAN", 5060: "SIP", 5246: "CAPWAP", 5247: "CAPWAP", 5353: "mDNS", 5355: "LLMNR",
	5683: "CoAP", 6081: "Geneve", 6343: "sFlow", 51820: "WireGuard"}

// Versions of QUIC (IANA).
const (
	quicNegotiation = 0
	quic1           = 1
	quic2           = 0x6b3343cf
)

// datagramName tells by its first bytes what a datagram is; "" when they do not
// tell.
func datagramName(b []byte) string {
	switch {
	case len(b) >= 7 && b[0]&0x80 != 0:
		// A long header (RFC 8999 §5.1): version, and the two connection IDs.
		v := binary.BigEndian.Uint32(b[1:])
		dst := int(b[5])
		if dst > 20 || len(b) < 7+dst || int(b[6+dst]) > 20 || len(b) < 7+dst+int(b[6+dst]) {
			return ""
		}
		switch {
		case b[0]&0x40 == 0 && v != quicNegotiation:
			return ""
		case v == quic1:
			return "QUIC version 1"
		case v == quic2:
			return "QUIC version 2"
		case v&0xffffff00 == 0xff000000:
			return fmt.Sprintf("QUIC draft %d", v&0xff)
		case v == quicNegotiation && dst > 0 && (len(b)-7-dst-int(b[6+dst]))%4 == 0:
			return "QUIC version negotiation"
		}
	case len(b) >= 13 && b[0] >= 20 && b[0] <= 25 && b[1] == 0xfe && (b[2] >= 0xfd || b[2] == 0xff) && 13+int(binary.BigEndian.Uint16(b[11:])) <= len(b):
		return "DTLS"
	case len(b) >= 20 && b[0]>>6 == 0 && binary.BigEndian.Uint32(b[4:]) == stunCookie:
		return "STUN"
	case bytes.HasPrefix(b, []byte("M-SEARCH * HTTP/1.1")), bytes.HasPrefix(b, []byte("NOTIFY * HTTP/1.1")):
		return "SSDP, HTTP's form over UDP"
	case bytes.HasPrefix(b, []byte("SIP/2.0 ")):
		return "SIP"
	}
	return ""
}

// stunCookie is RFC 8489's.
const stunCookie = 0x2112a442
