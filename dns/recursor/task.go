package recursor

import (
	"fmt"
	"net/netip"
	"slices"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
)

type taskKey struct {
	name dns.Name // folded
	typ  dns.Type
}

// outcome is what a task has found.
type outcome struct {
	entries []*cache.Entry
	rcode   dns.Rcode // YXDOMAIN, when a DNAME made a name too long
	failure string    // what went wrong, in words
	code    dns.ErrorCode
	cause   cause // whose fault it was
	// from is the server that gave the last part, invalid when that was the
	// cache.
	from netip.Addr
}

// cause says what a failure tells about the zone. The greater one counts.
type cause uint8

const (
	theirs cause = iota // the zone's servers failed, for all who ask
	bounds              // this question came to its bounds
	ours                // there was no room here
)

// task resolves one name and type, without validating it. All who want it
// share it.
type task struct {
	r     *Resolver
	key   taskKey
	q     dns.Question
	b     *budget
	depth int
	needs []*task // what it waits for
	want  []func(*outcome)
	done  bool

	entries []*cache.Entry
	sname   dns.Name // the name now asked for: that of the last alias
	aliases int
	cut     *cut
	avoid   []dns.Name // zones whose servers all failed
	left    *cut       // the last of them
	// distrusted are servers whose answer did not validate.
	distrusted []netip.Addr
	// minimise
	sent     dns.Question // as sent last
	steps    int
	known    int  // labels of sname that exist, in the zone asked
	whole    bool // ask for the whole name from here on
	lastFail string
	lastCode dns.ErrorCode
	walked   uint64 // the walk that came by last
}

// cut is a zone and its servers, as a referral or the cache has them.
type cut struct {
	zone     dns.Name
	servers  []dns.Name
	addrs    map[dns.Name][]dns.Resource // of hints, and of the referral
	tried    map[netip.Addr]int
	lookups  map[dns.Name]bool // whose addresses were asked for
	pending  int               // such questions that are out
	out      int               // queries to its servers that are out or wait
	down     int               // servers passed over as they are down
	hints    bool
	parents  bool // just taken from a referral
	answered bool // a server has said something
	cause    cause
	// entered is when, expires until when the parent vouches for it.
	entered, expires clock.Time
}

// resolve finds entries for a name and type; done is called once, perhaps at
// once. parent is the task that needs it.
func (r *Resolver) resolve(name dns.Name, typ dns.Type, b *budget, parent *task, done func(*outcome)) {
	k := taskKey{name.Fold(), typ}
	t := r.tasks[k]
	if t != nil {
		// A question that needs its own answer never gets one.
		if parent != nil && r.needed(t, parent) {
			done(&outcome{failure: fmt.Sprintf("%s %s needs itself to be resolved", name.Host(), typ), cause: bounds})
			return
		}
		t.want = append(t.want, done)
		if parent != nil {
			parent.need(t)
		}
		return
	}
	if parent != nil && parent.depth == maxDepth {
		done(&outcome{failure: fmt.Sprintf("more than %d questions that need each other", maxDepth), cause: bounds})
		return
	}
	t = r.newTask(name, typ, b)
	t.want = append(t.want, done)
	if parent != nil {
		parent.need(t)
		t.depth = parent.depth + 1
	}
	t.begin()
}

// need notes that a task waits for another.
func (t *task) need(other *task) {
	t.needs = append(slices.DeleteFunc(t.needs, func(o *task) bool { return o.done }), other)
}

// maxNeeds bounds the tasks that are looked at to see whether one needs
// another; where there are more, it is taken to.
const maxNeeds = 100

// needed tells whether t waits for parent, by whatever stands between. It
// goes down from t, as what one needs is little, and who needs it may be many.
func (r *Resolver) needed(t, parent *task) bool {
	r.walk++
	n := 0
	var below func(t *task) bool
	below = func(t *task) bool {
		if t == parent || n == maxNeeds {
			return true
		}
		if t.done || t.walked == r.walk {
			return false
		}
		n++
		t.walked = r.walk
		return slices.ContainsFunc(t.needs, below)
	}
	return below(t)
}

// again resolves a question past the cache, and without the servers whose
// answers did not validate. There are others only sometimes.
func (r *Resolver) again(q dns.Question, b *budget, distrusted []netip.Addr, done func(*outcome)) {
	if r.tasks[taskKey{q.Name.Fold(), q.Type}] != nil {
		done(&outcome{failure: "the question is being asked already"})
		return
	}
	t := r.newTask(q.Name, q.Type, b)
	t.distrusted = distrusted
	t.want = append(t.want, done)
	t.descend()
}

func (r *Resolver) newTask(name dns.Name, typ dns.Type, b *budget) *task {
	t := &task{r: r, key: taskKey{name.Fold(), typ}, q: dns.Question{Name: name, Type: typ, Class: dns.ClassIN}, b: b, sname: name}
	r.tasks[t.key] = t
	return t
}

func (t *task) end(o *outcome) {
	if t.done {
		return
	}
	t.done = true
	delete(t.r.tasks, t.key)
	for _, f := range t.want {
		f(o)
	}
}

func (t *task) fail(code dns.ErrorCode, format string, args ...any) {
	t.end(&outcome{failure: fmt.Sprintf(format, args...), code: code})
}

// begin looks into the cache, along aliases, and then asks.
func (t *task) begin() {
	for {
		if e, ok := t.r.cache.Get(t.sname, t.q.Type, t.r.now, false); ok && e.Rank >= cache.Authority {
			t.entries = append(t.entries, e)
			t.end(&outcome{entries: t.entries})
			return
		}
		if t.q.Type != dns.TypeCNAME {
			if e, ok := t.r.cache.Get(t.sname, dns.TypeCNAME, t.r.now, false); ok && !e.Negative() && e.Rank >= cache.Authority {
				if !t.alias(e) {
					return
				}
				continue
			}
		}
		if e := t.cachedDNAME(); e != nil {
			if !t.redirect(e) {
				return
			}
			continue
		}
		break
	}
	if e := t.r.synthesise(t.sname, t.q.Type); e != nil {
		t.entries = append(t.entries, e)
		t.end(&outcome{entries: t.entries})
		return
	}
	t.descend()
}

// alias follows a CNAME entry; false when the task has ended.
func (t *task) alias(e *cache.Entry) bool {
	t.entries = append(t.entries, e)
	target, ok := e.Records[0].Target()
	if t.aliases++; !ok || t.aliases > maxAliases {
		t.fail(dns.EDEOther, "more than %d aliases in a row", maxAliases)
		return false
	}
	for _, x := range t.entries {
		if x.Name.EqualFold(target) && x.Type == dns.TypeCNAME {
			t.fail(dns.EDEOther, "a loop of aliases at %s", target.Host())
			return false
		}
	}
	t.sname, t.cut, t.steps, t.known, t.whole, t.avoid = target, nil, 0, 0, false, nil
	return true
}

func (t *task) cachedDNAME() *cache.Entry {
	for up := t.sname; !up.IsRoot(); {
		up = up.Parent()
		if e, ok := t.r.cache.Get(up, dns.TypeDNAME, t.r.now, false); ok && !e.Negative() && e.Rank >= cache.Authority {
			return e
		}
	}
	return nil
}

// redirect follows a DNAME entry (RFC 6672 §3.2) by the alias it makes.
func (t *task) redirect(e *cache.Entry) bool {
	t.entries = append(t.entries, e)
	target, ok := e.Records[0].Target()
	next, err := t.sname.Rebase(e.Name, target)
	if !ok || err != nil {
		t.end(&outcome{entries: t.entries, rcode: dns.RcodeYXDomain})
		return false
	}
	rr := dns.NewResource(t.sname, e.Records[0].TTL, dns.CNAME{Target: next})
	made := &cache.Entry{Name: t.sname, Type: dns.TypeCNAME, Rank: cache.Answer, TTL: rr.TTL, Records: []dns.Resource{rr}, Reason: madeByDNAME}
	if t.q.Type == dns.TypeCNAME { // the alias itself is the answer
		t.end(&outcome{entries: append(t.entries, made)})
		return false
	}
	return t.alias(made)
}

// madeByDNAME marks an alias that has no signature of its own.
const madeByDNAME = "made from a DNAME record"

// descend finds the closest zone whose servers are known and asks them.
func (t *task) descend() {
	at := t.sname
	if t.q.Type == dns.TypeDS && !at.IsRoot() {
		at = at.Parent() // the parent's side of the cut has it
	}
	for ; ; at = at.Parent() {
		if slices.ContainsFunc(t.avoid, at.EqualFold) {
			if at.IsRoot() {
				break
			}
			continue
		}
		if e, ok := t.r.cache.Get(at, dns.TypeNS, t.r.now, false); ok && !e.Negative() {
			t.enter(at, e.Records, e.Expires, nil)
			return
		}
		if at.IsRoot() {
			break
		}
	}
	if len(t.r.cfg.Hints) == 0 || slices.ContainsFunc(t.avoid, dns.Name{}.EqualFold) {
		t.fail(t.lastCode, "%s", t.reason("no root server can be reached"))
		return
	}
	c := &cut{hints: true, addrs: map[dns.Name][]dns.Resource{}, tried: map[netip.Addr]int{}, lookups: map[dns.Name]bool{}, entered: t.r.now, expires: clock.Never}
	for _, h := range t.r.cfg.Hints {
		c.servers = append(c.servers, h.Name)
		for _, a := range h.Addrs {
			var v dns.Value = dns.AAAA{Addr: a}
			if a.Is4() {
				v = dns.A{Addr: a}
			}
			c.addrs[h.Name.Fold()] = append(c.addrs[h.Name.Fold()], dns.NewResource(h.Name, 0, v))
		}
	}
	t.cut = c
	t.next()
	if !(t.q.Type == dns.TypeNS && t.q.Name.IsRoot()) {
		t.r.prime()
	}
}

func (t *task) reason(what string) string {
	if t.lastFail != "" {
		return what + ": " + t.lastFail
	}
	return what
}

// enter makes a zone the one to ask, by its NS records, of which the parent's
// last until a time, and addresses that came with them.
func (t *task) enter(zone dns.Name, ns []dns.Resource, expires clock.Time, glue map[dns.Name][]dns.Resource) {
	if d := t.barred(zone); d != nil {
		t.r.stats.Barred++
		t.fail(d.code, "%s", d.text)
		return
	}
	parents := glue != nil
	if d := t.r.deadZone(zone); d != nil && d.asked != 0 && d.asked.Add(infraFor) > t.r.now {
		if parents {
			d.glue = glue
		} else {
			glue = d.glue
		}
	}
	c := &cut{zone: zone, addrs: glue, parents: parents, tried: map[netip.Addr]int{}, lookups: map[dns.Name]bool{}, entered: t.r.now, expires: expires}
	for _, rr := range ns {
		if host, ok := rr.Target(); ok && len(c.servers) < maxNSNames {
			c.servers = append(c.servers, host)
		}
	}
	if n := len(t.avoid); n > 0 && t.avoid[n-1].EqualFold(zone) {
		// Its servers are no better for being named again.
		c.tried, c.answered, c.cause = t.left.tried, t.left.answered, t.left.cause
	}
	t.cut = c
	t.next()
}

// next chooses the question for the present zone: the whole one, or with
// QNAME minimisation (RFC 9156) one label more than the zone.
func (t *task) next() {
	t.sent = t.q
	t.sent.Name = t.sname
	have, whole := max(t.cut.zone.NumLabels(), t.known), t.sname.NumLabels()
	if !t.r.cfg.NoMinimise && !t.whole && have+1 < whole {
		// RFC 9156 §2.3: at most ten queries, the first four a label each; for
		// a server's address few, as somebody else chose the name.
		maxCount, oneLabel := 10, 4
		if t.depth > 0 {
			maxCount, oneLabel = 3, 2
		}
		more := 1
		if t.steps >= oneLabel {
			more = (whole - have + maxCount - t.steps - 1) / max(maxCount-t.steps, 1)
		}
		if t.steps < maxCount && have+more < whole {
			t.steps++
			t.sent.Name, t.sent.Type = t.sname.Suffix(have+more), dns.TypeA
		}
	}
	t.ask()
}
