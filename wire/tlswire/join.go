package tlswire

// Join begins in the middle of a TLS 1.3 connection, whose handshake was not
// seen. It tries whether a traffic secret (CLIENT_TRAFFIC_SECRET_0 or
// SERVER_TRAFFIC_SECRET_0) opens rec, a whole record of that direction, under
// the cipher suites that its length allows and the first most sequence
// numbers. If so, the direction is read from that record on. It returns how
// many times it tried. No Input may have come before.
func (d *Decoder) Join(dir Dir, secret, rec []byte, most int) (tried int, ok bool) {
	names := []uint16{0x1301, 0x1303} // SHA-256: AES-128-GCM, ChaCha20-Poly1305
	if len(secret) == 48 {
		names = []uint16{0x1302}
	}
	if len(rec) <= recordHeader || rec[0] != typeData || d.version != 0 && d.version != version13 {
		return 0, false
	}
	var scratch []byte
	for _, id := range names {
		if d.version == version13 && d.suiteID != id {
			continue // the other direction has told
		}
		version, suiteWas, idWas, guardWas := d.version, d.suite, d.suiteID, d.half[dir].guard
		d.suite, d.suiteID = suites[id], id
		if d.suite != nil && d.useSecret(dir, secret) {
			open := d.half[dir].guard.open
			for seq := range most {
				tried++
				open.seq = uint64(seq)
				if _, _, err := open.record(scratch[:0], rec); err != nil {
					continue
				}
				open.seq = uint64(seq)
				d.version = version13
				g := &d.half[dir].guard
				g.stage, g.epoch = application, int(application)
				return tried, true
			}
		}
		d.version, d.suite, d.suiteID, d.half[dir].guard = version, suiteWas, idWas, guardWas
	}
	return tried, false
}

// WholeRecord returns the record at the beginning of b, or nil when more
// bytes are needed.
func WholeRecord(b []byte) []byte {
	if len(b) < recordHeader {
		return nil
	}
	n := recordHeader + int(b[3])<<8 + int(b[4])
	if n > len(b) {
		return nil
	}
	return b[:n]
}

// FindRecord returns where a sealed record begins in the middle of a stream: at
// the first head behind whose record another head stands, or at once. It is
// false when b shows none.
func FindRecord(b []byte) (at int, ok bool) {
	head := func(b []byte) int {
		if b[0] < typeCCS || b[0] > typeHeartbeat || b[1] != 3 || b[2] != 3 {
			return 0
		}
		size := int(b[3])<<8 | int(b[4])
		if size == 0 || size > maxSealed12 {
			return 0
		}
		return recordHeader + size
	}
	for ; at+recordHeader <= len(b); at++ {
		size := head(b[at:])
		switch {
		case size == 0 || b[at] != typeData:
		case at+size+recordHeader <= len(b) && head(b[at+size:]) > 0, at == 0 && at+size+recordHeader > len(b):
			return at, true
		}
	}
	return 0, false
}
