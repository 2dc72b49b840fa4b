package capture

// Source gives records one after the other. A Cursor, an Ordered and a File
// are such.
type Source interface {
	// Next returns the next record, waiting for one if wait is set; false
	// when there is none (yet).
	Next(wait bool) (Record, bool)
}

// Ordered gives a live capture's records in the order of their times. Packets
// are recorded some milliseconds after they passed, decisions at once: so
// decisions wait until the packets before them are there, which the next
// packet or a Mark tells. With no packets captured nothing waits.
type Ordered struct {
	src     Source
	packets []Record
	others  []Record
	upTo    Record // the newest packet or mark
	live    bool   // packets are captured
	done    bool
}

// InOrder returns the records of src in the order of their times. Packets
// tells that packets are among them.
func InOrder(src Source, packets bool) *Ordered { return &Ordered{src: src, live: packets} }

// Next returns the next record in time.
func (o *Ordered) Next(wait bool) (Record, bool) {
	if !o.live {
		return o.src.Next(wait)
	}
	for {
		if r, ok := o.pop(); ok {
			return r, true
		}
		if o.done {
			return Record{}, false
		}
		r, ok := o.src.Next(wait)
		switch {
		case !ok && !wait:
			return Record{}, false
		case !ok:
			o.done = true
		case r.Kind == Mark:
			o.upTo = r
		case r.Kind == Packet:
			o.packets = append(o.packets, r)
			o.upTo = r
		case r.Kind == Lost:
			return r, true
		default:
			o.others = append(o.others, r)
		}
	}
}

// pop takes the earliest record that nothing can come before.
func (o *Ordered) pop() (Record, bool) {
	switch {
	case len(o.others) == 0 && len(o.packets) == 0:
		return Record{}, false
	case len(o.others) == 0, len(o.packets) > 0 && o.packets[0].Time < o.others[0].Time:
		// What is decided later than a packet was recorded is later than it.
		r := o.packets[0]
		o.packets = o.packets[1:]
		return r, true
	case len(o.packets) > 0 || o.done || o.others[0].Time <= o.upTo.Time:
		r := o.others[0]
		o.others = o.others[1:]
		return r, true
	}
	return Record{}, false
}
