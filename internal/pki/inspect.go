package pki

import (
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// Inspect says what is wrong with a chain whatever a client trusts: the dates
// of the leaf, its name, its use, that it is signed by itself. A chain without
// such a fault is NotJudged. It is for those who were not there and cannot
// know: o.Roots is not looked at. Without a Now the dates are not judged.
func Inspect(sent []*x509.Certificate, o JudgeOptions) Verdict {
	if len(sent) == 0 {
		return Judge(nil, o)
	}
	o = o.withWords()
	leaf := sent[0]
	v := Verdict{Expires: leaf.NotAfter}
	dated := !o.Now.IsZero()
	outdated := dated && (o.Now.After(leaf.NotAfter) || o.Now.Before(leaf.NotBefore))
	misnamed := o.name(leaf) != nil
	self := selfSigned(leaf)
	switch {
	case outdated:
		v.dates("the certificate for "+nameOf(leaf), leaf, o)
		if misnamed {
			v.Others = append(v.Others, wrongName(leaf, o.Name))
		}
		if self {
			v.Others = append(v.Others, "it is self-signed")
		}
	case self:
		v.selfSigned(leaf)
		if misnamed {
			v.Others = append(v.Others, wrongName(leaf, o.Name))
		}
	case misnamed:
		v.misnamed(leaf, o.Name)
	case !forServers(leaf):
		v.Code = BadKeyUsage
		v.Title = "the certificate for " + nameOf(leaf) + " may not be used by a server (extended key usage)"
		v.Try = "the server needs a certificate with the usage serverAuth"
	default:
		v.Code, v.Title = NotJudged, sound(leaf, o, dated)
	}
	v.Hint = ""
	v.also()
	return v
}

// sound says of a leaf what could be judged, and what could not.
func sound(leaf *x509.Certificate, o JudgeOptions, dated bool) string {
	var fits, open []string
	if o.Name != "" {
		fits = append(fits, "for "+o.Name)
	} else {
		fits = append(fits, "for "+nameOf(leaf))
		open = append(open, "no name was asked for (SNI)")
	}
	if dated {
		fits = append(fits, fmt.Sprintf("valid from %s to %s", leaf.NotBefore.UTC().Format(time.DateOnly), leaf.NotAfter.UTC().Format(time.DateOnly)))
	} else {
		open = append(open, "the capture does not know the date")
	}
	open = append(open, "what the client trusts is not known")
	return fmt.Sprintf("%s, issued by %s; not judged further: %s", strings.Join(fits, ", "), issuer(leaf), strings.Join(open, ", "))
}

// Distrusted is the verdict on a chain whose issuer a client says not to trust.
func Distrusted(sent []*x509.Certificate, o JudgeOptions) Verdict {
	if len(sent) == 0 {
		return Judge(nil, o)
	}
	v := Verdict{Expires: sent[0].NotAfter}
	v.unknown(sent, o.withWords())
	v.Hint = ""
	v.also()
	return v
}

// forServers tells whether a leaf may be a server's (RFC 5280 §4.2.1.12).
func forServers(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	for _, u := range c.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageAny, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageMicrosoftServerGatedCrypto, x509.ExtKeyUsageNetscapeServerGatedCrypto:
			return true
		}
	}
	return false
}
