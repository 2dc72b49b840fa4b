package trace

import "slices"

// Only returns the part of the trace that belongs to some exchanges: those
// that led to them, their connections, lookups and packets, their events, and
// the findings about any of these: by what they name, or by their evidence.
// IDs stay as they are in t, so references keep their meaning. It returns nil
// if there is no such exchange.
func (t *Trace) Only(wanted ...int) *Trace {
	byID := make(map[int]*Exchange, len(t.Exchanges))
	for _, x := range t.Exchanges {
		byID[x.ID] = x
	}
	exchanges, conns, lookups := map[int]bool{}, map[int]bool{}, map[int]bool{}
	for _, id := range wanted {
		for id != 0 && !exchanges[id] && byID[id] != nil {
			x := byID[id]
			exchanges[id] = true
			conns[x.Connection], lookups[x.Lookup] = true, true
			id = x.Predecessor
		}
	}
	if len(exchanges) == 0 {
		return nil
	}
	delete(conns, 0)
	delete(lookups, 0)
	out := &Trace{SchemaVersion: t.SchemaVersion, Start: t.Start, Exchanges: []*Exchange{}, Lookups: []*Lookup{},
		Connections: []*Connection{}, Packets: []*Packet{}, Events: []*Event{}, Findings: []*Finding{}}
	kept := map[int]bool{}
	for _, e := range t.Events {
		// An event of another request on a shared connection stays out.
		if e.Exchange != 0 && !exchanges[e.Exchange] {
			continue
		}
		if exchanges[e.Exchange] || conns[e.Connection] || lookups[e.Lookup] {
			out.Events = append(out.Events, e)
			kept[e.ID] = true
			if e.Connection != 0 {
				conns[e.Connection] = true
			}
		}
	}
	for _, x := range t.Exchanges {
		if exchanges[x.ID] {
			out.Exchanges = append(out.Exchanges, x)
		}
	}
	for _, l := range t.Lookups {
		if lookups[l.ID] {
			out.Lookups = append(out.Lookups, l)
		}
	}
	for _, c := range t.Connections {
		if conns[c.ID] {
			out.Connections = append(out.Connections, c)
		}
	}
	for _, p := range t.Packets {
		if p.Connection != 0 && conns[p.Connection] {
			out.Packets = append(out.Packets, p)
		}
	}
	for _, f := range t.Findings {
		about := f.Exchange == 0 && (conns[f.Connection] || lookups[f.Lookup] || slices.ContainsFunc(f.Evidence, func(id int) bool { return kept[id] }))
		if exchanges[f.Exchange] || about {
			out.Findings = append(out.Findings, f)
		}
	}
	return out
}
