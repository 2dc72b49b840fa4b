package dns

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// ErrorCode is the reason in an ExtendedError (IANA, Extended DNS Error Codes).
type ErrorCode uint16

const (
	EDEOther                ErrorCode = iota // Other
	EDEUnsupportedAlgorithm                  // Unsupported DNSKEY Algorithm
	EDEUnsupportedDigest                     // Unsupported DS Digest Type
	EDEStaleAnswer                           // Stale Answer
	EDEForgedAnswer                          // Forged Answer
	EDEIndeterminate                         // DNSSEC Indeterminate
	EDEBogus                                 // DNSSEC Bogus
	EDESignatureExpired                      // Signature Expired
	EDESignatureNotYetValid                  // Signature Not Yet Valid
	EDEDNSKEYMissing                         // DNSKEY Missing
	EDERRSIGsMissing                         // RRSIGs Missing
	EDENoZoneKeyBit                          // No Zone Key Bit Set
	EDENSECMissing                           // NSEC Missing
	EDECachedError                           // Cached Error
	EDENotReady                              // Not Ready
	EDEBlocked                               // Blocked
	EDECensored                              // Censored
	EDEFiltered                              // Filtered
	EDEProhibited                            // Prohibited
	EDEStaleNXDomain                         // Stale NXDOMAIN Answer
	EDENotAuthoritative                      // Not Authoritative
	EDENotSupported                          // Not Supported
	EDENoReachableAuthority                  // No Reachable Authority
	EDENetworkError                          // Network Error
	EDEInvalidData                           // Invalid Data
	EDEExpiredBeforeValid                    // Signature Expired before Valid
	EDETooEarly                              // Too Early
	EDENSEC3Iterations                       // Unsupported NSEC3 Iterations Value
	EDEPolicy                                // Unable to conform to policy
	EDESynthesized                           // Synthesized
	EDEInvalidQueryType                      // Invalid Query Type
)

var errorNames = [...]string{
	EDEOther:                "Other",
	EDEUnsupportedAlgorithm: "Unsupported DNSKEY Algorithm",
	EDEUnsupportedDigest:    "Unsupported DS Digest Type",
	EDEStaleAnswer:          "Stale Answer",
	EDEForgedAnswer:         "Forged Answer",
	EDEIndeterminate:        "DNSSEC Indeterminate",
	EDEBogus:                "DNSSEC Bogus",
	EDESignatureExpired:     "Signature Expired",
	EDESignatureNotYetValid: "Signature Not Yet Valid",
	EDEDNSKEYMissing:        "DNSKEY Missing",
	EDERRSIGsMissing:        "RRSIGs Missing",
	EDENoZoneKeyBit:         "No Zone Key Bit Set",
	EDENSECMissing:          "NSEC Missing",
	EDECachedError:          "Cached Error",
	EDENotReady:             "Not Ready",
	EDEBlocked:              "Blocked",
	EDECensored:             "Censored",
	EDEFiltered:             "Filtered",
	EDEProhibited:           "Prohibited",
	EDEStaleNXDomain:        "Stale NXDOMAIN Answer",
	EDENotAuthoritative:     "Not Authoritative",
	EDENotSupported:         "Not Supported",
	EDENoReachableAuthority: "No Reachable Authority",
	EDENetworkError:         "Network Error",
	EDEInvalidData:          "Invalid Data",
	EDEExpiredBeforeValid:   "Signature Expired before Valid",
	EDETooEarly:             "Too Early",
	EDENSEC3Iterations:      "Unsupported NSEC3 Iterations Value",
	EDEPolicy:               "Unable to conform to policy",
	EDESynthesized:          "Synthesized",
	EDEInvalidQueryType:     "Invalid Query Type",
}

// Meaning returns the registered name of the code, or "".
func (c ErrorCode) Meaning() string {
	if int(c) < len(errorNames) {
		return errorNames[c]
	}
	return ""
}

// ExtendedError says why an answer is as it is (RFC 8914).
type ExtendedError struct {
	Code ErrorCode
	Text string
}

func (e ExtendedError) String() string {
	s := fmt.Sprint(uint16(e.Code))
	if m := e.Code.Meaning(); m != "" {
		s += " (" + m + ")"
	}
	if e.Text != "" {
		s += ": " + quote(e.Text)
	}
	return s
}

// Option returns e as an EDNS option.
func (e ExtendedError) Option() Option {
	return Option{OptionError, append(binary.BigEndian.AppendUint16(nil, uint16(e.Code)), e.Text...)}
}

func (o Option) extendedError() (ExtendedError, bool) {
	if o.Code != OptionError || len(o.Data) < 2 {
		return ExtendedError{}, false
	}
	// RFC 8914 §2: the text may end in a NUL, which is not part of it.
	text := strings.TrimSuffix(string(o.Data[2:]), "\x00")
	return ExtendedError{ErrorCode(binary.BigEndian.Uint16(o.Data)), text}, true
}

// ExtendedErrors returns the extended errors among the options.
func (e EDNS) ExtendedErrors() []ExtendedError {
	var out []ExtendedError
	for _, o := range e.Options {
		if x, ok := o.extendedError(); ok {
			out = append(out, x)
		}
	}
	return out
}
