package analyze

import (
	"bytes"
	"io"
	"time"

	words "peel/evidence/failure"
	"peel/internal/content"
	"peel/internal/pki"
	"peel/trace"
	"peel/wire/tlswire"
)

// capturesBegin is when there were captures of TLS: a clock that says less was
// never set.
var capturesBegin = time.Date(1996, 1, 1, 0, 0, 0, 0, time.UTC)

// maxUnpacked bounds what a compressed Certificate message may become.
const maxUnpacked = 1 << 18

// unpackCertificate returns the Certificate message that another one holds
// compressed (RFC 8879 §4), or nil.
func unpackCertificate(msg []byte) []byte {
	z, err := tlswire.ParseCompressedCertificate(msg)
	coding := map[uint16]string{1: "deflate", 2: "br", 3: "zstd"}[z.Algorithm]
	if err != nil || coding == "" || z.Length > maxUnpacked {
		return nil
	}
	r, err := content.NewReader(bytes.NewReader(z.Packed), coding, content.Limit{MaxBytes: maxUnpacked})
	if err != nil {
		return nil
	}
	b, err := io.ReadAll(r)
	if err != nil || len(b) != z.Length {
		return nil
	}
	return append([]byte{byte(tlswire.TypeCertificate), byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}, b...)
}

// certificates judges what a server sent, unless a program that was there has
// told. A capture has its own time; the name is the one in the ClientHello.
// What the client trusts is not in it: roots are judged where the reader gave
// some.
func (c *tlsConn) certificates(f *trace.TLS, list []sentCertificate) {
	if c.c.told || len(list) == 0 {
		return
	}
	for _, s := range list {
		if s.x509 == nil {
			return
		}
		c.chain = append(c.chain, s.x509)
	}
	o := c.judging()
	by := "the capture's clock"
	if o.Now.IsZero() {
		by = "no clock, as the capture's was never set,"
	}
	if o.Name != "" {
		by += " and the name in the ClientHello"
	} else {
		by += ", without a name, as the ClientHello has none"
	}
	if roots := c.c.a.lim.Roots; roots != nil && !o.Now.IsZero() {
		o.Roots = roots
		c.verdict(pki.Judge(c.chain, o), by+", with the roots that were given")
		return
	}
	c.verdict(pki.Inspect(c.chain, o), by)
}

func (c *tlsConn) judging() pki.JudgeOptions {
	o := pki.JudgeOptions{Name: c.facts().SNI, Now: c.c.a.now.Std(), Clock: "the capture's clock", Distrusts: "which is not among the roots that were given"}
	if o.Now.Before(capturesBegin) {
		o.Now = time.Time{}
	}
	return o
}

func (c *tlsConn) verdict(v pki.Verdict, against string) {
	c.facts().Verdict = &trace.Verdict{OK: v.OK, Code: v.Code, Reason: v.Title, Explanation: v.Explanation, Try: v.Try, Against: against}
}

// distrusted joins a client's word that it does not know the issuer to the
// chain that it got.
func (c *tlsConn) distrusted() {
	if v := c.facts().Verdict; v == nil || v.Code != trace.VerdictNotJudged || len(c.chain) == 0 {
		return
	}
	o := c.judging()
	o.Distrusts = "which the client does not trust"
	c.verdict(pki.Distrusted(c.chain, o), words.UnknownCA)
}
