package analyze

import (
	"peel/trace"
	"peel/wire/cooked"
	"peel/wire/ethernet"
	"peel/wire/pcap"
	"peel/wire/tunnel"
	"peel/wire/wlan"
)

// link is a link type whose header says what follows.
type link struct {
	// layer names the header among a packet's layers.
	layer string
	parse func(b []byte) (linked, error)
	// fields gives the tree of fields of the header.
	fields func(b []byte, base int) []trace.Field
}

// linked is what stands behind a link header: a packet of a type, a frame, an
// LLC header, or something that is not read.
type linked struct {
	headerLen int
	typ       ethernet.Type
	frame     bool
	llc       bool
	unread    string
	again     pcap.LinkType // with a header of that link type; 0 for none
}

// links are the link types besides Ethernet, raw IP and the headers of captures.
var links = map[pcap.LinkType]*link{
	pcap.LinkNFLOG:       {"nflog", ofCooked(cooked.ParseNFLOG, "NFLOG of another family"), cooked.NFLOGFields},
	pcap.LinkARCNET:      {"arcnet", ofCooked(func(b []byte) (cooked.Header, error) { return cooked.ParseARCNET(b, false) }, "ARCNET"), noFields},
	pcap.LinkARCNETLinux: {"arcnet", ofCooked(func(b []byte) (cooked.Header, error) { return cooked.ParseARCNET(b, true) }, "ARCNET"), noFields},
	pcap.LinkWLAN:        {"wlan", wireless(false), wlan.Fields},
	pcap.LinkRadiotap:    {"wlan", wireless(true), wlan.RadiotapFields},
	pcap.LinkPPP:         {"ppp", ofTunnel(tunnel.ParsePPP, "PPP control"), tunnel.HDLCFields},
	pcap.LinkPPPSerial:   {"ppp", ofTunnel(tunnel.ParseHDLC, "PPP control"), tunnel.HDLCFields},
	pcap.LinkHDLC:        {"chdlc", ofTunnel(tunnel.ParseHDLC, "HDLC control"), tunnel.HDLCFields},
	pcap.LinkPPPEthernet: {"pppoe", ofTunnel(tunnel.ParsePPPoE, "PPP control"), tunnel.PPPoEFields},
	pcap.LinkPPPDir:      {"ppp", directed, noFields},
	pcap.LinkFrameRelay:  {"fr", ofTunnel(tunnel.ParseFrameRelay, "Frame Relay control"), noFields},
	pcap.LinkLLC:         {"llc", func([]byte) (linked, error) { return linked{llc: true}, nil }, noFields},
	pcap.LinkFDDI:        {"fddi", fddi, noFields},
	pcap.LinkMPacket:     {"mpacket", mpacket, noFields},
	pcap.LinkPKTAP:       {"pktap", pktap, noFields},
	pcap.LinkPKTAPNew:    {"pktap", pktap, noFields},
}

func ofCooked(parse func([]byte) (cooked.Header, error), otherwise string) func([]byte) (linked, error) {
	return func(b []byte) (linked, error) {
		h, err := parse(b)
		l := linked{headerLen: h.Len, typ: h.Type}
		if h.Type == 0 {
			l.unread = otherwise
		}
		return l, err
	}
}

func ofTunnel(parse func([]byte) (tunnel.Payload, error), otherwise string) func([]byte) (linked, error) {
	return func(b []byte) (linked, error) {
		p, err := parse(b)
		l := linked{headerLen: p.HeaderLen, typ: p.Type, frame: p.Frame}
		if p.Type == 0 {
			l.unread = otherwise
		}
		return l, err
	}
}

func wireless(withRadiotap bool) func([]byte) (linked, error) {
	return func(b []byte) (linked, error) {
		h, err := wlan.Parse(b, withRadiotap)
		l := linked{headerLen: min(h.Len, len(b)), llc: h.Kind == wlan.Data}
		if h.Kind != wlan.Data {
			l.unread = h.Kind.String()
		}
		return l, err
	}
}

// directed is PPP behind a byte that says which way it went.
func directed(b []byte) (linked, error) {
	l, err := ofTunnel(tunnel.ParsePPP, "PPP control")(b[min(1, len(b)):])
	l.headerLen++
	return l, err
}

func fddi(b []byte) (linked, error) {
	n, ok, err := cooked.ParseFDDI(b)
	l := linked{headerLen: n, llc: ok}
	if !ok {
		l.unread = "FDDI control"
	}
	return l, err
}

// mpacket is an Ethernet frame with the eight bytes that stand before it on the
// cable (IEEE 802.3br).
func mpacket(b []byte) (linked, error) {
	const preamble, express = 8, 0xd5
	if len(b) < preamble || b[preamble-1] != express {
		return linked{unread: "parts of preempted Ethernet frames"}, nil
	}
	return linked{headerLen: preamble, frame: true}, nil
}

func pktap(b []byte) (linked, error) {
	n, again, err := cooked.ParsePKTAP(b)
	return linked{headerLen: n, again: pcap.LinkType(again), unread: "PKTAP"}, err
}

// linkNamed returns the link type whose header a layer of that name is, or nil.
func linkNamed(name string, typ string) *link {
	for t, l := range links {
		if l.layer == name && t.String() == typ {
			return l
		}
	}
	return nil
}
