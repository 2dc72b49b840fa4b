package recursor

import (
	"encoding/binary"
	"net/netip"
	"time"

	"peel/clock"
	"peel/dns"
)

// infra is what is known of a server's behaviour. All of it ends after a
// while: servers are mended, and what a forger once made us believe passes.
type infra struct {
	until        clock.Time
	srtt, rttvar time.Duration // RFC 6298, of answers over UDP
	timeouts     int           // in a row
	lastTimeout  clock.Time    // when the last of them counted
	retry        clock.Time    // when it is down: until when it is left alone
	noEDNS       clock.Time    // until when it is asked without
	noCase       bool          // repeats names in another case than asked
	clientCookie [8]byte
	serverCookie []byte
	lame         map[dns.Name]clock.Time // zones it does not serve, and until when that counts
}

const (
	firstTimeout = 400 * time.Millisecond
	minTimeout   = 100 * time.Millisecond
	maxTimeout   = 3 * time.Second
	tcpTimeout   = 5 * time.Second
	lameFor      = 10 * time.Minute
	infraFor     = 15 * time.Minute
	maxInfra     = 100_000
	// noEDNSFor is short, as a server asked without EDNS gives no signatures.
	noEDNSFor = 2 * time.Minute
	// downAfter queries in a row without an answer, a server counts as down:
	// it is asked once in a while, and not for every question.
	downAfter = 6
	maxRetry  = 30 * time.Second
)

func (r *Resolver) server(a netip.Addr) *infra {
	i := r.infra[a]
	if i == nil && len(r.infra) >= maxInfra {
		makeRoom(r.infra, func(i *infra) bool { return i.until <= r.now })
	}
	if i == nil || i.until <= r.now {
		i = &infra{until: r.now.Add(infraFor)}
		binary.LittleEndian.PutUint64(i.clientCookie[:], r.random())
		r.infra[a] = i
	}
	return i
}

// makeRoom takes what is over out of a full map; where nothing is, all goes:
// it is learned again.
func makeRoom[K comparable, V any](m map[K]V, over func(V) bool) {
	n := len(m)
	for k, v := range m {
		if over(v) {
			delete(m, k)
		}
	}
	if len(m) > n*3/4 { // else it would be gone through again soon
		clear(m)
	}
}

// timeout is how long to wait for an answer over UDP.
func (i *infra) timeout() time.Duration {
	d := firstTimeout
	if i.srtt > 0 {
		d = max(i.srtt+4*i.rttvar, minTimeout)
	}
	for range min(i.timeouts, 4) {
		d *= 2
	}
	return min(d, maxTimeout)
}

// rank is what servers are compared by: the time an answer is expected to
// take. A server not tried yet comes before one known to be slow.
func (i *infra) rank() time.Duration {
	d := i.srtt
	if d == 0 {
		d = 20 * time.Millisecond
	}
	for range min(i.timeouts, 8) {
		d = 2*d + 200*time.Millisecond
	}
	return d
}

func (i *infra) measured(rtt time.Duration) {
	if i.srtt == 0 {
		i.srtt, i.rttvar = max(rtt, 1), rtt/2
	} else {
		delta := i.srtt - rtt
		if delta < 0 {
			delta = -delta
		}
		i.rttvar = (3*i.rttvar + delta) / 4
		i.srtt = max((7*i.srtt+rtt)/8, 1)
	}
	i.timeouts = 0
}

// failed counts a query that brought no answer. Of many that were out at once
// only one counts: they tell of one moment.
func (i *infra) failed(sent, now clock.Time) {
	if i.timeouts > 0 && sent < i.lastTimeout {
		return
	}
	i.timeouts++
	i.lastTimeout = now
	if i.timeouts >= downAfter {
		i.retry = now.Add(min(time.Second<<min(i.timeouts-downAfter, 10), maxRetry))
	}
}

// down tells that a server has not answered for long, and that it is not time
// to see whether it does again.
func (i *infra) down(now clock.Time) bool { return i.timeouts >= downAfter && now < i.retry }

// asked is told of each query: a server that is down gets one at a time.
func (i *infra) asked(now clock.Time, wait time.Duration) {
	if i.timeouts >= downAfter {
		i.retry = max(i.retry, now.Add(wait))
	}
}
