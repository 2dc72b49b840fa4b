package dns

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// SVCB binds a service to endpoints (RFC 9460). Priority 0 makes the record
// an alias of Target (§2.4.2).
type SVCB struct {
	Priority uint16
	Target   Name
	// Params are in strictly rising order of their keys.
	Params []SvcParam
}

// HTTPS is SVCB for the https scheme (RFC 9460 §9).
type HTTPS struct{ SVCB }

// SvcParam is one parameter. Its value has been checked against the format of
// its key if this package knows it.
type SvcParam struct {
	Key   SvcKey
	Value []byte
}

// SvcKey is the key of a parameter.
type SvcKey uint16

// The keys of RFC 9460 §14.3.2, RFC 9461 and RFC 9540.
const (
	SvcMandatory     SvcKey = 0
	SvcALPN          SvcKey = 1
	SvcNoDefaultALPN SvcKey = 2
	SvcPort          SvcKey = 3
	SvcIPv4Hint      SvcKey = 4
	SvcECH           SvcKey = 5
	SvcIPv6Hint      SvcKey = 6
	SvcDoHPath       SvcKey = 7
	SvcOHTTP         SvcKey = 8
)

var svcKeyNames = []named{
	{0, "mandatory"}, {1, "alpn"}, {2, "no-default-alpn"}, {3, "port"}, {4, "ipv4hint"}, {5, "ech"}, {6, "ipv6hint"},
	{7, "dohpath"}, {8, "ohttp"},
}

// String returns the name of the key, or key123.
func (k SvcKey) String() string { return mnemonic(svcKeyNames, uint16(k), "key") }

// Type returns the number of the record type.
func (SVCB) Type() Type        { return TypeSVCB }
func (HTTPS) Type() Type       { return TypeHTTPS }
func (d HTTPS) String() string { return present(d) }

func (d SVCB) String() string { return present(d) }

func (d SVCB) appendTo(b []byte) ([]byte, error) {
	at := len(b)
	b = appendName(binary.BigEndian.AppendUint16(b, d.Priority), d.Target)
	for i, sp := range d.Params {
		if i > 0 && sp.Key <= d.Params[i-1].Key {
			return nil, fmt.Errorf("parameter %s after %s: keys must rise", sp.Key, d.Params[i-1].Key)
		}
		if len(sp.Value) > 0xffff {
			return nil, fmt.Errorf("parameter %s of %d octets, at most 65535 are possible", sp.Key, len(sp.Value))
		}
		if err := sp.check(); err != nil {
			return nil, err
		}
		b = binary.BigEndian.AppendUint16(b, uint16(sp.Key))
		b = binary.BigEndian.AppendUint16(b, uint16(len(sp.Value)))
		b = append(b, sp.Value...)
	}
	return b, consistent(string(b[at:]))
}

// consistent holds the parameters of a record against each other (RFC 9460
// §2.4.3): what is mandatory must be there (§8), and without ALPN identifiers
// there is no other protocol than the default (§7.1.1). An alias has none that
// count.
func consistent(data string) error {
	c := cut{s: data}
	if priority := c.u16(); priority == 0 {
		return nil
	}
	c.name()
	// Keys rise, in the record and in what is mandatory: one walk finds all.
	params, alpn := c, false
	has := func(k SvcKey) bool {
		for params.s != "" && !params.bad {
			key := SvcKey(params.u16())
			if params.take(int(params.u16())); key >= k {
				return key == k
			}
		}
		return false
	}
	for c.s != "" && !c.bad {
		key := SvcKey(c.u16())
		value := cut{s: c.take(int(c.u16()))}
		switch key {
		case SvcALPN: // before no-default-alpn
			alpn = true
		case SvcMandatory:
			for value.s != "" && !value.bad {
				if k := SvcKey(value.u16()); !has(k) {
					return fmt.Errorf("parameter mandatory: %s is not there", k)
				}
			}
		case SvcNoDefaultALPN:
			if !alpn {
				return fmt.Errorf("parameter no-default-alpn: without alpn there is no protocol at all")
			}
		}
	}
	return nil
}

// params holds service parameters against RFC 9460 §2.2.
func (r *reader) params() {
	last := -1
	for r.off < r.end && r.err == nil {
		key := SvcKey(r.u16("key"))
		n := int(r.u16("value length"))
		p := SvcParam{key, r.bytes(n, "value")}
		if r.err != nil {
			return
		}
		if int(key) <= last {
			r.fail("parameter %s after %s: keys must rise", key, SvcKey(last))
		}
		if err := p.check(); err != nil {
			r.fail("%w", err)
		}
		last = int(key)
	}
}

func (c *cut) svcb() SVCB {
	d := SVCB{Priority: c.u16(), Target: c.name()}
	for c.s != "" && !c.bad {
		key := SvcKey(c.u16())
		d.Params = append(d.Params, SvcParam{key, []byte(c.take(int(c.u16())))})
	}
	return d
}

// check holds a value against the wire format of its key (RFC 9460 §7, §8).
func (p SvcParam) check() error {
	n := len(p.Value)
	ok := true
	switch p.Key {
	case SvcMandatory:
		ok = n > 0 && n%2 == 0
		for i := 0; ok && i < n; i += 2 {
			key := binary.BigEndian.Uint16(p.Value[i:])
			ok = key != 0 && (i == 0 || key > binary.BigEndian.Uint16(p.Value[i-2:]))
		}
	case SvcALPN:
		ok = n > 0
		for b := p.Value; ok && len(b) > 0; b = b[1+int(b[0]):] {
			if b[0] == 0 || 1+int(b[0]) > len(b) {
				ok = false
				break
			}
		}
	case SvcNoDefaultALPN, SvcOHTTP:
		ok = n == 0
	case SvcPort:
		ok = n == 2
	case SvcECH: // an ECHConfigList, which holds at least one (RFC 9848 §3)
		ok = n > 0
	case SvcIPv4Hint:
		ok = n > 0 && n%4 == 0
	case SvcIPv6Hint:
		ok = n > 0 && n%16 == 0
	}
	if !ok {
		return fmt.Errorf("parameter %s: value of %d octets does not have its form", p.Key, n)
	}
	return nil
}

func (p SvcParam) alpn() (ids []string, ok bool) {
	for b := p.Value; len(b) > 0; {
		n := int(b[0])
		if n == 0 || 1+n > len(b) {
			return nil, false
		}
		ids = append(ids, string(b[1:1+n]))
		b = b[1+n:]
	}
	return ids, len(ids) > 0
}

func (p SvcParam) addrs(size int) []netip.Addr {
	var out []netip.Addr
	for b := p.Value; len(b) >= size; b = b[size:] {
		a, _ := netip.AddrFromSlice(b[:size])
		out = append(out, a)
	}
	return out
}

// String returns the parameter's presentation form (RFC 9460 §2.1).
func (p SvcParam) String() string {
	k := p.Key.String()
	if p.check() != nil {
		return k + "=" + quote(string(p.Value))
	}
	switch p.Key {
	case SvcMandatory:
		var keys []string
		for i := 0; i < len(p.Value); i += 2 {
			keys = append(keys, SvcKey(binary.BigEndian.Uint16(p.Value[i:])).String())
		}
		return k + "=" + strings.Join(keys, ",")
	case SvcALPN:
		ids, _ := p.alpn()
		for i, id := range ids { // appendix A.1: a comma inside an id is escaped twice
			ids[i] = strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(id)
		}
		return k + "=" + quote(strings.Join(ids, ","))
	case SvcNoDefaultALPN, SvcOHTTP:
		return k
	case SvcPort:
		return k + "=" + strconv.Itoa(int(binary.BigEndian.Uint16(p.Value)))
	case SvcIPv4Hint:
		return k + "=" + joinAddrs(p.addrs(4))
	case SvcIPv6Hint:
		return k + "=" + joinAddrs(p.addrs(16))
	case SvcECH:
		return k + "=" + base64.StdEncoding.EncodeToString(p.Value)
	}
	if len(p.Value) == 0 {
		return k
	}
	return k + "=" + quote(string(p.Value))
}

func joinAddrs(addrs []netip.Addr) string {
	parts := make([]string, len(addrs))
	for i, a := range addrs {
		parts[i] = a.String()
	}
	return strings.Join(parts, ",")
}

// Param returns the parameter with that key.
func (d SVCB) Param(k SvcKey) (SvcParam, bool) {
	for _, p := range d.Params {
		if p.Key == k {
			return p, true
		}
	}
	return SvcParam{}, false
}

// ALPN returns the protocol identifiers, nil when there are none.
func (d SVCB) ALPN() []string {
	p, _ := d.Param(SvcALPN)
	ids, _ := p.alpn()
	return ids
}

// Port returns the port to connect to, if the record says one.
func (d SVCB) Port() (port uint16, ok bool) {
	if p, _ := d.Param(SvcPort); len(p.Value) == 2 {
		return binary.BigEndian.Uint16(p.Value), true
	}
	return 0, false
}

// Hints returns the ipv4hint and ipv6hint addresses.
func (d SVCB) Hints() []netip.Addr {
	v4, _ := d.Param(SvcIPv4Hint)
	v6, _ := d.Param(SvcIPv6Hint)
	return append(v4.addrs(4), v6.addrs(16)...)
}

// ECH returns the ECHConfigList for encrypted client hello, or nil.
func (d SVCB) ECH() []byte {
	p, _ := d.Param(SvcECH)
	return p.Value
}

// Protocols returns the ALPN identifiers that an HTTPS record offers: those it
// lists, and http/1.1 unless it says otherwise (RFC 9460 §7.1.2, §9.5).
func (d SVCB) Protocols() []string {
	ids := d.ALPN()
	if _, no := d.Param(SvcNoDefaultALPN); !no && !slices.Contains(ids, "http/1.1") {
		ids = append(ids, "http/1.1")
	}
	return ids
}

// params reads service parameters (RFC 9460 §2.1): key, key=value or
// key="value", in any order, each once.
func (p *textParser) params() {
	var params []SvcParam
	for p.left() {
		p.take("parameter", func(s string) error {
			key, value, has := strings.Cut(s, "=")
			k, ok := fromMnemonic(svcKeyNames, key, "key")
			if !ok || key != strings.ToLower(key) {
				return fmt.Errorf("parameter %.40q is not known", key)
			}
			value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
			v, err := parseParam(SvcKey(k), value, has)
			if err != nil {
				return fmt.Errorf("parameter %s: %w", SvcKey(k), err)
			}
			at := len(params)
			for at > 0 && params[at-1].Key >= SvcKey(k) {
				if at--; params[at].Key == SvcKey(k) {
					return fmt.Errorf("parameter %s is given twice", SvcKey(k))
				}
			}
			params = append(params, SvcParam{})
			copy(params[at+1:], params[at:])
			params[at] = SvcParam{SvcKey(k), v}
			return nil
		})
	}
	for _, sp := range params {
		p.uint(uint64(sp.Key), 16)
		p.uint(uint64(len(sp.Value)), 16)
		p.out = append(p.out, sp.Value...)
	}
}

func parseParam(k SvcKey, s string, has bool) ([]byte, error) {
	raw, err := unquote(s)
	if err != nil {
		return nil, err
	}
	var v []byte
	switch k {
	case SvcMandatory:
		var keys []Type
		for _, w := range strings.Split(raw, ",") {
			n, ok := fromMnemonic(svcKeyNames, w, "key")
			if !ok {
				return nil, fmt.Errorf("key %.40q is not known", w)
			}
			at := len(keys)
			for at > 0 && keys[at-1] > Type(n) {
				at--
			}
			keys = append(keys[:at], append([]Type{Type(n)}, keys[at:]...)...)
		}
		for _, n := range keys {
			v = binary.BigEndian.AppendUint16(v, uint16(n))
		}
	case SvcALPN:
		// Appendix A.1: the list is read after the string's own escapes.
		id := []byte{}
		flush := func() {
			v = append(append(v, byte(len(id))), id...)
			id = id[:0]
		}
		for i := 0; i < len(raw); i++ {
			switch {
			case raw[i] == '\\' && i+1 < len(raw):
				i++
				id = append(id, raw[i])
			case raw[i] == ',':
				flush()
			default:
				id = append(id, raw[i])
			}
			if len(id) > 255 {
				return nil, fmt.Errorf("an identifier of more than 255 octets")
			}
		}
		flush()
	case SvcNoDefaultALPN, SvcOHTTP:
		if has && raw != "" {
			return nil, fmt.Errorf("takes no value")
		}
	case SvcPort:
		n, err := strconv.ParseUint(raw, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%.40q is no port", raw)
		}
		v = binary.BigEndian.AppendUint16(v, uint16(n))
	case SvcIPv4Hint, SvcIPv6Hint:
		for _, w := range strings.Split(raw, ",") {
			a, err := netip.ParseAddr(w)
			if err != nil || a.Is4() != (k == SvcIPv4Hint) {
				return nil, fmt.Errorf("%.60q is no address of the right kind", w)
			}
			v = append(v, a.AsSlice()...)
		}
	case SvcECH:
		if v, err = base64.StdEncoding.DecodeString(raw); err != nil {
			return nil, err
		}
	default:
		v = []byte(raw)
	}
	if len(v) > 0xffff {
		return nil, fmt.Errorf("value of %d octets, at most 65535 are possible", len(v))
	}
	return v, SvcParam{k, v}.check()
}
