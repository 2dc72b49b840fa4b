package clock

// Queue is what is going to happen, in the order of (time, sequence): two
// timers that are due at one instant fire in the order in which they were
// set. It is the heart of virtual time, where Run is all there is, and of real
// time, where a driver calls Run when Next has come. A Queue is for one
// goroutine, or for those that share a lock. The zero Queue is ready.
type Queue struct {
	now  Time
	seq  uint64
	heap []entry // 4-ary: half the depth of a binary one, one cache line a level
}

type entry struct {
	at  Time
	seq uint64
	t   *Timer
}

func (e entry) before(o entry) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// Timer calls a function at a time. Make one with NewTimer, or embed one and
// Init it.
type Timer struct {
	f   func(now Time)
	pos int // in the heap, from 1; 0 is not set
}

// NewTimer returns a timer that is not set.
func NewTimer(f func(now Time)) *Timer { return &Timer{f: f} }

// Init gives the timer what it calls.
func (t *Timer) Init(f func(now Time)) { t.f = f }

// Pending tells whether the timer is set.
func (t *Timer) Pending() bool { return t.pos > 0 }

// Now is the time that the queue has come to.
func (q *Queue) Now() Time { return q.now }

// Advance moves the time on without firing anything, as a driver in real time
// does. It never moves back.
func (q *Queue) Advance(now Time) { q.now = max(q.now, now) }

// Set makes t fire at that time, or now when the time has passed. A timer that
// was set is moved. Never stops it.
func (q *Queue) Set(t *Timer, at Time) {
	if at == Never {
		q.Stop(t)
		return
	}
	q.seq++
	e := entry{max(at, q.now), q.seq, t}
	if t.pos == 0 {
		q.heap = append(q.heap, e)
		t.pos = len(q.heap)
		q.up(t.pos - 1)
		return
	}
	i := t.pos - 1
	earlier := e.before(q.heap[i])
	q.heap[i] = e
	if earlier {
		q.up(i)
	} else {
		q.down(i)
	}
}

// At returns when t fires, or Never.
func (q *Queue) At(t *Timer) Time {
	if t.pos == 0 {
		return Never
	}
	return q.heap[t.pos-1].at
}

// Stop makes t not fire.
func (q *Queue) Stop(t *Timer) {
	if t.pos == 0 {
		return
	}
	i, last := t.pos-1, len(q.heap)-1
	t.pos = 0
	if i != last {
		q.heap[i] = q.heap[last]
		q.heap[i].t.pos = i + 1
	}
	q.heap[last] = entry{}
	q.heap = q.heap[:last]
	if i != last {
		q.down(i)
		q.up(i)
	}
}

// Len is the number of timers that are set.
func (q *Queue) Len() int { return len(q.heap) }

// Next is the time of the first timer, or Never.
func (q *Queue) Next() Time {
	if len(q.heap) == 0 {
		return Never
	}
	return q.heap[0].at
}

// Step fires the first timer, if it is due by limit.
func (q *Queue) Step(limit Time) bool {
	if len(q.heap) == 0 || q.heap[0].at > limit {
		return false
	}
	t := q.heap[0].t
	q.now = max(q.now, q.heap[0].at)
	q.Stop(t)
	t.f(q.now)
	return true
}

// Run fires all timers that are due by limit, those too that are set on the
// way, and moves the time to limit unless that is Never.
func (q *Queue) Run(limit Time) {
	for q.Step(limit) {
	}
	if limit != Never {
		q.Advance(limit)
	}
}

func (q *Queue) up(i int) {
	e := q.heap[i]
	for i > 0 {
		p := (i - 1) / 4
		if !e.before(q.heap[p]) {
			break
		}
		q.heap[i] = q.heap[p]
		q.heap[i].t.pos = i + 1
		i = p
	}
	q.heap[i] = e
	e.t.pos = i + 1
}

func (q *Queue) down(i int) {
	e := q.heap[i]
	for {
		first := 4*i + 1
		if first >= len(q.heap) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(q.heap)); c++ {
			if q.heap[c].before(q.heap[least]) {
				least = c
			}
		}
		if !q.heap[least].before(e) {
			break
		}
		q.heap[i] = q.heap[least]
		q.heap[i].t.pos = i + 1
		i = least
	}
	q.heap[i] = e
	e.t.pos = i + 1
}
