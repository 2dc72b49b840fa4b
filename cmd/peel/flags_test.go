package main

import (
	"strings"
	"testing"
)

// Where several flags are wrong, the same one is named every time.
func TestFlagErrorsComeInOrder(t *testing.T) {
	for args, want := range map[string]string{
		"--packets no --fail-on no --redact no --color no http://127.0.0.1/":                  `--color is "no"; it takes one of: auto always never`,
		"--stall-time -1 --connect-timeout -1 --max-time -1 http://127.0.0.1/":                "--max-time is -1",
		"read --fail-on no --redact no --color no nothing.pcapng":                             `--color is "no"; it takes one of: auto always never`,
		"read --fail-on no --redact no nothing.pcapng":                                        `--redact is "no"; it takes one of: on off`,
		"read --to tomorrow --from yesterday nothing.pcapng":                                  `--from is "yesterday"`,
		"read --fail-on no --to tomorrow --from yesterday --color always nothing-else.pcapng": `--fail-on is "no"; it takes one of: info warning error`,
	} {
		for range 3 {
			if _, stderr, code := runPeel(t, strings.Fields(args)...); code != exitUsage || !strings.Contains(stderr, want) {
				t.Errorf("%s: exit %d, %s, want %s", args, code, stderr, want)
			}
		}
	}
}
