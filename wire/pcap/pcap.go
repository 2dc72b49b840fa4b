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
)

var linkNames = map[LinkType]string{
	LinkNull: "NULL", LinkEthernet: "ETHERNET", LinkRawBSD: "RAW", LinkRawOther: "RAW", LinkRaw: "RAW", LinkLoop: "LOOP",
	LinkSLL: "LINUX_SLL", LinkIPv4: "IPV4", LinkIPv6: "IPV6", LinkSLL2: "LINUX_SLL2",
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
