package socket

import (
	"errors"
	"flag"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peel/internal/needs"
)

// The differential test: one script, played by two Linux kernels and by two
// hosts of ours, over the same cable with the same faults. What both ends put
// on the wire is compared, segment by segment.
//
// The kernel runs in real time, all scenarios at once; ours in virtual time.

var onlyScenario = flag.String("differential", "", "play only the scenario of this name, and print its traces")

// scenario is a story of one connection.
type scenario struct {
	name string
	// delay is one way; 0 is 10 ms, so that what the machine needs for
	// itself does not count.
	delay time.Duration
	// ends are the sockets': end a opens the connection.
	ends [2]endOptions
	// lose is asked about each segment as it is sent.
	lose func(s *stage, e *wireEvent) bool
	// fate is asked about each segment that comes out of the cable.
	fate func(e *wireEvent) fate
	// noSACK has neither end offer SACK.
	noSACK bool
	// router puts a router with this MTU behind it between the ends.
	router int
	play   func(s *stage) error
	// view keeps of a trace what is to be compared; nil keeps all.
	view func([]wireEvent) []wireEvent
	// differs is what may differ, and why.
	differs []justified
}

type endOptions struct {
	noDelay   bool
	keepAlive time.Duration
	receive   int // buffer
}

// justified is a difference that is meant. text is the beginning of what
// compare says; rare tells that it does not come each time.
type justified struct {
	text, why string
	rare      bool
}

func TestLikeLinux(t *testing.T) {
	needs.Long(t)
	needs.Tools(t, "ip")
	defer hurry(t)()
	var all []scenario
	for _, sc := range scenarios() {
		if *onlyScenario == "" || *onlyScenario == sc.name {
			all = append(all, sc)
		}
	}
	linux := playLinux(all)
	for i := range all {
		sc := &all[i]
		t.Run(sc.name, func(t *testing.T) {
			ours, err := playOurs(t, sc)
			if err != nil {
				t.Fatalf("ours: %v\n%s", err, show(ours))
			}
			r := linux[i]
			bad := judge(sc, r, ours)
			if no := (noRights{}); errors.As(r.err, &no) {
				needs.Missing(t, "%v", no)
			}
			// The kernel may have been held up by other work: once more, alone;
			// and again only as long as the machine itself is seen to stop.
			// A difference counts when it comes each time.
			for try := 1; len(bad) > 0 && (try == 1 || try < 4 && r.late > busy); try++ {
				t.Logf("again, as the machine was up to %v late:\n%s", r.late, strings.Join(bad, "\n"))
				r = playLinux(all[i : i+1])[0]
				bad = both(bad, judge(sc, r, ours))
			}
			if len(bad) > 0 {
				t.Errorf("Linux %s, on a machine that was up to %v late:\n%s", release(), r.late, strings.Join(bad, "\n"))
			}
			if len(bad) > 0 || *onlyScenario != "" {
				t.Logf("linux:\n%s\nours:\n%s", show(r.events), show(ours))
			}
		})
	}
}

// busy is how late a machine may wake a thread up that is still of use.
const busy = 10 * time.Millisecond

// played is what came of a scenario. late is the most that a sleep took
// longer than it should.
type played struct {
	events []wireEvent
	err    error
	late   time.Duration
}

// playLinux plays scenarios with two kernels each, in real time, all at once.
func playLinux(all []scenario) []played {
	out := make([]played, len(all))
	stages := make([]*stage, len(all))
	var wg sync.WaitGroup
	room := make(chan struct{}, 4)
	for i := range all {
		room <- struct{}{}
		wg.Go(func() {
			stages[i], out[i].err = newLinuxStage(&all[i])
			<-room
		})
	}
	wg.Wait()
	stop := make(chan struct{})
	var meter sync.WaitGroup
	late := time.Duration(0)
	meter.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				start := time.Now()
				time.Sleep(2 * time.Millisecond)
				late = max(late, time.Since(start)-2*time.Millisecond)
			}
		}
	})
	for i := range all {
		if s := stages[i]; s != nil {
			wg.Go(func() { out[i].events, out[i].err = s.run() })
			// Not all of them send at the same moment.
			time.Sleep(25 * time.Millisecond)
		}
	}
	wg.Wait()
	close(stop)
	meter.Wait()
	for i := range out {
		out[i].late = late
		if stages[i] != nil {
			stages[i].close()
		}
	}
	return out
}

// hurry puts this process before others that want the machine's time, and
// returns what takes it back.
func hurry(t *testing.T) func() {
	set := func(a unix.SchedAttr) {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range threads {
			if id, err := strconv.Atoi(d.Name()); err == nil {
				unix.SchedSetAttr(id, &a, 0) // if it may
			}
		}
	}
	// Threads that are made later are like those that made them.
	set(unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 1})
	return func() { set(unix.SchedAttr{Policy: unix.SCHED_NORMAL}) }
}

// release is the kernel's.
func release() string {
	var u unix.Utsname
	unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}

// both keeps of now what was there before too, whatever the times are.
func both(before, now []string) (out []string) {
	what := func(s string) string { s, _, _ = strings.Cut(s, ": linux ~"); return s }
	for _, s := range now {
		if slices.ContainsFunc(before, func(b string) bool { return what(b) == what(s) }) {
			out = append(out, s)
		}
	}
	return out
}

// judge returns the differences that are not meant, and those that are meant
// but do not come.
func judge(sc *scenario, r played, ours []wireEvent) (bad []string) {
	if r.err != nil {
		return []string{r.err.Error()}
	}
	linux := r.events
	if sc.view != nil {
		linux, ours = sc.view(linux), sc.view(ours)
	}
	used := make([]bool, len(sc.differs))
	for _, d := range compare(linux, ours, 2*min(r.late, 4*busy)) {
		text := endNames[d.end] + " " + d.text
		ok := false
		for i, j := range sc.differs {
			if strings.HasPrefix(text, j.text) {
				ok, used[i] = true, true
			}
		}
		if !ok {
			bad = append(bad, text)
		}
	}
	for i, u := range used {
		if !u && !sc.differs[i].rare {
			bad = append(bad, "no more a difference: "+sc.differs[i].text)
		}
	}
	return bad
}
