// Package dns is the messages of the Domain Name System (RFC 1035) and what
// they hold: names, records with their data as Go values, as text and in the
// canonical form, EDNS, and the descriptions of all fields.
//
// Nothing here does I/O, reads a clock or draws randomness.
package dns

import (
	"strconv"
	"strings"
)

// Type is the type of a resource record (RFC 1035 §3.2.2).
type Type uint16

// Record types that this package reads field by field, and the question
// types that stand for several.
const (
	TypeA          Type = 1
	TypeNS         Type = 2
	TypeCNAME      Type = 5
	TypeSOA        Type = 6
	TypePTR        Type = 12
	TypeMX         Type = 15
	TypeTXT        Type = 16
	TypeAAAA       Type = 28
	TypeSRV        Type = 33
	TypeNAPTR      Type = 35
	TypeDNAME      Type = 39
	TypeOPT        Type = 41
	TypeDS         Type = 43
	TypeSSHFP      Type = 44
	TypeRRSIG      Type = 46
	TypeNSEC       Type = 47
	TypeDNSKEY     Type = 48
	TypeNSEC3      Type = 50
	TypeNSEC3PARAM Type = 51
	TypeTLSA       Type = 52
	TypeCDS        Type = 59
	TypeCDNSKEY    Type = 60
	TypeCSYNC      Type = 62
	TypeSVCB       Type = 64
	TypeHTTPS      Type = 65
	TypeTKEY       Type = 249
	TypeTSIG       Type = 250
	TypeIXFR       Type = 251
	TypeAXFR       Type = 252
	TypeMAILB      Type = 253
	TypeMAILA      Type = 254
	TypeANY        Type = 255
	TypeCAA        Type = 257
)

// String returns the mnemonic, or TYPE123 (RFC 3597 §5) for an unknown one.
func (t Type) String() string { return mnemonic(typeNames, uint16(t), "TYPE") }

// Known tells whether the type has a mnemonic.
func (t Type) Known() bool { return !strings.HasPrefix(t.String(), "TYPE") }

// ParseType reads a mnemonic in any case, or TYPE123.
func ParseType(s string) (Type, bool) {
	v, ok := fromMnemonic(typeNames, s, "TYPE")
	return Type(v), ok
}

// Class is the class of a record: in practice always IN.
type Class uint16

// The classes of RFC 1035 §3.2.4 and RFC 2136 §1.3.
const (
	ClassIN   Class = 1
	ClassCH   Class = 3
	ClassHS   Class = 4
	ClassNONE Class = 254
	ClassANY  Class = 255
)

// String returns the mnemonic, or CLASS123 (RFC 3597 §5).
func (c Class) String() string { return mnemonic(classNames, uint16(c), "CLASS") }

// ParseClass reads a mnemonic in any case, or CLASS123.
func ParseClass(s string) (Class, bool) {
	v, ok := fromMnemonic(classNames, s, "CLASS")
	return Class(v), ok
}

// Opcode is the kind of a query, 0–15.
type Opcode uint8

// The opcodes of RFC 1035, 1996, 2136 and 8490.
const (
	OpcodeQuery  Opcode = 0
	OpcodeIQuery Opcode = 1
	OpcodeStatus Opcode = 2
	OpcodeNotify Opcode = 4
	OpcodeUpdate Opcode = 5
	OpcodeDSO    Opcode = 6
)

// String returns the mnemonic, or OPCODE7.
func (o Opcode) String() string { return mnemonic(opcodeNames, uint16(o), "OPCODE") }

// Rcode is a response code: 0–15 in the header, up to 4095 with the eight
// upper bits of an OPT record (RFC 6891 §6.1.3).
type Rcode uint16

// The response codes of the IANA registry. 16 is BADVERS in an OPT record and
// BADSIG in a TSIG record; this package reads OPT only.
const (
	RcodeNoError   Rcode = 0
	RcodeFormErr   Rcode = 1
	RcodeServFail  Rcode = 2
	RcodeNXDomain  Rcode = 3
	RcodeNotImp    Rcode = 4
	RcodeRefused   Rcode = 5
	RcodeYXDomain  Rcode = 6
	RcodeYXRRSet   Rcode = 7
	RcodeNXRRSet   Rcode = 8
	RcodeNotAuth   Rcode = 9
	RcodeNotZone   Rcode = 10
	RcodeDSOTypeNI Rcode = 11
	RcodeBadVers   Rcode = 16
	RcodeBadKey    Rcode = 17
	RcodeBadTime   Rcode = 18
	RcodeBadMode   Rcode = 19
	RcodeBadName   Rcode = 20
	RcodeBadAlg    Rcode = 21
	RcodeBadTrunc  Rcode = 22
	RcodeBadCookie Rcode = 23
)

// String returns the mnemonic, or RCODE123.
func (r Rcode) String() string { return mnemonic(rcodeNames, uint16(r), "RCODE") }

// ParseRcode reads a mnemonic in any case, or RCODE123 up to RCODE4095.
func ParseRcode(s string) (Rcode, bool) {
	v, ok := fromMnemonic(rcodeNames, s, "RCODE")
	return Rcode(v), ok && v <= 0xfff
}

// Meaning says the response code in words, or "".
func (r Rcode) Meaning() string { return rcodeMeanings[r] }

type named struct {
	value uint16
	name  string
}

func mnemonic(table []named, v uint16, prefix string) string {
	for _, n := range table {
		if n.value == v {
			return n.name
		}
	}
	return prefix + strconv.Itoa(int(v))
}

func fromMnemonic(table []named, s, prefix string) (uint16, bool) {
	for _, n := range table {
		if strings.EqualFold(n.name, s) {
			return n.value, true
		}
	}
	if len(s) <= len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return 0, false
	}
	v, err := strconv.ParseUint(s[len(prefix):], 10, 16)
	return uint16(v), err == nil
}

var typeNames = []named{
	{1, "A"}, {28, "AAAA"}, {5, "CNAME"}, {2, "NS"}, {6, "SOA"}, {41, "OPT"}, {65, "HTTPS"}, {64, "SVCB"},
	{3, "MD"}, {4, "MF"}, {7, "MB"}, {8, "MG"}, {9, "MR"}, {10, "NULL"}, {11, "WKS"}, {12, "PTR"},
	{13, "HINFO"}, {14, "MINFO"}, {15, "MX"}, {16, "TXT"}, {17, "RP"}, {18, "AFSDB"}, {19, "X25"},
	{20, "ISDN"}, {21, "RT"}, {22, "NSAP"}, {23, "NSAP-PTR"}, {24, "SIG"}, {25, "KEY"}, {26, "PX"},
	{27, "GPOS"}, {29, "LOC"}, {30, "NXT"}, {31, "EID"}, {32, "NIMLOC"}, {33, "SRV"}, {34, "ATMA"},
	{35, "NAPTR"}, {36, "KX"}, {37, "CERT"}, {38, "A6"}, {39, "DNAME"}, {40, "SINK"}, {42, "APL"},
	{43, "DS"}, {44, "SSHFP"}, {45, "IPSECKEY"}, {46, "RRSIG"}, {47, "NSEC"}, {48, "DNSKEY"},
	{49, "DHCID"}, {50, "NSEC3"}, {51, "NSEC3PARAM"}, {52, "TLSA"}, {53, "SMIMEA"}, {55, "HIP"},
	{56, "NINFO"}, {57, "RKEY"}, {58, "TALINK"}, {59, "CDS"}, {60, "CDNSKEY"}, {61, "OPENPGPKEY"},
	{62, "CSYNC"}, {63, "ZONEMD"}, {66, "DSYNC"}, {67, "HHIT"}, {68, "BRID"}, {99, "SPF"}, {100, "UINFO"}, {101, "UID"},
	{102, "GID"}, {103, "UNSPEC"}, {104, "NID"}, {105, "L32"}, {106, "L64"}, {107, "LP"},
	{108, "EUI48"}, {109, "EUI64"}, {128, "NXNAME"}, {249, "TKEY"}, {250, "TSIG"}, {251, "IXFR"},
	{252, "AXFR"}, {253, "MAILB"}, {254, "MAILA"}, {255, "ANY"}, {256, "URI"}, {257, "CAA"},
	{258, "AVC"}, {259, "DOA"}, {260, "AMTRELAY"}, {261, "RESINFO"}, {262, "WALLET"}, {263, "CLA"},
	{264, "IPN"}, {32768, "TA"}, {32769, "DLV"},
}

var classNames = []named{{1, "IN"}, {3, "CH"}, {4, "HS"}, {254, "NONE"}, {255, "ANY"}}

var opcodeNames = []named{{0, "QUERY"}, {1, "IQUERY"}, {2, "STATUS"}, {4, "NOTIFY"}, {5, "UPDATE"}, {6, "DSO"}}

var rcodeNames = []named{
	{0, "NOERROR"}, {1, "FORMERR"}, {2, "SERVFAIL"}, {3, "NXDOMAIN"}, {4, "NOTIMP"}, {5, "REFUSED"},
	{6, "YXDOMAIN"}, {7, "YXRRSET"}, {8, "NXRRSET"}, {9, "NOTAUTH"}, {10, "NOTZONE"}, {11, "DSOTYPENI"},
	{16, "BADVERS"}, {17, "BADKEY"}, {18, "BADTIME"}, {19, "BADMODE"}, {20, "BADNAME"}, {21, "BADALG"},
	{22, "BADTRUNC"}, {23, "BADCOOKIE"},
}

var rcodeMeanings = map[Rcode]string{
	RcodeNoError:   "no error",
	RcodeFormErr:   "the server could not read the query",
	RcodeServFail:  "the server failed to find the answer",
	RcodeNXDomain:  "the name does not exist",
	RcodeNotImp:    "the server does not do this kind of query",
	RcodeRefused:   "the server does not answer this client for this name",
	RcodeYXDomain:  "a name exists when it should not",
	RcodeYXRRSet:   "a record set exists when it should not",
	RcodeNXRRSet:   "a record set that should exist does not",
	RcodeNotAuth:   "the server is not authoritative for the zone",
	RcodeNotZone:   "the name is not in the zone",
	RcodeDSOTypeNI: "the DSO type is not implemented",
	RcodeBadVers:   "the server does not speak this EDNS version",
	RcodeBadKey:    "the key is not known",
	RcodeBadTime:   "the signature is out of its time window",
	RcodeBadMode:   "the TKEY mode is wrong",
	RcodeBadName:   "the key name is a duplicate",
	RcodeBadAlg:    "the algorithm is not supported",
	RcodeBadTrunc:  "the signature is truncated too far",
	RcodeBadCookie: "the DNS cookie is missing or wrong",
}
