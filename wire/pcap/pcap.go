// Package pcap reads and writes capture files: pcap in its microsecond and
// nanosecond forms and both byte orders, and pcapng
// (draft-ietf-opsawg-pcapng). It knows blocks and options; what is in the
// packets is for others.
package pcap

import (
	"fmt"

	"peel/clock"
)

// LinkType numbers the header that a packet begins with, from the registry at
// tcpdump.org/linktypes.html.
type LinkType uint16

// The link types that peel reads.
const (
	LinkNull     LinkType = 0   // BSD loopback: address family in host byte order
	LinkEthernet LinkType = 1   // IEEE 802.3
	LinkRawBSD   LinkType = 12  // raw IP, as some systems number it
	LinkRawOther LinkType = 14  // raw IP, as OpenBSD numbers it
	LinkRaw      LinkType = 101 // raw IPv4 or IPv6
	LinkLoop     LinkType = 108 // OpenBSD loopback: address family in network byte order
	LinkSLL      LinkType = 113 // Linux cooked capture v1
	LinkIPv4     LinkType = 228 // raw IPv4
	LinkIPv6     LinkType = 229 // raw IPv6
	LinkSLL2     LinkType = 276 // Linux cooked capture v2

	LinkARCNET      LinkType = 7 // BSD's
	LinkPPP         LinkType = 9
	LinkFDDI        LinkType = 10
	LinkPPPSerial   LinkType = 50 // in HDLC framing
	LinkPPPEthernet LinkType = 51
	LinkLLC         LinkType = 100 // RFC 1483
	LinkHDLC        LinkType = 104 // Cisco's
	LinkWLAN        LinkType = 105 // IEEE 802.11
	LinkFrameRelay  LinkType = 107
	LinkRadiotap    LinkType = 127 // IEEE 802.11 behind radiotap
	LinkARCNETLinux LinkType = 129
	LinkPKTAP       LinkType = 149 // Apple's, as LINKTYPE_USER2
	LinkPPPDir      LinkType = 204 // with a byte of direction
	LinkNFLOG       LinkType = 239 // what Linux's netfilter logs
	LinkPKTAPNew    LinkType = 258
	LinkMPacket     LinkType = 274 // Ethernet with its preamble
)

var linkNames = map[LinkType]string{
	LinkNull: "NULL", LinkEthernet: "ETHERNET", LinkRawBSD: "RAW", LinkRawOther: "RAW", LinkRaw: "RAW", LinkLoop: "LOOP",
	LinkSLL: "LINUX_SLL", LinkIPv4: "IPV4", LinkIPv6: "IPV6", LinkSLL2: "LINUX_SLL2",
	LinkARCNET: "ARCNET_BSD", LinkPPP: "PPP", LinkFDDI: "FDDI", LinkPPPSerial: "PPP_HDLC", LinkPPPEthernet: "PPP_ETHER", LinkLLC: "ATM_RFC1483", LinkHDLC: "C_HDLC",
	LinkWLAN: "IEEE802_11", LinkFrameRelay: "FRELAY", LinkRadiotap: "IEEE802_11_RADIOTAP", LinkARCNETLinux: "ARCNET_LINUX", LinkPKTAP: "USER2", LinkPPPDir: "PPP_WITH_DIR",
	LinkNFLOG: "NFLOG", LinkPKTAPNew: "PKTAP", LinkMPacket: "ETHERNET_MPACKET",
	// Of those that are not read.
	6: "IEEE802_5", 8: "SLIP", 19: "ATM_CLIP", 117: "PFLOG", 119: "IEEE802_11_PRISM", 122: "IP_OVER_FC", 123: "SUNATM", 138: "APPLE_IP_OVER_IEEE1394", 143: "DOCSIS", 144: "LINUX_IRDA",
	163: "IEEE802_11_AVS", 177: "LINUX_LAPD", 187: "BLUETOOTH_HCI_H4", 189: "USB_LINUX", 192: "PPI", 195: "IEEE802_15_4_WITHFCS", 201: "BLUETOOTH_HCI_H4_WITH_PHDR",
	220: "USB_LINUX_MMAPPED", 226: "IPNET", 227: "CAN_SOCKETCAN", 230: "IEEE802_15_4_NOFCS", 231: "DBUS", 240: "NETANALYZER", 242: "IPOIB", 249: "USBPCAP", 253: "NETLINK",
	251: "BLUETOOTH_LE_LL", 256: "BLUETOOTH_LE_LL_WITH_PHDR", 266: "USB_DARWIN", 271: "VSOCK", 281: "DSA_TAG_BRCM", 282: "DSA_TAG_BRCM_PREPEND", 284: "DSA_TAG_DSA", 285: "DSA_TAG_EDSA",
}

func (l LinkType) String() string {
	if n := linkNames[l]; n != "" {
		return n
	}
	return fmt.Sprintf("LINKTYPE_%d", uint16(l))
}

// Interface describes where packets were seen.
type Interface struct {
	Name, Description string
	Link              LinkType
	// Snap is the most bytes kept of a packet; 0 is no limit.
	Snap   uint32
	Custom []Custom

	// pcapng §4.2: units of a timestamp per second, and seconds to add.
	perSecond uint64
	offset    int64
}

// Custom is an option or block that an organisation defined; Number is its
// Private Enterprise Number.
type Custom struct {
	Number uint32
	Data   []byte
}

// Name is one line of a name resolution block.
type Name struct {
	Address []byte // 4 or 16 bytes
	Names   []string
}

// Kind tells what a Block is.
type Kind uint8

const (
	// KindPacket is a packet (EPB, SPB, obsolete PB, or a pcap record).
	KindPacket Kind = iota + 1
	// KindInterface introduces Interfaces()[Block.Interface].
	KindInterface
	// KindSection begins a pcapng section.
	KindSection
	// KindSecrets holds secrets (DSB): SecretsType and Data.
	KindSecrets
	// KindNames holds Names (NRB).
	KindNames
	// KindCustom is a custom block: Custom[0].
	KindCustom
	// KindStatistics holds Received and Dropped (ISB).
	KindStatistics
	// KindUnknown is a block of another Type, skipped.
	KindUnknown
	// KindDamage says that bytes could not be read: Err says what and where.
	// Reading goes on behind them.
	KindDamage
)

// SecretsTLS is the type of a DSB that holds a TLS key log.
const SecretsTLS = 0x544c534b

// Block is the next thing in a file. Its slices are valid until the next one
// is read.
type Block struct {
	Kind Kind
	// Offset is where the block begins in the file, after decompression;
	// DataOffset where Data begins.
	Offset, DataOffset int64
	// Interface is the place in Interfaces().
	Interface int
	// Time of a packet; 0 when the file has none (SPB).
	Time clock.Time
	// Length is that of the packet on the wire; len(Data) what was kept.
	Length int
	Data   []byte
	// Outbound and Inbound are set where the file tells the direction.
	Outbound, Inbound bool
	Comments          []string
	Custom            []Custom
	SecretsType       uint32
	Names             []Name
	// Received and Dropped are counts of an interface, -1 where not told.
	Received, Dropped int64
	Type              uint32
	Err               *Error
	// Application and System are who wrote a section.
	Application, System string
}

// Error says what is wrong at which byte of the file.
type Error struct {
	Offset int64
	What   string
	// Skipped is how many bytes were passed over to go on.
	Skipped int64
	// Cut tells that the file ends in the middle of something.
	Cut bool
}

func (e *Error) Error() string {
	s := fmt.Sprintf("pcap: byte %d: %s", e.Offset, e.What)
	if e.Skipped > 0 {
		s += fmt.Sprintf("; went on after %d bytes", e.Skipped)
	}
	return s
}

// pcapng block types.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockPacketOld  = 2
	blockSimple     = 3
	blockNames      = 4
	blockStatistics = 5
	blockEnhanced   = 6
	blockSecrets    = 10
	blockCustom     = 0xbad
	blockCustomKeep = 0x40000bad // not to be copied
)

const byteOrderMagic = 0x1a2b3c4d

// options
const (
	optEnd         = 0
	optComment     = 1
	optCustomText  = 2988
	optCustomBytes = 2989
	optTextKeep    = 19372
	optBytesKeep   = 19373
)

const (
	maxBlock      = 64 << 20
	maxPacket     = 16 << 20
	maxInterfaces = 1 << 16
	maxNames      = 1 << 16
)

func pad4(n int) int { return (n + 3) &^ 3 }
