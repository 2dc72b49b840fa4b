package explain

import (
	"strings"
	"testing"

	"peel/trace"
)

// A request that was sent again after its stream was refused says nothing of the
// connection, which goes on.
func TestRefusedStreamIsNoReuseRace(t *testing.T) {
	tr := healthy()
	tr.Exchanges[0].Reused = true
	tr.Exchanges[0].Failure = &trace.Failure{Layer: trace.LayerHTTP2, Code: trace.FailStreamReset, Seen: "seen"}
	tr.Exchanges = append(tr.Exchanges, &trace.Exchange{ID: 2, Predecessor: 1, Cause: trace.CauseRetry})
	for _, f := range Findings(tr) {
		if f.ID == HTTPReuseRace {
			t.Errorf("%s: %s", f.ID, f.Title)
		}
	}
}

// The status is not said to have told that all was well where it did not.
func TestCutBodyOfAnError(t *testing.T) {
	for status, well := range map[int]bool{200: true, 206: true, 404: false, 502: false} {
		if got := strings.Contains(wellUntilTheEnd(status), "all was well"); got != well {
			t.Errorf("%d: all was well is said: %v", status, got)
		}
	}
}
