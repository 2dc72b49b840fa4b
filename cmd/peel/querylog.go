package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"peel/dns"
	nameserver "peel/dns/server"
)

// visitLog writes visits as they come. Where they come faster than they can be
// written they are dropped and counted: the log must not hold up answers.
type visitLog struct {
	lines   chan nameserver.Visit
	dropped atomic.Uint64
	once    sync.Once
	stop    chan struct{}
	done    chan struct{}
}

// visitJSON is a line of the query log.
type visitJSON struct {
	Time      string `json:"time"`
	Client    string `json:"client"`
	Transport string `json:"transport"`
	Name      string `json:"name,omitempty"`
	Type      string `json:"type,omitempty"`
	Class     string `json:"class,omitempty"`
	Rcode     string `json:"rcode"`
	From      string `json:"from"`
	Bytes     int    `json:"bytes"`
	Duration  int64  `json:"duration_ns"`
	Withheld  bool   `json:"withheld,omitempty"`
	// Dropped counts the lines that are missing before this one.
	Dropped uint64 `json:"dropped_before,omitempty"`
}

// newVisitLog writes to a file, or what else it may be. say is told when that
// fails, and when it works again.
func newVisitLog(to io.Writer, say func(format string, args ...any)) *visitLog {
	l := &visitLog{lines: make(chan nameserver.Visit, 4096), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		var buf bytes.Buffer
		out := json.NewEncoder(&buf)
		waiting, failed := uint64(0), false // lines in buf; whether the last writing failed
		torn := false                       // the file ends within a line
		flush := func() {
			n, err := to.Write(buf.Bytes())
			if err != nil {
				l.dropped.Add(waiting)
			}
			torn = err != nil && (torn || n > 0)
			if failed != (err != nil) {
				if failed = err != nil; failed {
					say("--query-log: %v; queries are answered, and not logged until it can be written again", err)
				} else {
					say("--query-log: it is written again")
				}
			}
			buf.Reset()
			if waiting = 0; torn {
				buf.WriteByte('\n')
			}
		}
		write := func(v nameserver.Visit) {
			line := visitJSON{Time: v.Start.UTC().Format(time.RFC3339Nano), Client: v.Peer.String(), Transport: v.Transport.String(), Rcode: v.Rcode.String(),
				From: v.Source.String(), Bytes: v.Bytes, Duration: int64(v.Duration), Withheld: v.Withheld, Dropped: l.dropped.Swap(0)}
			if v.Question != (dns.Question{}) {
				line.Name, line.Type, line.Class = v.Question.Name.String(), v.Question.Type.String(), v.Question.Class.String()
			}
			_ = out.Encode(line)
			// What this line said is missing, is missing still if it is lost.
			if waiting += 1 + line.Dropped; len(l.lines) == 0 || buf.Len() > 4096 {
				flush()
			}
		}
		for {
			select {
			case v := <-l.lines:
				write(v)
				continue
			case <-l.stop:
			}
			for len(l.lines) > 0 {
				write(<-l.lines)
			}
			return
		}
	}()
	return l
}

func (l *visitLog) visit(v nameserver.Visit) {
	select {
	case l.lines <- v:
	default:
		l.dropped.Add(1)
	}
}

// close writes what is left.
func (l *visitLog) close() {
	l.once.Do(func() { close(l.stop) })
	<-l.done
}

// openLog opens the query log.
func (s *serveDNS) openLog() error {
	var to io.Writer = s.std.out
	if s.queryLog == "" {
		return nil
	}
	if s.queryLog != "-" {
		f, err := os.OpenFile(s.queryLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY|noFollow, 0o600)
		if err != nil {
			return fmt.Errorf("--query-log: %w", err)
		}
		to = f
	}
	s.log = newVisitLog(to, s.say)
	s.server.OnVisit = s.log.visit
	return nil
}
