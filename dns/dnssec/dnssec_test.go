package dnssec

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"peel/dns"
	"peel/dns/zone"
	"peel/internal/needs"
)

const sample = `$TTL 300
@ SOA NS Root.Mail 1 3600 600 86400 60
@ NS ns
@ MX 10 Mail
ns A 192.0.2.1
MAIL AAAA 2001:db8::1
www CNAME mail
*.w TXT "a" "B"
_s._tcp SRV 0 5 5060 Mail
sub NS ns.sub
ns.sub A 192.0.2.2
old DNAME New
svc HTTPS 1 . alpn=h2
rp RP Ada.example. Txt.example.
naptr NAPTR 10 10 "u" "E2U+sip" "!^.*$!sip:x@y!" Some.example.
multi A 192.0.2.9
multi A 192.0.2.5
multi A 192.0.2.7
`

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, name), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func read(t *testing.T, file string) []dns.Resource {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := zone.Read(f, file, zone.ReadOptions{Origin: dns.MustName("example.test"), TTL: 60})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func setOf(records []dns.Resource, name dns.Name, typ dns.Type) (set []dns.Resource) {
	for _, rr := range records {
		if rr.Type == typ && rr.Name.EqualFold(name) {
			set = append(set, rr)
		}
	}
	return set
}

// BIND signs a zone with every algorithm; each signature is found good, and
// none when a bit of it or of what it covers is another.
func TestRFC4035_5_3_SignaturesOfBIND(t *testing.T) {
	needs.Long(t)
	for algorithm, number := range map[string]uint8{
		"RSASHA1": 5, "NSEC3RSASHA1": 7, "RSASHA256": 8, "RSASHA512": 10, "ECDSAP256SHA256": 13, "ECDSAP384SHA384": 14, "ED25519": 15, "ED448": 16,
	} {
		t.Run(algorithm, func(t *testing.T) {
			dir := t.TempDir()
			os.WriteFile(filepath.Join(dir, "zone"), []byte(sample), 0o644)
			args := []string{"-q", "-a", algorithm}
			if number <= 10 {
				args = append(args, "-b", "2048")
			}
			run(t, dir, "dnssec-keygen", append(args, "-f", "KSK", "example.test")...)
			run(t, dir, "dnssec-keygen", append(args, "example.test")...)
			run(t, dir, "dnssec-signzone", "-S", "-P", "-K", ".", "-o", "example.test", "-f", "signed", "zone")
			records := read(t, filepath.Join(dir, "signed"))
			var keys []dns.DNSKEY
			for _, rr := range setOf(records, dns.MustName("example.test"), dns.TypeDNSKEY) {
				keys = append(keys, rr.Value().(dns.DNSKEY))
			}
			now := time.Now()
			checked := 0
			for _, rr := range records {
				sig, ok := rr.Value().(dns.RRSIG)
				if !ok {
					continue
				}
				i := slices.IndexFunc(keys, func(k dns.DNSKEY) bool { return k.Tag() == sig.KeyTag })
				if i < 0 {
					t.Fatalf("no key %d", sig.KeyTag)
				}
				set := setOf(records, rr.Name, sig.Covered)
				err := Verify(sig, keys[i], set, now)
				if number == 16 {
					if Supported(16) || !errors.Is(err, ErrUnsupported) {
						t.Fatalf("Ed448: %v", err)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s %s: %v", rr.Name, sig.Covered, err)
				}
				checked++
				slices.Reverse(set) // the order on the wire means nothing
				if err := Verify(sig, keys[i], set, now); err != nil {
					t.Errorf("%s %s, reversed: %v", rr.Name, sig.Covered, err)
				}
				bad := sig
				bad.Signature = slices.Clone(sig.Signature)
				bad.Signature[len(bad.Signature)/2] ^= 1
				if Verify(bad, keys[i], set, now) == nil {
					t.Errorf("%s %s: a changed signature is good", rr.Name, sig.Covered)
				}
				changed := slices.Clone(set)
				changed[0].Data = changed[0].Data[:len(changed[0].Data)-1] + string(changed[0].Data[len(changed[0].Data)-1]^1)
				if Verify(sig, keys[i], changed, now) == nil {
					t.Errorf("%s %s: a changed record is good", rr.Name, sig.Covered)
				}
				if err := Verify(sig, keys[i], set, now.AddDate(0, 3, 0)); !errors.Is(err, ErrExpired) {
					t.Errorf("in three months: %v", err)
				}
				if err := Verify(sig, keys[i], set, now.AddDate(0, -3, 0)); !errors.Is(err, ErrNotYetValid) {
					t.Errorf("three months ago: %v", err)
				}
			}
			if number != 16 && checked < 15 {
				t.Errorf("only %d signatures", checked)
			}
			// The parent's digest names the key-signing key.
			for _, rr := range read(t, filepath.Join(dir, "dsset-example.test.")) {
				ds := rr.Value().(dns.DS)
				if !slices.ContainsFunc(keys, func(k dns.DNSKEY) bool { return MatchesDS(ds, dns.MustName("Example.Test"), k) }) {
					t.Errorf("no key for DS %s", rr.Text())
				}
			}
		})
	}
}

// What our signer signs, BIND and ldns verify.
func TestOurSignaturesAreVerifiedByOthers(t *testing.T) {
	origin := dns.MustName("example.test")
	records, err := zone.Read(strings.NewReader(sample), "sample", zone.ReadOptions{Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(origin, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signed, err := s.SignZone(records, 60, now.Add(-time.Hour), now.Add(time.Hour), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var text strings.Builder
	for _, rr := range signed {
		text.WriteString(rr.String() + "\n")
	}
	os.WriteFile(filepath.Join(dir, "signed"), []byte(text.String()), 0o644)
	run(t, dir, "dnssec-verify", "-z", "-o", "example.test", "signed")
	run(t, dir, "ldns-verify-zone", "signed")
}

// RFC 5155 appendix A: the hashes of its example zone.
func TestRFC5155_A_Hashes(t *testing.T) {
	for name, want := range map[string]string{
		"example": "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom", "a.example": "35mthgpgcu1qg68fab165klnsnk3dpvl", "ai.example": "gjeqe526plbf1g8mklp59enfd789njgi",
		"ns1.example": "2t7b4g4vsa5smi47k61mv5bv1a22bojr", "ns2.example": "q04jkcevqvmu85r014c7dkba38o0ji5r", "w.example": "k8udemvp1j2f7eg6jebps17vp3n8i58h",
		"*.w.example": "r53bq7cc2uvmubfu5ocmm6pers9tk9en", "x.w.example": "b4um86eghhds6nea196smvmlo4ors995", "y.w.example": "ji6neoaepv8b5o6k4ev33abha8ht9fgc",
		"x.y.w.example": "2vptu5timamqttgl4luu9kg21e0aor3s", "xx.example": "t644ebqk9bibcna874givr6joj62mlhv", "XX.Example": "t644ebqk9bibcna874givr6joj62mlhv",
	} {
		if got := zone.Hash(dns.MustName(name), "\xaa\xbb\xcc\xdd", 12); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// What records prove, by hand: the rules that are easy to get wrong.
func TestProofs(t *testing.T) {
	nsec := func(owner, next string, types ...dns.Type) dns.Resource {
		return dns.NewResource(dns.MustName(owner), 60, dns.NSEC{Next: dns.MustName(next), Types: types})
	}
	z := dns.MustName("example")
	for _, c := range []struct {
		rule    string
		records []dns.Resource
		prove   func(d *Denial) Proof
		want    Proof
	}{
		{"RFC4035_5_4 name and wildcard covered", []dns.Resource{nsec("a.example", "m.example", dns.TypeA), nsec("example", "a.example", dns.TypeSOA)},
			func(d *Denial) Proof { return d.NoName(dns.MustName("b.example")) }, Proved},
		{"RFC4035_5_4 the wildcard is not covered", []dns.Resource{nsec("a.example", "m.example", dns.TypeA)}, func(d *Denial) Proof { return d.NoName(dns.MustName("b.example")) }, Unproved},
		{"RFC6840_4_1 a span from a delegation says nothing below it", []dns.Resource{nsec("a.example", "m.example", dns.TypeNS), nsec("example", "a.example", dns.TypeSOA)},
			func(d *Denial) Proof { return d.NoName(dns.MustName("x.a.example")) }, Unproved},
		{"RFC6840_4_3 an alias at the name", []dns.Resource{nsec("a.example", "m.example", dns.TypeCNAME)}, func(d *Denial) Proof { return d.NoData(dns.MustName("a.example"), dns.TypeA) }, Unproved},
		{"RFC6840_4_4 DS denied by the child's apex", []dns.Resource{nsec("a.example", "m.example", dns.TypeNS, dns.TypeSOA)},
			func(d *Denial) Proof { return d.NoData(dns.MustName("a.example"), dns.TypeDS) }, Unproved},
		{"RFC6840_4_1 A denied by the parent's side of a cut", []dns.Resource{nsec("a.example", "m.example", dns.TypeNS)},
			func(d *Denial) Proof { return d.NoData(dns.MustName("a.example"), dns.TypeA) }, Unproved},
		{"RFC4035_5_4 an empty non-terminal", []dns.Resource{nsec("a.example", "x.m.example", dns.TypeA)}, func(d *Denial) Proof { return d.NoData(dns.MustName("m.example"), dns.TypeA) }, Proved},
		{"a name with others below it exists", []dns.Resource{nsec("a.example", "x.m.example", dns.TypeA), nsec("example", "a.example", dns.TypeSOA)},
			func(d *Denial) Proof { return d.NoName(dns.MustName("m.example")) }, Unproved},
		{"the last span reaches round", []dns.Resource{nsec("y.example", "example", dns.TypeA), nsec("example", "a.example", dns.TypeSOA)},
			func(d *Denial) Proof { return d.NoName(dns.MustName("z.example")) }, Proved},
		{"a record of another zone", []dns.Resource{nsec("a.other", "z.other", dns.TypeA)}, func(d *Denial) Proof { return d.NoName(dns.MustName("b.example")) }, Unproved},
		{"RFC5155_6 unsigned delegation", []dns.Resource{nsec("a.example", "m.example", dns.TypeNS)}, func(d *Denial) Proof { return d.Delegation(dns.MustName("a.example")) }, Proved},
		{"no delegation there", []dns.Resource{nsec("a.example", "m.example", dns.TypeA)}, func(d *Denial) Proof { return d.Delegation(dns.MustName("a.example")) }, Unproved},
		{"RFC9276_3_2 too many iterations", []dns.Resource{dns.NewResource(dns.MustName("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example"), 60,
			dns.NSEC3{HashAlgorithm: 1, Iterations: 151, NextHash: strings.Repeat("x", 20)})}, func(d *Denial) Proof { return d.NoName(dns.MustName("b.example")) }, TooManyIterations},
	} {
		if got := c.prove(NewDenial(z, c.records)); got != c.want {
			t.Errorf("%s: %d, want %d", c.rule, got, c.want)
		}
	}
}

// Keys and signatures that are not what they should be are refused.
func TestMalformedKeys(t *testing.T) {
	set := []dns.Resource{dns.NewResource(dns.MustName("a.example"), 60, dns.TXT{Strings: []string{"x"}})}
	now := time.Unix(1_800_000_000, 0)
	for _, algorithm := range []uint8{5, 7, 8, 10, 13, 14, 15} {
		for _, size := range []int{0, 1, 2, 3, 4, 31, 32, 33, 63, 64, 65, 96, 600} {
			k := dns.DNSKEY{Flags: 256, Protocol: 3, Algorithm: algorithm, PublicKey: make([]byte, size)}
			sig := dns.RRSIG{Covered: dns.TypeTXT, Algorithm: algorithm, Labels: 2, OriginalTTL: 60, Inception: uint32(now.Unix()) - 10, Expiration: uint32(now.Unix()) + 10,
				KeyTag: k.Tag(), Signer: dns.MustName("example"), Signature: make([]byte, 64)}
			if Verify(sig, k, set, now) == nil {
				t.Errorf("algorithm %d, key of %d octets", algorithm, size)
			}
		}
	}
}

// RFC 3110 lets RSA keys have 512 bits; what so short a key signs is not
// relied on, and that is the reason that is given.
func TestShortRSAKeys(t *testing.T) {
	modulus := make([]byte, 64)
	for i := range modulus {
		modulus[i] = byte(0xc1 + i*2)
	}
	k := dns.DNSKEY{Flags: 257, Protocol: 3, Algorithm: 8, PublicKey: append([]byte{3, 1, 0, 1}, modulus...)}
	now := time.Unix(1e9, 0)
	set := []dns.Resource{dns.NewResource(dns.MustName("a.test"), 60, dns.TXT{Strings: []string{"x"}})}
	sig := dns.RRSIG{Covered: dns.TypeTXT, Algorithm: 8, Labels: 2, OriginalTTL: 60, Inception: uint32(now.Unix()) - 1, Expiration: uint32(now.Unix()) + 1,
		KeyTag: k.Tag(), Signer: dns.MustName("a.test"), Signature: make([]byte, 64)}
	if err := Verify(sig, k, set, now); err == nil || errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "512 bits") {
		t.Error(err)
	}
}
