package peel

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors says on which floor each folder stands, by the longest folder that a
// package's path begins with. A package imports from floors below its own, and
// from its own folder; the compiler sees to it that there is no cycle.
var floors = map[string]int{
	"clock": 0, "trace": 0,
	"wire": 1, "internal": 1,
	"dns": 2, "stack": 2,
	"evidence": 3,
	"client":   4, "server": 4, "lab": 5,
	"view":     5,
	".":        6,
	"cmd/peel": 7,
}

// folderOf returns the folder that gives a package its floor.
func folderOf(dir string) (string, bool) {
	for d := dir; ; d = path.Dir(d) {
		if _, ok := floors[d]; ok {
			return d, d != "." || dir == "."
		}
		if d == "." {
			return "", false
		}
	}
}

func TestImportsGoDownTheFloors(t *testing.T) {
	for dir, imports := range projectImports(t) {
		from, ok := folderOf(dir)
		if !ok {
			t.Errorf("package %s stands on no floor: put it into one of the folders of floors_test.go", dir)
			continue
		}
		for to := range imports {
			folder, ok := folderOf(to)
			switch {
			case !ok:
				t.Errorf("%s imports %s, which stands on no floor", dir, to)
			case folder == from:
			case floors[folder] >= floors[from]:
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down", dir, floors[from], to, floors[folder])
			}
		}
	}
}

// engines are the packages that are sans-IO: everything below these folders
// but the drivers, which own sockets, goroutines and clocks.
var (
	engines = []string{"wire", "dns", "stack", "evidence/analyze", "evidence/explain", "evidence/decision", "evidence/failure"}
	drivers = []string{"dns/client", "dns/server", "stack/socket"}
)

func isEngine(dir string) bool {
	below := func(list []string) bool {
		return slices.ContainsFunc(list, func(f string) bool { return dir == f || strings.HasPrefix(dir, f+"/") })
	}
	return below(engines) && !below(drivers)
}

// Engines are sans-IO: no sockets, no files, no goroutine, no reading of the
// clock, no global randomness.
func TestEnginesDoNoIO(t *testing.T) {
	forbidden := []string{"os", "math/rand", "crypto/rand", "net/http", "crypto/tls"}
	n := 0
	for dir := range projectImports(t) {
		if !isEngine(dir) {
			continue
		}
		n++
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range f.Imports {
				if imp, _ := strconv.Unquote(s.Path.Value); slices.Contains(forbidden, imp) {
					t.Errorf("%s imports %s: an engine does no I/O and draws no randomness of its own", file, imp)
				}
			}
			ast.Inspect(f, func(node ast.Node) bool {
				switch node := node.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: an engine starts no goroutine", fset.Position(node.Pos()))
				case *ast.SelectorExpr:
					if x, ok := node.X.(*ast.Ident); ok && x.Obj == nil && forbiddenCall(x.Name, node.Sel.Name) {
						t.Errorf("%s: an engine does not call %s.%s: time and entropy are passed in", fset.Position(node.Pos()), x.Name, node.Sel.Name)
					}
				}
				return true
			})
		}
	}
	if n < 20 {
		t.Fatalf("only %d engines found: does the test run in the project's root?", n)
	}
}

// forbiddenCall tells what reads the clock, waits, or draws from the source of
// randomness that all share. rand.New and its sources are an engine's own.
func forbiddenCall(pkg, name string) bool {
	switch pkg {
	case "time":
		return slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}, name)
	case "rand":
		return !slices.Contains([]string{"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "PCG", "ChaCha8"}, name)
	case "clock":
		return name == "NewReal"
	}
	return false
}

// projectImports returns, for each directory with Go files, the directories of
// this module that its non-test files import.
func projectImports(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "bench" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if all[dir] == nil {
			all[dir] = map[string]bool{}
		}
		for _, imp := range fileImports(t, path) {
			if imp == "peel" {
				all[dir]["."] = true
			} else if rest, ok := strings.CutPrefix(imp, "peel/"); ok {
				all[dir][rest] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages found: does the test run in the project's root?", len(all))
	}
	return all
}

func fileImports(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range f.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}
