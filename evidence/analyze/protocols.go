package analyze

import "strings"

// protocols are those that peel reads, in the order in which a beginning is
// compared with them. A protocol is a room of package wire, a decoder, and a line
// here.
var protocols = []*protocol{&tlsProtocol, &postgreSQLProtocol, &mySQLProtocol, &smtpProtocol, &ftpProtocol, &pop3Protocol, &imapProtocol, &xmppProtocol, &ldapProtocol,
	&quicProtocol, &dtlsProtocol, &dnsProtocol, &socksProtocol, &http2Protocol, &http1Protocol, &webSocketProtocol}

// carriers are the tunnels whose packets are read.
var carriers = []*carrier{&greCarrier, &vxlanCarrier, &mplsCarrier, &pppoeCarrier, &ipCarrier, &geneveCarrier, &gtpCarrier, &teredoCarrier, &ayiyaCarrier, &l2tpCarrier}

// upgradeTo returns the protocol that a token of HTTP's Upgrade field names.
func (a *Analyzer) upgradeTo(token string) *protocol {
	for _, p := range a.protocols {
		if p.upgrade != "" && strings.EqualFold(p.upgrade, token) {
			return p
		}
	}
	return nil
}
