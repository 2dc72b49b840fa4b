// Package pki makes X.509 certificates by property and judges chains in plain
// words. Verification is crypto/x509's.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// KeyType is the kind of a key pair.
type KeyType uint8

// Key types. The zero value is ECDSA on P-256.
const (
	ECDSAP256 KeyType = iota
	RSA2048
	Ed25519
)

// Authority is a certificate authority made on the spot. Keys come from the
// system's entropy: crypto/ecdsa and crypto/rsa take no other.
type Authority struct {
	Root         *x509.Certificate
	Intermediate *x509.Certificate // nil when leaves are signed by the root
	rootKey      crypto.Signer
	interKey     crypto.Signer
	serial       int64
	now          time.Time
}

// NewAuthority makes a root that is valid for ten years around now, and with
// intermediate also one certificate below it that signs the leaves.
func NewAuthority(name string, intermediate bool, now time.Time) (*Authority, error) {
	a := &Authority{now: now}
	key, err := newKey(ECDSAP256)
	if err != nil {
		return nil, err
	}
	a.rootKey = key
	if a.Root, err = a.sign(a.ca(name+" Root"), nil, key.Public(), key); err != nil {
		return nil, err
	}
	if !intermediate {
		return a, nil
	}
	if a.interKey, err = newKey(ECDSAP256); err != nil {
		return nil, err
	}
	t := a.ca(name + " Intermediate")
	t.MaxPathLenZero = true
	a.Intermediate, err = a.sign(t, a.Root, a.interKey.Public(), a.rootKey)
	return a, err
}

func (a *Authority) ca(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name, Organization: []string{"peel"}},
		NotBefore: a.now.AddDate(-5, 0, 0), NotAfter: a.now.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func newKey(t KeyType) (crypto.Signer, error) {
	switch t {
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case Ed25519:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func (a *Authority) sign(t, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	a.serial++
	t.SerialNumber = big.NewInt(a.serial)
	if parent == nil {
		parent = t
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Pool returns a pool that trusts the root.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Root)
	return p
}

// PEM returns the root in PEM.
func (a *Authority) PEM() []byte { return certPEM(a.Root) }

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// Leaf describes a certificate to issue. The zero value but for Names is a
// good server certificate.
type Leaf struct {
	// Names are DNS names and IP addresses.
	Names []string
	Key   KeyType
	// NotBefore and NotAfter default to a day ago and 90 days ahead.
	NotBefore, NotAfter time.Time
	// Client makes it a client's certificate, without use as a server's.
	Client bool
	// OmitIntermediate leaves the intermediate out of what is sent.
	OmitIntermediate bool
	// SelfSigned signs it with its own key.
	SelfSigned bool
}

// Issue makes a certificate with its key and the chain to send.
func (a *Authority) Issue(l Leaf) (tls.Certificate, error) {
	key, err := newKey(l.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		NotBefore: a.now.AddDate(0, 0, -1), NotAfter: a.now.AddDate(0, 0, 90),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if l.Key == RSA2048 {
		t.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	if !l.NotBefore.IsZero() {
		t.NotBefore = l.NotBefore
	}
	if !l.NotAfter.IsZero() {
		t.NotAfter = l.NotAfter
	}
	if l.Client {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for _, n := range l.Names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	if len(l.Names) > 0 {
		t.Subject.CommonName = l.Names[0]
	}
	parent, signer := a.Root, a.rootKey
	if a.Intermediate != nil {
		parent, signer = a.Intermediate, a.interKey
	}
	if l.SelfSigned {
		parent, signer = nil, key
	}
	c, err := a.sign(t, parent, key.Public(), signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	out := tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
	if a.Intermediate != nil && !l.OmitIntermediate && !l.SelfSigned {
		out.Certificate = append(out.Certificate, a.Intermediate.Raw)
	}
	return out, nil
}

// PEM returns a certificate's chain and its key (PKCS #8) in PEM, as servers
// read them from files.
func PEM(c tls.Certificate) (chain, key []byte, err error) {
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("pki: %w", err)
	}
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
