package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"peel/trace"
)

var (
	corpusSample = flag.Int("corpus-sample", 0, "print the findings in that many random files of the corpus for each ID, to be judged by hand")
	corpusSeed   = flag.Uint64("corpus-seed", 1, "which random files")
)

const findingsFile = "testdata/corpus/findings.tsv"

// What peel finds in the captures of the world stands in a table: how often, in
// how many files, and how many of a random sample were true when a person held
// them against the bytes. A finding that comes or goes changes the table.
func TestCorpusFindings(t *testing.T) {
	files := readCorpus(t)
	count, in := map[trace.FindingID]int{}, map[trace.FindingID][]*corpusFile{}
	for _, f := range files {
		if f.trace == nil {
			continue // TestCorpusAsTsharkReadsIt tells
		}
		for _, x := range f.trace.Findings {
			count[x.ID]++
			if list := in[x.ID]; len(list) == 0 || list[len(list)-1] != f {
				in[x.ID] = append(list, f)
			}
			if len(x.Evidence) == 0 {
				t.Errorf("%s: %s has no evidence: %s", f.name, x.ID, x.Title)
			}
		}
	}
	judged := judgedFindings(t)
	var b bytes.Buffer
	b.WriteString("# Findings in the corpus: ID, how many, in how many files, what was judged by hand.\n")
	for _, id := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(&b, "%s\t%d\t%d\t%s\n", id, count[id], len(in[id]), judged[id])
	}
	if *updateCorpus {
		if err := os.WriteFile(findingsFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want, err := os.ReadFile(findingsFile); err != nil || !bytes.Equal(want, b.Bytes()) {
		t.Errorf("the findings are not those of the table (%v):\n%s", err, strings.Join(difference(strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")), "\n"))
	}
	if *corpusSample > 0 {
		random := rand.New(rand.NewPCG(*corpusSeed, 0))
		for _, id := range slices.Sorted(maps.Keys(count)) {
			list := slices.Clone(in[id])
			random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			for _, f := range list[:min(len(list), *corpusSample)] {
				for _, x := range f.trace.Findings {
					if x.ID == id {
						t.Logf("%s %s in %s: %s | connection %d, request %d, lookup %d | %s", x.Severity, id, f.name, x.Title, x.Connection, x.Exchange, x.Lookup, x.Explanation)
					}
				}
			}
		}
	}
}

// judgedFindings are the last column of the table.
func judgedFindings(t *testing.T) map[trace.FindingID]string {
	t.Helper()
	b, err := os.ReadFile(findingsFile)
	if err != nil && !*updateCorpus {
		t.Fatal(err)
	}
	judged := map[trace.FindingID]string{}
	for line := range strings.Lines(string(b)) {
		if p := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(p) == 4 {
			judged[trace.FindingID(p[0])] = p[3]
		}
	}
	return judged
}
