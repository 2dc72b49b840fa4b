package tcp

import (
	"time"

	"peel/clock"
)

// roundTrip is the estimate of the round-trip time (RFC 6298), with the
// minimum of the last minutes for RACK (RFC 8985 §6.1).
type roundTrip struct {
	srtt, rttvar time.Duration
	rto          time.Duration // not backed off
	last         time.Duration
	min          time.Duration
	minAt        clock.Time
}

// minFor is how long a minimum holds.
const minFor = 300 * time.Second

// sample takes a measurement (RFC 6298 §2).
func (r *roundTrip) sample(d time.Duration, now clock.Time, cfg *Config) {
	d = max(d, 1)
	r.last = d
	if r.min == 0 || d <= r.min || now.Sub(r.minAt) > minFor {
		r.min, r.minAt = d, now
	}
	if r.srtt == 0 {
		r.srtt, r.rttvar = d, d/2
	} else {
		r.rttvar += ((d - r.srtt).Abs() - r.rttvar) / 4
		r.srtt += (d - r.srtt) / 8
	}
	// As Linux does, the minimum bounds the variance, so that an RTO is
	// always that much above the round trip.
	r.rto = min(r.srtt+max(4*r.rttvar, cfg.minRTO()), cfg.maxRTO())
}
