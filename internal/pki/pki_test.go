package pki

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peel/internal/needs"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T, intermediate bool) *Authority {
	t.Helper()
	a, err := NewAuthority("Test", intermediate, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, l Leaf) []*x509.Certificate {
	t.Helper()
	if l.Names == nil {
		l.Names = []string{"example.com", "10.0.0.1"}
	}
	c, err := a.Issue(l)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, c)
}

func parse(t *testing.T, c tls.Certificate) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for _, der := range c.Certificate {
		x, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

// cases are the faults, each with what openssl verify says of it.
func cases(t *testing.T) (a *Authority, list map[string]struct {
	sent    []*x509.Certificate
	name    string
	code    Code
	openssl string
}) {
	a = authority(t, true)
	other := authority(t, true)
	type c = struct {
		sent    []*x509.Certificate
		name    string
		code    Code
		openssl string
	}
	return a, map[string]c{
		"good":                 {issue(t, a, Leaf{}), "example.com", OK, ""},
		"good address":         {issue(t, a, Leaf{}), "10.0.0.1", OK, ""},
		"good RSA":             {issue(t, a, Leaf{Key: RSA2048}), "example.com", OK, ""},
		"good Ed25519":         {issue(t, a, Leaf{Key: Ed25519}), "example.com", OK, ""},
		"expired":              {issue(t, a, Leaf{NotAfter: now.Add(-36 * time.Hour), NotBefore: now.AddDate(0, -1, 0)}), "example.com", Expired, "error 10"},
		"not yet valid":        {issue(t, a, Leaf{NotBefore: now.Add(76 * time.Second)}), "example.com", NotYetValid, "error 9"},
		"wrong name":           {issue(t, a, Leaf{}), "www.example.org", WrongName, "error 62"},
		"self-signed":          {issue(t, a, Leaf{SelfSigned: true}), "example.com", SelfSigned, "error 18"},
		"missing intermediate": {issue(t, a, Leaf{OmitIntermediate: true}), "example.com", MissingIntermediate, "error 20"},
		"unknown root":         {append(issue(t, other, Leaf{}), other.Root), "example.com", UnknownRoot, "error 19"},
		"client certificate":   {issue(t, a, Leaf{Client: true}), "example.com", BadKeyUsage, "error 26"},
	}
}

func TestJudgeNamesTheFault(t *testing.T) {
	a, list := cases(t)
	for what, c := range list {
		v := Judge(c.sent, JudgeOptions{Name: c.name, Roots: a.Pool(), Now: now})
		if v.Code != c.code || v.OK != (c.code == OK) || v.Title == "" {
			t.Errorf("%s: %s, %q", what, v.Code, v.Title)
		}
		if !v.OK && v.Try == "" {
			t.Errorf("%s: no advice", what)
		}
	}
	if v := Judge(nil, JudgeOptions{Name: "x", Now: now}); v.Code != NoCertificate {
		t.Error(v)
	}
	both := Judge(issue(t, a, Leaf{NotAfter: now.Add(-time.Hour), NotBefore: now.AddDate(0, -1, 0)}), JudgeOptions{Name: "other.example", Roots: a.Pool(), Now: now})
	if both.Code != Expired || len(both.Others) != 1 || !strings.Contains(both.Explanation, "other.example") {
		t.Errorf("two faults: %+v", both)
	}
	if !strings.Contains(both.Title, "1 h ago") {
		t.Errorf("title %q", both.Title)
	}
}

// openssl verify is another implementation; its error numbers are the oracle.
func TestAgreesWithOpenSSLVerify(t *testing.T) {
	needs.Tool(t, "openssl")
	a, list := cases(t)
	dir := t.TempDir()
	root := filepath.Join(dir, "root.pem")
	os.WriteFile(root, a.PEM(), 0o600)
	for what, c := range list {
		var rest []byte
		for _, x := range c.sent[1:] {
			rest = append(rest, certPEM(x)...)
		}
		leaf, chain := filepath.Join(dir, "leaf.pem"), filepath.Join(dir, "chain.pem")
		os.WriteFile(leaf, certPEM(c.sent[0]), 0o600)
		os.WriteFile(chain, rest, 0o600)
		args := []string{"verify", "-no-CApath", "-no-CAstore", "-CAfile", root, "-purpose", "sslserver", "-attime", "1795176000"}
		if len(rest) > 0 {
			args = append(args, "-untrusted", chain)
		}
		flag := "-verify_hostname"
		if c.name[0] >= '0' && c.name[0] <= '9' {
			flag = "-verify_ip"
		}
		out, err := exec.Command("openssl", append(args, flag, c.name, leaf)...).CombinedOutput()
		if (err == nil) != (c.openssl == "") || !strings.Contains(string(out), c.openssl) {
			t.Errorf("%s: openssl says %v %s, expected %q", what, err, out, c.openssl)
		}
	}
}

func TestPEMHoldsWhatAServerNeeds(t *testing.T) {
	a := authority(t, true)
	c, err := a.Issue(Leaf{Names: []string{"example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := PEM(c)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil || len(pair.Certificate) != 2 {
		t.Fatalf("%d certificates, %v", len(pair.Certificate), err)
	}
}

// Of a chain that nobody of this machine was shown, what is wrong for every
// client is told, and that the rest was not judged.
func TestInspect(t *testing.T) {
	a, list := cases(t)
	for what, c := range list {
		want := c.code
		switch want {
		case OK, MissingIntermediate, UnknownRoot:
			want = NotJudged // it depends on what the client trusts
		}
		v := Inspect(c.sent, JudgeOptions{Name: c.name, Now: now, Clock: "the capture's clock"})
		if v.Code != want || v.OK || v.Title == "" || strings.Contains(v.Title+v.Explanation+v.Try, "this machine") {
			t.Errorf("%s: %+v", what, v)
		}
	}
	good := issue(t, a, Leaf{})
	if v := Inspect(good, JudgeOptions{Now: now}); !strings.Contains(v.Title, "no name was asked for (SNI)") || strings.Contains(v.Title, "10.0.0.1") {
		t.Errorf("without a name: %q", v.Title)
	}
	expired := issue(t, a, Leaf{NotAfter: now.Add(-time.Hour), NotBefore: now.AddDate(0, -1, 0)})
	if v := Inspect(expired, JudgeOptions{Name: "example.com"}); v.Code != NotJudged || !strings.Contains(v.Title, "the capture does not know the date") {
		t.Errorf("without a clock: %+v", v)
	}
	both := Inspect(expired, JudgeOptions{Name: "other.example", Now: now})
	if both.Code != Expired || !strings.Contains(both.Explanation, "other.example") {
		t.Errorf("two faults: %+v", both)
	}
	if v := Distrusted(issue(t, a, Leaf{OmitIntermediate: true}), JudgeOptions{Now: now, Distrusts: "which the client does not trust"}); v.Code != MissingIntermediate {
		t.Errorf("distrusted, alone: %+v", v)
	}
	if v := Distrusted(good, JudgeOptions{Now: now, Distrusts: "which the client does not trust"}); v.Code != UnknownRoot || !strings.Contains(v.Title, "which the client does not trust") {
		t.Errorf("distrusted: %+v", v)
	}
}

// A name in the common name alone is said to be there, and not for nobody.
func TestCommonNameOnly(t *testing.T) {
	a := authority(t, true)
	key, err := newKey(ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}, a.Intermediate, key.Public(), a.interKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"localhost":   "the certificate has localhost in its common name only, and no subject alternative name",
		"example.com": "the certificate has no subject alternative name, only the common name localhost, and is not for example.com",
	} {
		v := Judge([]*x509.Certificate{leaf, a.Intermediate}, JudgeOptions{Name: name, Roots: a.Pool(), Now: now})
		if v.Code != WrongName || v.Title != want || !strings.Contains(v.Explanation, "do not look at the common name") || strings.Contains(v.Explanation, "is valid") {
			t.Errorf("%+v", v)
		}
	}
}

// A leaf that had expired before its issuer came to be: no moment is told as
// the current time but this machine's.
func TestYoungerIntermediate(t *testing.T) {
	a := authority(t, true)
	v := Judge(issue(t, a, Leaf{NotBefore: now.AddDate(-7, 0, 0), NotAfter: now.AddDate(-6, 0, 0)}), JudgeOptions{Name: "example.com", Roots: a.Pool(), Now: now})
	if v.Code != Expired || strings.Contains(v.Explanation, "current time") || v.Explanation != "Also: the CA certificate Test Intermediate is younger than that, of 2021-11-20 12:00 UTC." {
		t.Errorf("%+v", v)
	}
}
