package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

const version = "0.1.0"

// options are the flags as given. Where curl has a flag, it is curl's.
type options struct {
	method, userAgent, referer, user, proxy              string
	headers, data, dataRaw, dataBinary                   []string
	jsonBody                                             string
	outputs, resolve, connectTo, cookies                 []string
	cookieJar, netrcFile, cacert, cert, key              string
	head, get, follow, followTrusted, insecure, fail     bool
	include, silent, netrc, raw, compressed, v4, v6      bool
	http10, http11, http2, prior, tls12, tls13, parallel bool
	tlsMax, ciphers, curves                              string
	maxTime, connectTimeout, stallTime                   float64
	maxRedirects, parallelMax                            int
	verbose                                              int
	json, color, redact, failOn                          string
	lab                                                  bool
	packets, pcap, har                                   string
	pcapSecrets, noHTTPSRecords                          bool
}

func newFlags() (*options, *pflag.FlagSet) {
	o := &options{}
	f := pflag.NewFlagSet("peel", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.SetOutput(discard{})

	f.StringVarP(&o.method, "request", "X", "", "the method (GET, or POST with a body, unless given)")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "add a header field, or replace a default; 'Name:' takes a default away")
	f.StringArrayVarP(&o.data, "data", "d", nil, "send as form data; @FILE reads a file, @- stdin")
	f.StringArrayVar(&o.dataRaw, "data-raw", nil, "like --data, with @ taken as it is")
	f.StringArrayVar(&o.dataBinary, "data-binary", nil, "like --data, with line ends kept")
	f.StringVar(&o.jsonBody, "json-body", "", "send JSON and ask for JSON; @FILE reads a file")
	f.BoolVarP(&o.get, "get", "G", false, "put the --data into the query of the URL")
	f.BoolVarP(&o.head, "head", "I", false, "ask for the head only (HEAD)")
	f.BoolVarP(&o.follow, "location", "L", false, "follow redirects")
	f.BoolVar(&o.followTrusted, "location-trusted", false, "follow redirects, and send credentials to other hosts too")
	f.IntVar(&o.maxRedirects, "max-redirs", 50, "follow at most that many redirects")
	f.StringVarP(&o.userAgent, "user-agent", "A", "peel/"+version, "the User-Agent field")
	f.StringVarP(&o.referer, "referer", "e", "", "the Referer field")
	f.StringVarP(&o.user, "user", "u", "", "USER:PASSWORD for the Basic scheme")
	f.BoolVarP(&o.netrc, "netrc", "n", false, "take credentials from ~/.netrc")
	f.StringVar(&o.netrcFile, "netrc-file", "", "take credentials from that file")
	f.StringArrayVarP(&o.cookies, "cookie", "b", nil, "send cookies: 'a=b; c=d', or a file in Netscape format")
	f.StringVarP(&o.cookieJar, "cookie-jar", "c", "", "write the cookies to that file at the end")
	f.BoolVar(&o.compressed, "compressed", true, "ask for a compressed body and decompress it")
	f.BoolVar(&o.raw, "raw", false, "do not ask for compression, and leave the body as it comes")

	f.StringArrayVarP(&o.outputs, "output", "o", nil, "write the body to that file (- is stdout); once for each URL")
	f.BoolVarP(&o.include, "include", "i", false, "write the response's head before the body")
	f.BoolVarP(&o.fail, "fail", "f", false, "fail on a status of 400 and above")
	f.BoolVarP(&o.silent, "silent", "s", false, "no story; only a failure is told")
	f.BoolVarP(&o.parallel, "parallel", "Z", false, "make the requests at the same time")
	f.IntVar(&o.parallelMax, "parallel-max", 50, "at most that many at the same time")

	f.BoolVarP(&o.v4, "ipv4", "4", false, "use IPv4 only")
	f.BoolVarP(&o.v6, "ipv6", "6", false, "use IPv6 only")
	f.StringArrayVar(&o.resolve, "resolve", nil, "HOST:PORT:ADDRESS[,ADDRESS]: use that address; * is every host")
	f.BoolVar(&o.noHTTPSRecords, "no-https-records", false, "do not ask for HTTPS records (RFC 9460) beside addresses")
	f.StringArrayVar(&o.connectTo, "connect-to", nil, "HOST1:PORT1:HOST2:PORT2: connect to the second instead of the first")
	f.StringVarP(&o.proxy, "proxy", "x", "", "not there yet")
	f.BoolVarP(&o.http10, "http1.0", "0", false, "speak HTTP/1.0")
	f.BoolVar(&o.http11, "http1.1", false, "speak HTTP/1.1 only")
	f.BoolVar(&o.http2, "http2", false, "speak HTTP/2 (over TLS) only")
	f.BoolVar(&o.prior, "http2-prior-knowledge", false, "speak HTTP/2 without asking, also without TLS")

	f.BoolVarP(&o.insecure, "insecure", "k", false, "go on although the certificate is not valid")
	f.StringVar(&o.cacert, "cacert", "", "trust the CA certificates in that PEM file, and no others")
	f.StringVarP(&o.cert, "cert", "E", "", "client certificate, PEM")
	f.StringVar(&o.key, "key", "", "its private key, PEM; the certificate's file unless given")
	f.BoolVar(&o.tls12, "tlsv1.2", false, "TLS 1.2 or later")
	f.BoolVar(&o.tls13, "tlsv1.3", false, "TLS 1.3 or later")
	f.StringVar(&o.tlsMax, "tls-max", "", "at most that version: 1.2 or 1.3")
	f.StringVar(&o.ciphers, "ciphers", "", "TLS 1.2 cipher suites by their IANA names, separated by : or ,")
	f.StringVar(&o.curves, "curves", "", "groups for the key exchange, separated by :")

	f.Float64VarP(&o.maxTime, "max-time", "m", 0, "give up after that many seconds in all")
	f.Float64Var(&o.connectTimeout, "connect-timeout", 30, "seconds for name, TCP and TLS together")
	f.Float64Var(&o.stallTime, "stall-time", 60, "seconds without a byte of the body")

	f.CountVarP(&o.verbose, "verbose", "v", "-v: each message of each layer; -vv: every field and its bytes")
	f.StringVar(&o.json, "json", "", "print the trace as JSON, on stdout or to --json=FILE")
	f.Lookup("json").NoOptDefVal = "-"
	f.StringVar(&o.har, "har", "", "write the requests as HAR 1.2 to that file (- is stdout)")
	f.StringVar(&o.packets, "packets", "auto", "capture this run's packets: auto (when it may), on, off")
	f.StringVar(&o.pcap, "pcap", "", "store the capture as pcapng in that file, which peel read and Wireshark open; what went unencrypted is in it")
	f.BoolVar(&o.pcapSecrets, "pcap-secrets", false, "store the TLS secrets in it too: whoever has the file can read all")
	f.StringVar(&o.redact, "redact", "on", "hide secrets in what is shown and stored; off shows them")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 4 when there is a finding of that level: info, warning, error")
	f.StringVar(&o.color, "color", "auto", "colour: auto, always, never (NO_COLOR is honoured)")
	f.BoolVar(&o.lab, "lab", false, "do it inside the lab: an origin and a name server in this process")
	return o, f
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// check finds flags that are wrong or exclude each other.
func (o *options) check() error {
	exclusive := func(names string, set ...bool) error {
		n := 0
		for _, s := range set {
			if s {
				n++
			}
		}
		if n > 1 {
			return fmt.Errorf("%s exclude each other; give one", names)
		}
		return nil
	}
	if err := exclusive("-4 and -6", o.v4, o.v6); err != nil {
		return err
	}
	if err := exclusive("--http1.0, --http1.1, --http2 and --http2-prior-knowledge", o.http10, o.http11, o.http2, o.prior); err != nil {
		return err
	}
	if o.pcapSecrets && o.pcap == "" {
		return errors.New("--pcap-secrets needs --pcap FILE")
	}
	if o.har == "-" && o.json == "-" {
		return errors.New("--json and --har cannot both go to stdout; give one a file name")
	}
	if o.proxy != "" {
		return errors.New("--proxy is not there yet")
	}
	if err := checkChoices(colorChoice(o.color), redactChoice(o.redact), failOnChoice(o.failOn), choice{"--packets", o.packets, "auto on off"}); err != nil {
		return err
	}
	for _, f := range []struct {
		name  string
		value float64
	}{{"--max-time", o.maxTime}, {"--connect-timeout", o.connectTimeout}, {"--stall-time", o.stallTime}} {
		if f.value < 0 || f.value > maxSeconds {
			return fmt.Errorf("%s is %v; it takes seconds from 0 to %d", f.name, f.value, maxSeconds)
		}
	}
	if o.maxRedirects < 0 || o.parallelMax < 1 {
		return errors.New("--max-redirs takes 0 or more, --parallel-max 1 or more")
	}
	return nil
}

// maxSeconds is the longest time that a flag takes.
const maxSeconds = 1_000_000

// choice is a flag that takes one of a few words, or none.
type choice struct{ flag, value, allowed string }

func colorChoice(v string) choice  { return choice{"--color", v, "auto always never"} }
func redactChoice(v string) choice { return choice{"--redact", v, "on off"} }
func failOnChoice(v string) choice { return choice{"--fail-on", v, "info warning error"} }

// checkChoices says what is wrong with the first that is.
func checkChoices(choices ...choice) error {
	for _, c := range choices {
		if c.value != "" && !slices.Contains(strings.Fields(c.allowed), c.value) {
			return fmt.Errorf("%s is %q; it takes one of: %s", c.flag, c.value, c.allowed)
		}
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// tlsVersions returns the range of TLS versions asked for.
func (o *options) tlsVersions() (lowest, highest uint16, err error) {
	if o.tls12 {
		lowest = tls.VersionTLS12
	}
	if o.tls13 {
		lowest = tls.VersionTLS13
	}
	switch o.tlsMax {
	case "":
	case "1.2":
		highest = tls.VersionTLS12
	case "1.3":
		highest = tls.VersionTLS13
	default:
		return 0, 0, fmt.Errorf("--tls-max is %q; it takes 1.2 or 1.3", o.tlsMax)
	}
	if highest != 0 && lowest > highest {
		return 0, 0, errors.New("--tlsv1.3 and --tls-max 1.2 leave no version")
	}
	return lowest, highest, nil
}

// cipherSuites looks up TLS 1.2 suites by name. Those of TLS 1.3 cannot be
// chosen in crypto/tls.
func (o *options) cipherSuites() ([]uint16, error) {
	var out []uint16
	for _, name := range strings.FieldsFunc(o.ciphers, func(r rune) bool { return r == ':' || r == ',' || r == ' ' }) {
		id := uint16(0)
		for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
			for _, s := range list {
				if strings.EqualFold(s.Name, name) {
					id = s.ID
				}
			}
		}
		if id == 0 {
			return nil, fmt.Errorf("--ciphers: %q is not known; names are IANA's, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", name)
		}
		out = append(out, id)
	}
	return out, nil
}

func (o *options) groups() ([]tls.CurveID, error) {
	known := map[string]tls.CurveID{"x25519": tls.X25519, "p-256": tls.CurveP256, "p-384": tls.CurveP384, "p-521": tls.CurveP521,
		"secp256r1": tls.CurveP256, "secp384r1": tls.CurveP384, "secp521r1": tls.CurveP521, "x25519mlkem768": tls.X25519MLKEM768}
	var out []tls.CurveID
	for _, name := range strings.FieldsFunc(o.curves, func(r rune) bool { return r == ':' || r == ',' }) {
		id, ok := known[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("--curves: %q is not known; there are X25519, P-256, P-384, P-521, X25519MLKEM768", name)
		}
		out = append(out, id)
	}
	return out, nil
}
