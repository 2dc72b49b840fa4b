package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	nameserver "peel/dns/server"
)

// fullDisk takes a part of the first line, nothing of those while it is full,
// and later ones whole.
type fullDisk struct {
	bytes.Buffer
	full  int // writings that fail yet
	wrote chan bool
}

func (d *fullDisk) Write(b []byte) (int, error) {
	defer func() { d.wrote <- true }()
	if d.full--; d.full >= 0 {
		n, _ := d.Buffer.Write(b[:7*d.full])
		return n, errors.New("no space left")
	}
	return d.Buffer.Write(b)
}

// A disk that is full for a while costs the lines of that while, which are
// counted; what comes later is logged.
func TestQueryLogGoesOnAfterAFullDisk(t *testing.T) {
	disk := &fullDisk{full: 2, wrote: make(chan bool)}
	var said []string
	l := newVisitLog(disk, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	for i := range 4 {
		l.visit(nameserver.Visit{Bytes: i, Start: time.Unix(0, 0)})
		<-disk.wrote // each by itself
	}
	l.close()
	var whole []visitJSON
	for line := range strings.Lines(disk.String()) {
		var v visitJSON
		if json.Unmarshal([]byte(line), &v) == nil {
			whole = append(whole, v)
		}
	}
	if len(whole) != 2 || whole[0].Bytes != 2 || whole[0].Dropped != 2 || whole[1].Bytes != 3 || whole[1].Dropped != 0 {
		t.Errorf("%+v of\n%s", whole, disk.String())
	}
	if len(said) != 2 || !strings.Contains(said[0], "no space left") || !strings.Contains(said[1], "written again") {
		t.Errorf("%q", said)
	}
}
