package content

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"peel/internal/needs"
)

func encode(t testing.TB, coding string, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "raw":
		w, _ = flate.NewWriter(&b, 6)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	}
	w.Write(p)
	w.Close()
	return b.Bytes()
}

func decode(b []byte, codings string, lim Limit) ([]byte, error) {
	r, err := NewReader(bytes.NewReader(b), codings, lim)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

var body = []byte(strings.Repeat("all that glitters is not gold; ", 1000))

func TestEachCodingComesOff(t *testing.T) {
	for coding, as := range map[string]string{"gzip": "gzip", "deflate": "deflate", "raw": "deflate", "br": "br", "zstd": "zstd"} {
		got, err := decode(encode(t, coding, body), as, Limit{})
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v", coding, len(got), err)
		}
		if got, err := decode(nil, as, Limit{}); err != nil && coding != "br" || len(got) > 0 {
			t.Errorf("%s: an empty body gives %d bytes, %v", coding, len(got), err)
		}
	}
	two := append(encode(t, "gzip", body), encode(t, "gzip", []byte("more"))...)
	if got, err := decode(two, "X-GZip", Limit{}); err != nil || len(got) != len(body)+4 {
		t.Errorf("two gzip members: %d bytes, %v", len(got), err)
	}
	if got, err := decode(encode(t, "br", encode(t, "gzip", body)), "gzip, identity, br", Limit{}); err != nil || !bytes.Equal(got, body) {
		t.Errorf("br upon gzip: %d bytes, %v", len(got), err)
	}
}

// The command-line tools are other implementations.
func TestReadsWhatOtherToolsWrite(t *testing.T) {
	for coding, cmd := range map[string][]string{"gzip": {"gzip", "-c"}, "br": {"brotli", "-c"}, "zstd": {"zstd", "-c"}} {
		t.Run(coding, func(t *testing.T) {
			c := exec.Command(needs.Tool(t, cmd[0]), cmd[1:]...)
			c.Stdin = bytes.NewReader(body)
			b, err := c.Output()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := decode(b, coding, Limit{}); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestCutBodyGivesWhatCameAndSaysSo(t *testing.T) {
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		whole := encode(t, coding, bytes.Repeat(append(body, []byte(coding)...), 20))
		_, err := decode(whole[:len(whole)-5], coding, Limit{})
		if err == nil {
			t.Errorf("%s: a cut body is not noticed", coding)
		}
	}
	own := errors.New("the connection broke")
	r, _ := NewReader(io.MultiReader(bytes.NewReader(encode(t, "gzip", body)[:20]), errReader{own}), "gzip", Limit{})
	if _, err := io.ReadAll(r); err != own {
		t.Errorf("the body's own error comes out as %v", err)
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestBombsStopAtTheBound(t *testing.T) {
	zeros := make([]byte, 64<<20)
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		bomb := encode(t, coding, zeros)
		r, err := NewReader(bytes.NewReader(bomb), coding, Limit{FreeBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		var be *BombError
		if !errors.As(err, &be) || n > 24<<20 {
			t.Errorf("%s: %d bytes came out, %v", coding, n, err)
		}
	}
	got, err := decode(encode(t, "gzip", body), "gzip", Limit{MaxBytes: 100})
	var be *BombError
	if !errors.As(err, &be) || len(got) != 100 {
		t.Errorf("MaxBytes 100: %d bytes, %v", len(got), err)
	}
}

func TestUnknownAndTooManyCodings(t *testing.T) {
	var u *UnknownError
	if _, err := decode(nil, "gzip, rot13", Limit{}); !errors.As(err, &u) || u.Coding != "rot13" {
		t.Error(err)
	}
	if _, err := decode(nil, "gzip,gzip,gzip,gzip,gzip,gzip", Limit{}); err == nil {
		t.Error("six codings are taken")
	}
}

func FuzzReader(f *testing.F) {
	for _, c := range []string{"gzip", "deflate", "br", "zstd"} {
		f.Add(encode(f, c, body[:200]), c)
	}
	f.Fuzz(func(t *testing.T, b []byte, codings string) {
		r, err := NewReader(bytes.NewReader(b), codings, Limit{MaxBytes: 1 << 20})
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, r)
		if n > 1<<20 {
			t.Fatalf("%d bytes came out", n)
		}
	})
}

// What is no gzip at all is said to be none, however short.
func TestNoGzip(t *testing.T) {
	for _, body := range []string{"h", "hello", strings.Repeat("hello ", 100)} {
		r, err := NewReader(strings.NewReader(body), "gzip", Limit{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.ReadAll(r); !errors.Is(err, gzip.ErrHeader) {
			t.Errorf("%.10q: %v, want %v", body, err, gzip.ErrHeader)
		}
	}
}
