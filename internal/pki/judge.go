package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"peel/trace"
)

// Code is a stable word for what is wrong with a chain.
type Code = trace.VerdictCode

// Codes.
const (
	OK                  Code = "ok"
	Expired             Code = "expired"
	NotYetValid         Code = "not_yet_valid"
	WrongName           Code = "wrong_name"
	UnknownRoot         Code = "unknown_root"
	SelfSigned          Code = "self_signed"
	MissingIntermediate Code = "missing_intermediate"
	BadKeyUsage         Code = "bad_key_usage"
	WeakSignature       Code = "weak_signature"
	NameConstraints     Code = "name_constraints"
	InvalidCA           Code = "invalid_ca"
	NoCertificate       Code = "no_certificate"
	Invalid             Code = "invalid"
	// Refused is a chain that the client of a capture did not accept, without
	// saying more.
	Refused Code = "refused"
	// NotJudged is what Inspect says of a chain in which it sees no fault.
	NotJudged Code = trace.VerdictNotJudged
)

// Verdict is the judgement on a chain.
type Verdict struct {
	OK   bool
	Code Code
	// Title is one line; Explanation and Try say more and what to do.
	Title, Explanation, Try string
	// Hint says what of the program that asks would help.
	Hint trace.Hint
	// Others are further faults beside the first.
	Others []string
	// Chain is the verified chain, leaf first; nil when there is none.
	Chain []*x509.Certificate
	// Expires is when the first certificate of the chain expires.
	Expires time.Time
}

// JudgeOptions say against what a chain is judged.
type JudgeOptions struct {
	// Name is the host name or address that was asked for; empty when it is not
	// known, and then not judged.
	Name string
	// Roots are the trusted roots; nil means the system's.
	Roots *x509.CertPool
	Now   time.Time
	// Clock names the clock that Now is of, and Distrusts says of a root that it
	// is not among Roots. Empty ones speak of this machine.
	Clock, Distrusts string
}

func (o JudgeOptions) withWords() JudgeOptions {
	if o.Clock == "" {
		o.Clock = "this machine's clock"
	}
	if o.Distrusts == "" {
		o.Distrusts = "which this machine does not trust"
	}
	return o
}

// Judge verifies what a server sent, leaf first, and says in plain words what
// it found.
func Judge(sent []*x509.Certificate, o JudgeOptions) Verdict {
	if len(sent) == 0 {
		return Verdict{Code: NoCertificate, Title: "the server sent no certificate", Try: "the server's TLS configuration lacks a certificate"}
	}
	o = o.withWords()
	leaf := sent[0]
	pool := x509.NewCertPool()
	for _, c := range sent[1:] {
		pool.AddCert(c)
	}
	v := Verdict{Expires: leaf.NotAfter}
	for _, c := range sent {
		if c.NotAfter.Before(v.Expires) {
			v.Expires = c.NotAfter
		}
	}
	opts := x509.VerifyOptions{Roots: o.Roots, Intermediates: pool, CurrentTime: o.Now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	chains, err := leaf.Verify(opts)
	nameErr := o.name(leaf)
	if err == nil && nameErr == nil {
		v.OK, v.Code, v.Chain = true, OK, chains[0]
		v.Title = fmt.Sprintf("valid for %s, issued by %s, trusted through %s, expires in %s", named(o.Name, nameOf(leaf)), issuer(leaf), subject(chains[0][len(chains[0])-1]), days(v.Expires.Sub(o.Now)))
		return v
	}
	if err != nil {
		v.fault(sent, opts, o, err)
		if nameErr != nil {
			v.Others = append(v.Others, wrongName(leaf, o.Name))
		}
	} else {
		v.misnamed(leaf, o.Name)
		if hasNames(leaf) {
			v.Explanation = strings.TrimSpace("The certificate is valid, but not for the name that was asked for. " + v.Explanation)
		}
	}
	v.also()
	return v
}

func (v *Verdict) also() {
	if len(v.Others) > 0 {
		v.Explanation = strings.TrimSpace(v.Explanation + " Also: " + strings.Join(v.Others, "; ") + ".")
	}
}

// name judges the name, if one was asked for.
func (o JudgeOptions) name(leaf *x509.Certificate) error {
	if o.Name == "" {
		return nil
	}
	return leaf.VerifyHostname(o.Name)
}

// misnamed is the verdict on a leaf that is not for the name asked for.
func (v *Verdict) misnamed(leaf *x509.Certificate, name string) {
	v.Code, v.Title = WrongName, wrongName(leaf, name)
	v.Try = "check the host name; if it is right, the server has no certificate for it"
	if _, err := netip.ParseAddr(name); err == nil {
		v.Explanation = "For an address no name is sent (SNI), so a server of several sites answers with the one that it has for that case."
		v.Try = "ask by a name that the certificate is for"
		return
	}
	if !hasNames(leaf) {
		v.Explanation = "Names belong into the subject alternative name; browsers and many other clients do not look at the common name (RFC 9525)."
		v.Try = "the certificate must be issued anew with its names as subject alternative names"
	}
}

// hasNames tells whether a leaf has subject alternative names.
func hasNames(c *x509.Certificate) bool { return len(c.DNSNames)+len(c.IPAddresses) > 0 }

func wrongName(leaf *x509.Certificate, name string) string {
	switch {
	case hasNames(leaf):
	case strings.EqualFold(leaf.Subject.CommonName, name):
		return fmt.Sprintf("the certificate has %s in its common name only, and no subject alternative name", name)
	default:
		return fmt.Sprintf("the certificate has no subject alternative name, only the common name %s, and is not for %s", subject(leaf), name)
	}
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	list := strings.Join(names[:min(len(names), 4)], ", ")
	if len(names) > 4 {
		list += fmt.Sprintf(" and %d more", len(names)-4)
	}
	return fmt.Sprintf("the certificate is for %s, not for %s", list, name)
}

// fault names what Verify found.
func (v *Verdict) fault(sent []*x509.Certificate, opts x509.VerifyOptions, o JudgeOptions, err error) {
	leaf := sent[0]
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid):
		v.invalid(invalid, sent, opts, o)
	case errors.As(err, &authority):
		v.unknown(sent, o)
	default:
		v.Code, v.Title = Invalid, "the certificate of "+subject(leaf)+" is not valid: "+trim(err)
		if strings.Contains(err.Error(), "insecure algorithm") {
			v.Code = WeakSignature
			v.Try = "the certificate must be issued anew with SHA-256 or better"
		}
	}
}

func trim(err error) string { return strings.TrimPrefix(err.Error(), "x509: ") }

func (v *Verdict) invalid(e x509.CertificateInvalidError, sent []*x509.Certificate, opts x509.VerifyOptions, o JudgeOptions) {
	c := e.Cert
	if c == nil {
		c = sent[0]
	}
	which := "the certificate for " + nameOf(c)
	if !c.Equal(sent[0]) {
		which = "the CA certificate " + subject(c)
	}
	switch e.Reason {
	case x509.Expired:
		if v.dates(which, c, o); v.Code == NotYetValid {
			return
		}
		// Would it be trusted otherwise?
		again := opts
		again.CurrentTime = c.NotAfter.Add(-time.Second)
		var dated x509.CertificateInvalidError
		switch _, err := sent[0].Verify(again); {
		case err == nil:
		case errors.As(err, &dated) && dated.Reason == x509.Expired:
			// That moment is nobody's time, and no word is to be said of it.
			if dated.Cert != nil && dated.Cert.NotBefore.After(c.NotAfter) {
				v.Others = append(v.Others, fmt.Sprintf("the CA certificate %s is younger than that, of %s", subject(dated.Cert), utc(dated.Cert.NotBefore)))
			}
		default:
			v.Others = append(v.Others, trim(err))
		}
	case x509.IncompatibleUsage:
		v.Code = BadKeyUsage
		v.Title = which + " may not be used by a server (extended key usage)"
		v.Try = "the server needs a certificate with the usage serverAuth"
	case x509.NotAuthorizedToSign, x509.TooManyIntermediates:
		v.Code, v.Title = InvalidCA, which+" may not sign certificates: "+trim(e)
		v.Try = "the chain was put together wrongly on the server"
	case x509.CANotAuthorizedForThisName, x509.NameConstraintsWithoutSANs:
		v.Code, v.Title = NameConstraints, which+": its CA may not issue for this name: "+trim(e)
	default:
		v.Code, v.Title = Invalid, which+" is not valid: "+trim(e)
	}
}

// dates is the verdict on a certificate outside of its dates.
func (v *Verdict) dates(which string, c *x509.Certificate, o JudgeOptions) {
	if o.Now.Before(c.NotBefore) {
		v.Code = NotYetValid
		v.Title = fmt.Sprintf("%s is not valid before %s, in %s by %s", which, utc(c.NotBefore), days(c.NotBefore.Sub(o.Now)), o.Clock)
		v.Explanation = strings.ToUpper(o.Clock[:1]) + o.Clock[1:] + " says " + utc(o.Now) + "."
		v.Try = "check " + o.Clock + " first; if it is right, the server uses a certificate ahead of its time"
		return
	}
	v.Code = Expired
	v.Title = fmt.Sprintf("%s expired %s, %s ago by %s", which, utc(c.NotAfter), days(o.Now.Sub(c.NotAfter)), o.Clock)
	v.Try = "the server's certificate must be renewed; check " + o.Clock + " too"
}

// unknown tells the ways apart in which a chain does not reach a trusted
// root.
func (v *Verdict) unknown(sent []*x509.Certificate, o JudgeOptions) {
	leaf := sent[0]
	top := leaf
	// Follow the issuers through what was sent.
	for range sent {
		next := issuerAmong(top, sent)
		if next == nil || next.Equal(top) {
			break
		}
		top = next
	}
	switch {
	case selfSigned(leaf):
		v.selfSigned(leaf)
	case selfSigned(top):
		v.Code = UnknownRoot
		v.Title = "the chain ends in " + subject(top) + ", " + o.Distrusts
		v.Explanation = "The chain is whole, but its root is not among the trusted ones."
		v.Try, v.Hint = "a proxy that opens TLS looks like this too; if that CA is yours, trust it", trace.HintTrust
	case len(sent) == 1 || !top.IsCA || top.Equal(leaf):
		v.Code = MissingIntermediate
		v.Title = fmt.Sprintf("the server sent only %d certificate(s); %q, which issued the certificate for %s, is missing", len(sent), issuer(leaf), nameOf(leaf))
		v.Explanation = "Browsers may know the missing one from elsewhere; other programs cannot."
		if len(leaf.IssuingCertificateURL) > 0 {
			v.Explanation += " The certificate says it can be had at " + leaf.IssuingCertificateURL[0] + "."
		}
		v.Try, v.Hint = "the server must send its intermediate certificate as well; if "+issuer(leaf)+" is a private root, trust it", trace.HintTrust
	default:
		v.Code = UnknownRoot
		v.Title = fmt.Sprintf("the chain ends in %s, issued by %s, %s", subject(top), issuer(top), o.Distrusts)
		v.Try, v.Hint = "a further intermediate may be missing; if that CA is yours, trust it", trace.HintTrust
	}
	if o.Now.After(leaf.NotAfter) {
		v.Others = append(v.Others, "it expired "+utc(leaf.NotAfter))
	}
}

func (v *Verdict) selfSigned(leaf *x509.Certificate) {
	v.Code = SelfSigned
	v.Title = "the certificate for " + nameOf(leaf) + " is self-signed: nobody else vouches for it"
	v.Try, v.Hint = "do not go on unless the server is yours; if it is, trust its certificate", trace.HintTrust
}

func issuerAmong(c *x509.Certificate, sent []*x509.Certificate) *x509.Certificate {
	for _, p := range sent {
		if bytes.Equal(p.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(p) == nil {
			return p
		}
	}
	return nil
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

func subject(c *x509.Certificate) string { return named(c.Subject.CommonName, c.Subject.String()) }
func issuer(c *x509.Certificate) string  { return named(c.Issuer.CommonName, c.Issuer.String()) }

func named(cn, all string) string {
	switch {
	case cn != "":
		return cn
	case all != "":
		return all
	}
	return "(no name)"
}

// nameOf returns the first name that a leaf is for.
func nameOf(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	if len(c.IPAddresses) > 0 {
		return c.IPAddresses[0].String()
	}
	return subject(c)
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// days shows a length of time as days, or hours and minutes when it is short.
func days(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + days(-d)
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	case d >= time.Minute:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}
