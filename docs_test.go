package peel

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// wellKnown are methods whose name and interface say all there is to say.
var wellKnown = map[string]bool{
	"String": true, "Error": true, "Unwrap": true, "Is": true, "As": true, "GoString": true, "Format": true,
	"Read": true, "Write": true, "Close": true, "ReadFrom": true, "WriteTo": true, "ReadByte": true, "WriteString": true, "Flush": true, "Seek": true, "ReadAt": true,
	"Len": true, "Less": true, "Swap": true, "Push": true, "Pop": true,
	"MarshalText": true, "UnmarshalText": true, "MarshalJSON": true, "UnmarshalJSON": true, "MarshalBinary": true, "UnmarshalBinary": true,
	"Network": true, "Addr": true, "Accept": true, "LocalAddr": true, "RemoteAddr": true, "Timeout": true, "Temporary": true,
	"SetDeadline": true, "SetReadDeadline": true, "SetWriteDeadline": true, "SyscallConn": true,
}

// Whatever a user of a package can name has a comment that says what it is.
// A group of constants or variables may have one comment for all, and the
// fields of a struct are covered by the struct's own.
func TestExportedNamesAreDocumented(t *testing.T) {
	packages := map[string]bool{} // directory to: has a package comment
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch file {
			case "cmd", "bench", "internal/needs":
				return filepath.SkipDir
			}
			if name := d.Name(); name == "testdata" || strings.HasPrefix(name, ".") && name != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.Dir(file)
		packages[dir] = packages[dir] || f.Doc != nil
		if f.Doc != nil && !strings.HasPrefix(f.Doc.Text(), "Package "+f.Name.Name+" ") {
			t.Errorf("%s: the package's comment does not begin with \"Package %s\"", file, f.Name.Name)
		}
		for _, u := range undocumented(fset, f) {
			t.Errorf("%s: %s has no comment", fset.Position(u.pos), u.name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, documented := range packages {
		if !documented {
			t.Errorf("package %s has no comment", dir)
		}
	}
	if len(packages) < 40 {
		t.Fatalf("only %d packages found: does the test run in the project's root?", len(packages))
	}
}

type exported struct {
	name string
	pos  token.Pos
}

func notInName(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' }

// undocumented returns the exported names of a file that have no comment. A
// comment is also that of the functions below it that it names, up to the next
// empty line.
func undocumented(fset *token.FileSet, f *ast.File) (out []exported) {
	missing := func(pos token.Pos, format string, args ...any) {
		out = append(out, exported{fmt.Sprintf(format, args...), pos})
	}
	var head *ast.FuncDecl // of a run of functions
	end := 0               // its last line
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Doc != nil {
				head = d
			} else if fset.Position(d.Pos()).Line != end+1 {
				head = nil
			}
			end = fset.Position(d.End()).Line
			switch {
			case d.Doc != nil || !d.Name.IsExported():
			case head != nil && slices.Contains(strings.FieldsFunc(head.Doc.Text(), notInName), d.Name.Name):
			case d.Recv == nil:
				missing(d.Pos(), "func %s", d.Name.Name)
			case wellKnown[d.Name.Name]:
			default:
				if r := receiver(d.Recv.List[0].Type); ast.IsExported(r) {
					missing(d.Pos(), "method %s.%s", r, d.Name.Name)
				}
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && (d.Doc == nil || d.Lparen.IsValid()) {
						missing(s.Pos(), "type %s", s.Name.Name)
					}
				case *ast.ValueSpec:
					if d.Doc != nil || s.Doc != nil || s.Comment != nil {
						continue
					}
					for _, n := range s.Names {
						if n.IsExported() {
							missing(n.Pos(), "%s %s", d.Tok, n.Name)
						}
					}
				}
			}
		}
	}
	return out
}

// receiver returns the name of a method's type, without pointer and type
// parameters.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// The check itself sees what it should.
func TestUndocumentedIsSeen(t *testing.T) {
	const source = `package p

type A struct{ X int }

// B is told.
type B struct{}

func (B) String() string { return "" }
func (B) Tell()          {}
func (c *c) Tell()       {}

const (
	One = 1 // told
	Two = 2
)

// Told together.
const (
	Three = 3
	Four  = 4
)

var V, w int

func F() {}

// G and H are a run.
func G() {}
func H() {}
func I() {}
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range undocumented(fset, f) {
		got = append(got, u.name)
	}
	if s, want := strings.Join(got, ", "), "type A, method B.Tell, const Two, var V, func F, func I"; s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}
