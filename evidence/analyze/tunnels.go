package analyze

import (
	"peel/trace"
	"peel/wire/ethernet"
	"peel/wire/ip"
	"peel/wire/tunnel"
)

// IP protocol numbers of tunnels (IANA).
const (
	protoIPv4 ip.Protocol = 4
	protoIPv6 ip.Protocol = 41
	protoGRE  ip.Protocol = 47
	protoMPLS ip.Protocol = 137
)

var (
	greCarrier   = carrier{layer: "gre", protocols: []ip.Protocol{protoGRE}, ports: []uint16{tunnel.GREPort}, parse: of(tunnel.ParseGRE), fields: tunnel.GREFields}
	vxlanCarrier = carrier{layer: "vxlan", ports: []uint16{tunnel.VXLANPort, tunnel.VXLANLinuxPort, tunnel.VXLANNextPort}, parse: of(tunnel.ParseVXLAN), fields: tunnel.VXLANFields}
	mplsCarrier  = carrier{layer: "mpls", types: []ethernet.Type{tunnel.TypeMPLS, tunnel.TypeMPLSMulticast}, protocols: []ip.Protocol{protoMPLS},
		parse: of(tunnel.ParseMPLS), fields: tunnel.MPLSFields}
	pppoeCarrier = carrier{layer: "pppoe", types: []ethernet.Type{ethernet.TypePPPoE}, parse: of(tunnel.ParsePPPoE), fields: tunnel.PPPoEFields}
	ipCarrier    = carrier{layer: "ip in ip", protocols: []ip.Protocol{protoIPv4, protoIPv6}, parse: of(tunnel.ParseIP), fields: noFields}

	geneveCarrier = carrier{layer: "geneve", ports: []uint16{tunnel.GenevePort}, replies: true, parse: of(tunnel.ParseGeneve), fields: tunnel.GeneveFields}
	gtpCarrier    = carrier{layer: "gtp", ports: []uint16{tunnel.GTPPort}, replies: true, parse: of(tunnel.ParseGTP), fields: tunnel.GTPFields}
	teredoCarrier = carrier{layer: "teredo", ports: []uint16{tunnel.TeredoPort}, replies: true, parse: of(tunnel.ParseTeredo), fields: noFields}
	ayiyaCarrier  = carrier{layer: "ayiya", ports: []uint16{tunnel.AYIYAPort}, replies: true, parse: of(tunnel.ParseAYIYA), fields: tunnel.AYIYAFields}
	l2tpCarrier   = carrier{layer: "l2tp", ports: []uint16{tunnel.L2TPPort}, replies: true, parse: of(tunnel.ParseL2TP), fields: tunnel.L2TPFields}
)

func noFields([]byte, int) []trace.Field { return nil }

func of(parse func([]byte) (tunnel.Payload, error)) func([]byte) (inner, error) {
	return func(b []byte) (inner, error) {
		p, err := parse(b)
		return inner{headerLen: p.HeaderLen, typ: p.Type, frame: p.Frame, network: p.Network}, err
	}
}
