package dns

// A form describes the data of a record type, field by field. It is the one
// description from which data is read, written, compressed, brought into
// canonical form, printed, read from text and shown with byte ranges.
type form struct {
	fields []field
	// anyClass is false for data that only class IN defines.
	anyClass bool
}

// field is one field of record data.
type field struct {
	kind kind
	// name is Wireshark's where it has one, without "dns."; meaning says what
	// the value stands for.
	name, meaning string
}

// kind says how a field looks on the wire and in text.
type kind uint8

const (
	kindU8        kind = iota + 1 // decimal
	kindU16                       // decimal
	kindU32                       // decimal
	kindSeconds                   // 32 bits, decimal; TTL units are read as well
	kindTag16                     // 16 bits; decimal in text, hexadecimal as a field
	kindType                      // 16 bits; a record type's mnemonic
	kindAlgorithm                 // 8 bits; a DNSSEC algorithm, number or mnemonic
	kindCert                      // 16 bits; a CERT record's type
	kindScheme                    // 8 bits; how a DSYNC record's target is told (RFC 9859 §2)
	kindTime                      // 32 bits; YYYYMMDDHHmmSS (RFC 4034 §3.2)
	kindName                      // a name that is compressed (RFC 1035's own types)
	kindRead                      // a name never written compressed, but read so (RFC 3597 §4)
	kindPlain                     // a name never compressed, whose case stays in canonical form
	kindSigner                    // a name never compressed, in lower case in canonical form
	kindNames                     // the rest: plain names
	kindString                    // a character-string
	kindBare                      // a character-string printed without quotation marks where it can be
	kindStrings                   // the rest: one or more character-strings
	kindWord                      // a character-string printed without quotation marks, not empty
	kindText                      // the rest, printed as one string
	kindIPv4                      // 4 octets
	kindIPv6                      // 16 octets
	kindHex                       // the rest, hexadecimal
	kindBase64                    // the rest, base64
	kindSalt                      // a length in one octet, then hexadecimal or "-"
	kindHash                      // a length in one octet, then base32hex (RFC 5155 §3.3)
	kindBitmap                    // the rest: a type bitmap (RFC 4034 §4.1.2), perhaps empty
	kindEUI48                     // 6 octets: aa-bb-cc-dd-ee-ff
	kindEUI64                     // 8 octets
	kindLocator                   // 8 octets: 0123:4567:89ab:cdef (RFC 6742)
	kindNSAP                      // the rest: 0x and hexadecimal
	kindLOC                       // the rest: a position (RFC 1876)
	kindAPL                       // the rest: address prefixes (RFC 3123)
	kindServices                  // the rest: a protocol and a bitmap of ports (RFC 1035 §3.4.2)
	kindParams                    // the rest: service parameters (RFC 9460)
	kindGateway                   // the rest of IPSECKEY (RFC 4025)
	kindRelay                     // the rest of AMTRELAY (RFC 8777)
	kindHIP                       // all of HIP (RFC 8005)
	kindOptions                   // all of OPT (RFC 6891)
)

// multicastFlag is lent by multicast DNS from the class (RFC 6762 §10.2).
const multicastFlag Class = 1 << 15

// formOf returns the description of a type's data, nil where there is none.
func formOf(t Type, c Class) *form {
	if t == 32768 || t == 32769 { // TA and DLV, past the table
		return &delegationForm
	}
	c &^= multicastFlag
	if int(t) >= len(forms) || forms[t].fields == nil || !forms[t].anyClass && c != ClassIN && c != ClassANY && c != ClassNONE {
		return nil
	}
	return &forms[t]
}

// minimum returns the fewest octets that data of this form takes.
func (f *form) minimum() int {
	n := 0
	for _, p := range f.fields {
		n += kindSizes[p.kind]
	}
	return n
}

var kindSizes = [...]int{
	kindU8: 1, kindU16: 2, kindU32: 4, kindSeconds: 4, kindTag16: 2, kindType: 2, kindAlgorithm: 1, kindCert: 2, kindScheme: 1, kindTime: 4, kindServices: 1,
	kindName: 1, kindRead: 1, kindPlain: 1, kindSigner: 1, kindString: 1, kindBare: 1, kindStrings: 1, kindWord: 2, kindIPv4: 4, kindIPv6: 16,
	kindSalt: 1, kindHash: 1, kindEUI48: 6, kindEUI64: 8, kindLocator: 8, kindLOC: 16, kindGateway: 3, kindRelay: 2, kindHIP: 4,
	kindOptions: 0,
}

func single(k kind, name string) form { return form{[]field{{k, name, ""}}, true} }

var (
	keyFields = []field{
		{kindTag16, "dnskey.flags", ""}, {kindU8, "dnskey.protocol", ""}, {kindAlgorithm, "dnskey.algorithm", ""}, {kindBase64, "dnskey.public_key", ""},
	}
	digestFields = []field{
		{kindTag16, "ds.key_id", ""}, {kindAlgorithm, "ds.algorithm", ""}, {kindU8, "ds.digest_type", ""}, {kindHex, "ds.digest", ""},
	}
	signatureFields = []field{
		{kindType, "rrsig.type_covered", ""}, {kindAlgorithm, "rrsig.algorithm", ""}, {kindU8, "rrsig.labels", ""},
		{kindSeconds, "rrsig.original_ttl", "seconds"}, {kindTime, "rrsig.signature_expiration", ""}, {kindTime, "rrsig.signature_inception", ""},
		{kindU16, "rrsig.key_tag", ""}, {kindSigner, "rrsig.signers_name", ""}, {kindBase64, "rrsig.signature", ""},
	}
	certificateFields = []field{
		{kindU8, "tlsa.certificate_usage", ""}, {kindU8, "tlsa.selector", ""}, {kindU8, "tlsa.matching_type", ""},
		{kindHex, "tlsa.certificate_association_data", ""},
	}
	serviceFields = []field{
		{kindU16, "svcb.svcpriority", "0 makes it an alias"}, {kindPlain, "svcb.targetname", ""}, {kindParams, "svcb.svcparam", ""},
	}
)

// delegationForm is that of DS under other numbers (RFC 4431).
var delegationForm = form{digestFields, true}

// forms is indexed by type.
var forms = [...]form{
	TypeA:     {fields: []field{{kindIPv4, "a", ""}}},
	TypeNS:    single(kindName, "ns"),
	3:         single(kindName, "md"),
	4:         single(kindName, "mf"),
	TypeCNAME: single(kindName, "cname"),
	TypeSOA: {[]field{
		{kindName, "soa.mname", ""}, {kindName, "soa.rname", ""}, {kindU32, "soa.serial_number", ""},
		{kindSeconds, "soa.refresh_interval", "seconds"}, {kindSeconds, "soa.retry_interval", "seconds"},
		{kindSeconds, "soa.expire_limit", "seconds"}, {kindSeconds, "soa.minimum_ttl", "seconds that a negative answer is kept at most"},
	}, true},
	7:        single(kindName, "mb"),
	8:        single(kindName, "mg"),
	9:        single(kindName, "mr"),
	11:       {fields: []field{{kindIPv4, "wks.address", ""}, {kindServices, "wks.services", ""}}},
	TypePTR:  single(kindName, "ptr.domain_name"),
	13:       {[]field{{kindString, "hinfo.cpu", ""}, {kindString, "hinfo.os", ""}}, true},
	14:       {[]field{{kindName, "minfo.r_mailbox", ""}, {kindName, "minfo.e_mailbox", ""}}, true},
	TypeMX:   {[]field{{kindU16, "mx.preference", "the lowest is tried first"}, {kindName, "mx.mail_exchange", ""}}, true},
	TypeTXT:  single(kindStrings, "txt"),
	17:       {[]field{{kindRead, "rp.mailbox", ""}, {kindRead, "rp.txt_rr", ""}}, true},
	18:       {[]field{{kindU16, "afsdb.subtype", ""}, {kindRead, "afsdb.hostname", ""}}, true},
	19:       single(kindBare, "x25.psdn_address"),
	20:       single(kindStrings, "isdn.address"),
	21:       {[]field{{kindU16, "rt.subtype", ""}, {kindRead, "rt.intermediate_host", ""}}, true},
	22:       {fields: []field{{kindNSAP, "nsap.rdata", ""}}},
	23:       single(kindRead, "nsap_ptr.owner"),
	24:       {signatureFields, true},
	25:       {keyFields, true},
	26:       {fields: []field{{kindU16, "px.preference", ""}, {kindRead, "px.map822", ""}, {kindRead, "px.map400", ""}}},
	27:       {[]field{{kindBare, "gpos.longitude", ""}, {kindBare, "gpos.latitude", ""}, {kindBare, "gpos.altitude", ""}}, true},
	TypeAAAA: {fields: []field{{kindIPv6, "aaaa", ""}}},
	29:       single(kindLOC, "loc"),
	TypeSRV: {fields: []field{
		{kindU16, "srv.priority", "the lowest is tried first"}, {kindU16, "srv.weight", ""}, {kindU16, "srv.port", ""}, {kindRead, "srv.target", ""},
	}},
	TypeNAPTR: {fields: []field{
		{kindU16, "naptr.order", ""}, {kindU16, "naptr.preference", ""}, {kindString, "naptr.flags", ""}, {kindString, "naptr.service", ""},
		{kindString, "naptr.regex", ""}, {kindRead, "naptr.replacement", ""},
	}},
	36:         {fields: []field{{kindU16, "kx.preference", ""}, {kindRead, "kx.key_exchange", ""}}},
	37:         {[]field{{kindCert, "cert.type", ""}, {kindU16, "cert.key_tag", ""}, {kindAlgorithm, "cert.algorithm", ""}, {kindBase64, "cert.certificate", ""}}, true},
	TypeDNAME:  single(kindRead, "dname"),
	TypeOPT:    single(kindOptions, "opt"),
	42:         {fields: []field{{kindAPL, "apl", ""}}},
	TypeDS:     {digestFields, true},
	TypeSSHFP:  {[]field{{kindU8, "sshfp.algorithm", ""}, {kindU8, "sshfp.fingerprint.type", ""}, {kindHex, "sshfp.fingerprint", ""}}, true},
	45:         {fields: []field{{kindU8, "ipseckey.gateway_precedence", ""}, {kindGateway, "ipseckey.gateway", ""}}},
	TypeRRSIG:  {signatureFields, true},
	TypeNSEC:   {[]field{{kindPlain, "nsec.next_domain_name", ""}, {kindBitmap, "nsec.types", ""}}, true},
	TypeDNSKEY: {keyFields, true},
	49:         {fields: []field{{kindBase64, "dhcid.rdata", ""}}},
	TypeNSEC3: {[]field{
		{kindU8, "nsec3.algo", ""}, {kindU8, "nsec3.flags", "1 opts out of covering unsigned delegations"}, {kindU16, "nsec3.iterations", ""},
		{kindSalt, "nsec3.salt_value", ""}, {kindHash, "nsec3.hash_value", ""}, {kindBitmap, "nsec3.types", ""},
	}, true},
	TypeNSEC3PARAM: {[]field{
		{kindU8, "nsec3.algo", ""}, {kindU8, "nsec3.flags", ""}, {kindU16, "nsec3.iterations", ""}, {kindSalt, "nsec3.salt_value", ""},
	}, true},
	TypeTLSA:    {certificateFields, true},
	53:          {certificateFields, true},
	55:          single(kindHIP, "hip.hit"),
	56:          single(kindStrings, "ninfo"),
	58:          {[]field{{kindPlain, "talink.previous", ""}, {kindPlain, "talink.next", ""}}, true},
	TypeCDS:     {digestFields, true},
	TypeCDNSKEY: {keyFields, true},
	61:          single(kindBase64, "openpgpkey"),
	TypeCSYNC:   {[]field{{kindU32, "csync.soa", ""}, {kindTag16, "csync.flags", ""}, {kindBitmap, "csync.types", ""}}, true},
	63: {[]field{
		{kindU32, "zonemd.serial", ""}, {kindU8, "zonemd.scheme", ""}, {kindU8, "zonemd.hash_algo", ""}, {kindHex, "zonemd.digest", ""},
	}, true},
	TypeSVCB:  {fields: serviceFields},
	TypeHTTPS: {fields: serviceFields},
	66:        {[]field{{kindType, "dsync.type", ""}, {kindScheme, "dsync.scheme", ""}, {kindU16, "dsync.port", ""}, {kindPlain, "dsync.target", ""}}, true},
	67:        single(kindBase64, "hhit"), // RFC 9886
	68:        single(kindBase64, "brid"),
	99:        single(kindStrings, "spf"),
	104:       {[]field{{kindU16, "ilnp.nid.preference", ""}, {kindLocator, "ilnp.nid", ""}}, true},
	105:       {[]field{{kindU16, "ilnp.l32.preference", ""}, {kindIPv4, "ilnp.l32", ""}}, true},
	106:       {[]field{{kindU16, "ilnp.l64.preference", ""}, {kindLocator, "ilnp.l64", ""}}, true},
	107:       {[]field{{kindU16, "ilnp.lp.preference", ""}, {kindPlain, "ilnp.lp", ""}}, true},
	108:       single(kindEUI48, "eui48"),
	109:       single(kindEUI64, "eui64"),
	256:       {[]field{{kindU16, "uri.priority", ""}, {kindU16, "uri.weight", ""}, {kindText, "uri.target", ""}}, true},
	TypeCAA:   {[]field{{kindU8, "caa.flags", ""}, {kindWord, "caa.tag", ""}, {kindText, "caa.value", ""}}, true},
	258:       single(kindStrings, "avc"),
	260:       {[]field{{kindU8, "amtrelay.precedence", ""}, {kindRelay, "amtrelay.relay", ""}}, true},
	261:       single(kindStrings, "resinfo"),
	262:       single(kindStrings, "wallet"),
}
