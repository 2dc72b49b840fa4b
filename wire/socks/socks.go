// Package socks reads and builds the messages by which a client asks a proxy for
// a connection: SOCKS5 (RFC 1928) with user name and password (RFC 1929), and
// SOCKS4 with 4a. Ports are in network byte order.
package socks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Versions are the first byte of a message.
const (
	Version4 = 4
	Version5 = 5
)

// ErrShort says that a message has not come whole yet.
var ErrShort = errors.New("socks: the message is not whole")

// Method is a way to authenticate (RFC 1928 §3).
type Method uint8

// Methods.
const (
	NoAuthentication Method = 0
	GSSAPI           Method = 1
	UsernamePassword Method = 2
	NoneAcceptable   Method = 0xff
)

// String returns the method's name.
func (m Method) String() string {
	switch m {
	case NoAuthentication:
		return "no authentication"
	case GSSAPI:
		return "GSSAPI"
	case UsernamePassword:
		return "user name and password"
	case NoneAcceptable:
		return "none is acceptable"
	}
	return "method " + strconv.Itoa(int(m))
}

// Command is what the proxy is asked for (RFC 1928 §4).
type Command uint8

// Commands.
const (
	Connect      Command = 1
	Bind         Command = 2
	UDPAssociate Command = 3
)

// String returns the command's name.
func (c Command) String() string {
	switch c {
	case Connect:
		return "CONNECT"
	case Bind:
		return "BIND"
	case UDPAssociate:
		return "UDP ASSOCIATE"
	}
	return "command " + strconv.Itoa(int(c))
}

// Reply is what the proxy answers: 0 for success. Those of SOCKS4 are 90 and up.
type Reply uint8

// Granted tells whether the request was granted.
func (r Reply) Granted() bool { return r == 0 || r == 90 }

var replies = map[Reply]string{
	0: "succeeded", 1: "general failure", 2: "not allowed by the proxy's rules", 3: "network unreachable", 4: "host unreachable", 5: "connection refused",
	6: "TTL expired", 7: "command not supported", 8: "address type not supported",
	90: "granted", 91: "rejected or failed", 92: "rejected: the proxy cannot reach the client's identd", 93: "rejected: the client's identd names another user",
}

// String returns the reply's meaning (RFC 1928 §6).
func (r Reply) String() string {
	if s, ok := replies[r]; ok {
		return s
	}
	return "reply " + strconv.Itoa(int(r))
}

// Target is a host and a port; the host is an address or a name.
type Target struct {
	Addr netip.Addr // not valid when Name is given
	Name string
	Port uint16
}

// Host is the address or the name.
func (t Target) Host() string {
	if t.Addr.IsValid() {
		return t.Addr.String()
	}
	return t.Name
}

// String returns "host:port", with brackets around an IPv6 address.
func (t Target) String() string {
	if t.Addr.IsValid() {
		return netip.AddrPortFrom(t.Addr, t.Port).String()
	}
	return t.Name + ":" + strconv.Itoa(int(t.Port))
}

// Address types (RFC 1928 §5).
const (
	typeIPv4 = 1
	typeName = 3
	typeIPv6 = 4
)

// ParseGreeting reads the methods that a client offers, and tells the length of
// the message in bytes.
func ParseGreeting(b []byte) (methods []Method, n int, err error) {
	switch {
	case len(b) < 2:
		return nil, 0, ErrShort
	case b[0] != Version5 || b[1] == 0:
		return nil, 0, fmt.Errorf("socks: version %d with %d methods is no greeting of version 5", b[0], b[1])
	case len(b) < 2+int(b[1]):
		return nil, 0, ErrShort
	}
	for _, m := range b[2 : 2+int(b[1])] {
		methods = append(methods, Method(m))
	}
	return methods, 2 + int(b[1]), nil
}

// ParseMethod reads the proxy's choice.
func ParseMethod(b []byte) (m Method, n int, err error) {
	switch {
	case len(b) < 2:
		return 0, 0, ErrShort
	case b[0] != Version5:
		return 0, 0, fmt.Errorf("socks: version %d in the choice of a method", b[0])
	}
	return Method(b[1]), 2, nil
}

// ParseLogin reads a user name; the password that follows it is only measured
// (RFC 1929 §2).
func ParseLogin(b []byte) (user string, n int, err error) {
	switch {
	case len(b) < 2:
		return "", 0, ErrShort
	case b[0] != 1:
		return "", 0, fmt.Errorf("socks: version %d of user name and password", b[0])
	case len(b) < 3+int(b[1]):
		return "", 0, ErrShort
	}
	n = 3 + int(b[1]) + int(b[2+int(b[1])])
	if len(b) < n {
		return "", 0, ErrShort
	}
	return string(b[2 : 2+int(b[1])]), n, nil
}

// ParseLoginStatus reads whether the proxy takes the password.
func ParseLoginStatus(b []byte) (ok bool, n int, err error) {
	if len(b) < 2 {
		return false, 0, ErrShort
	}
	return b[1] == 0, 2, nil
}

// Request asks for a connection. User is of SOCKS4.
type Request struct {
	Version uint8
	Command Command
	Target  Target
	User    string
}

// ParseRequest reads a request of SOCKS5 or SOCKS4, by its first byte.
func ParseRequest(b []byte) (Request, int, error) {
	if len(b) < 2 {
		return Request{}, 0, ErrShort
	}
	r := Request{Version: b[0], Command: Command(b[1])}
	switch b[0] {
	case Version5:
		t, n, err := parseTarget(b)
		r.Target = t
		return r, n, err
	case Version4:
		n, err := r.parse4(b)
		return r, n, err
	}
	return Request{}, 0, fmt.Errorf("socks: version %d in a request", b[0])
}

// ParseReply reads the answer to a request of that version. The target is the
// address that the proxy connects from.
func ParseReply(version uint8, b []byte) (Reply, Target, int, error) {
	if version == Version4 {
		if len(b) < 8 {
			return 0, Target{}, 0, ErrShort
		}
		if b[0] != 0 {
			return 0, Target{}, 0, fmt.Errorf("socks: a reply of SOCKS4 begins with 0, not %d", b[0])
		}
		return Reply(b[1]), Target{Addr: netip.AddrFrom4([4]byte(b[4:8])), Port: binary.BigEndian.Uint16(b[2:])}, 8, nil
	}
	if len(b) < 2 {
		return 0, Target{}, 0, ErrShort
	}
	if b[0] != Version5 {
		return 0, Target{}, 0, fmt.Errorf("socks: version %d in a reply", b[0])
	}
	t, n, err := parseTarget(b)
	return Reply(b[1]), t, n, err
}

// parseTarget reads the address of a request or reply of SOCKS5, which stands at
// byte 3.
func parseTarget(b []byte) (t Target, n int, err error) {
	if len(b) < 5 {
		return t, 0, ErrShort
	}
	switch b[3] {
	case typeIPv4:
		n = 4 + 4
	case typeIPv6:
		n = 4 + 16
	case typeName:
		n = 5 + int(b[4])
	default:
		return t, 0, fmt.Errorf("socks: address type %d is not known", b[3])
	}
	if len(b) < n+2 {
		return t, 0, ErrShort
	}
	if b[3] == typeName {
		t.Name = string(b[5:n])
	} else {
		t.Addr, _ = netip.AddrFromSlice(b[4:n])
	}
	t.Port = binary.BigEndian.Uint16(b[n:])
	return t, n + 2, nil
}

// maxString bounds the strings of SOCKS4, which end with a zero byte.
const maxString = 512

func (r *Request) parse4(b []byte) (int, error) {
	if len(b) < 9 {
		return 0, ErrShort
	}
	r.Target.Port = binary.BigEndian.Uint16(b[2:])
	ip := [4]byte(b[4:8])
	n := 8
	word := func() (string, error) {
		rest := b[n:min(len(b), n+maxString)]
		i := strings.IndexByte(string(rest), 0)
		switch {
		case i >= 0:
			n += i + 1
			return string(rest[:i]), nil
		case len(rest) == maxString:
			return "", fmt.Errorf("socks: a string of more than %d bytes", maxString)
		}
		return "", ErrShort
	}
	var err error
	if r.User, err = word(); err != nil {
		return 0, err
	}
	// SOCKS4a: an address 0.0.0.x says that a name follows.
	if ip[0]|ip[1]|ip[2] == 0 && ip[3] != 0 {
		if r.Target.Name, err = word(); err != nil {
			return 0, err
		}
		return n, nil
	}
	r.Target.Addr = netip.AddrFrom4(ip)
	return n, nil
}

// AppendGreeting appends a greeting that offers methods, at most 255.
func AppendGreeting(b []byte, methods ...Method) []byte {
	b = append(b, Version5, byte(len(methods)))
	for _, m := range methods {
		b = append(b, byte(m))
	}
	return b
}

// Append appends the request. A name of SOCKS5 is at most 255 bytes long.
func (r Request) Append(b []byte) ([]byte, error) {
	if r.Version == Version4 {
		b = append(b, Version4, byte(r.Command))
		b = binary.BigEndian.AppendUint16(b, r.Target.Port)
		switch {
		case r.Target.Addr.Is4():
			b = append(b, r.Target.Addr.AsSlice()...)
		case r.Target.Addr.IsValid():
			return nil, fmt.Errorf("socks: SOCKS4 has no IPv6 addresses, but the target is %s", r.Target)
		default:
			b = append(b, 0, 0, 0, 1)
		}
		b = append(append(b, r.User...), 0)
		if !r.Target.Addr.IsValid() {
			b = append(append(b, r.Target.Name...), 0)
		}
		return b, nil
	}
	return appendTarget(append(b, Version5, byte(r.Command), 0), r.Target)
}

// AppendReply appends a reply of SOCKS5.
func AppendReply(b []byte, reply Reply, bound Target) ([]byte, error) {
	return appendTarget(append(b, Version5, byte(reply), 0), bound)
}

func appendTarget(b []byte, t Target) ([]byte, error) {
	switch {
	case t.Addr.Is4():
		b = append(append(b, typeIPv4), t.Addr.AsSlice()...)
	case t.Addr.IsValid():
		b = append(append(b, typeIPv6), t.Addr.AsSlice()...)
	case len(t.Name) > 255:
		return nil, fmt.Errorf("socks: a name of %d bytes; 255 fit", len(t.Name))
	default:
		b = append(append(b, typeName, byte(len(t.Name))), t.Name...)
	}
	return binary.BigEndian.AppendUint16(b, t.Port), nil
}
