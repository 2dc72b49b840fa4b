package main

import (
	"bufio"
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

func newVisitLog(to io.Writer) *visitLog {
	l := &visitLog{lines: make(chan nameserver.Visit, 4096), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		w := bufio.NewWriter(to)
		out := json.NewEncoder(w)
		write := func(v nameserver.Visit) {
			line := visitJSON{Time: v.Start.UTC().Format(time.RFC3339Nano), Client: v.Peer.String(), Transport: v.Transport.String(), Rcode: v.Rcode.String(),
				From: v.Source.String(), Bytes: v.Bytes, Duration: int64(v.Duration), Withheld: v.Withheld, Dropped: l.dropped.Swap(0)}
			if v.Question != (dns.Question{}) {
				line.Name, line.Type, line.Class = v.Question.Name.String(), v.Question.Type.String(), v.Question.Class.String()
			}
			_ = out.Encode(line)
		}
		for {
			select {
			case v := <-l.lines:
				write(v)
				if len(l.lines) == 0 {
					_ = w.Flush()
				}
				continue
			case <-l.stop:
			}
			for len(l.lines) > 0 {
				write(<-l.lines)
			}
			_ = w.Flush()
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
	s.log = newVisitLog(to)
	s.server.OnVisit = s.log.visit
	return nil
}
