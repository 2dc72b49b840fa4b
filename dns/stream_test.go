package dns

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// RFC 1035 §4.2.2: what was appended is cut and read again, message by
// message, however the stream is chopped.
func TestStreamOfMessages(t *testing.T) {
	messages := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte("x"), 513), bytes.Repeat([]byte("y"), MaxMessage), []byte("last")}
	var stream []byte
	for _, m := range messages {
		stream = AppendStream(stream, m)
	}
	if !bytes.HasPrefix(stream, []byte("\x00\x03one\x00\x00\x02\x01x")) {
		t.Fatalf("% x", stream[:10])
	}
	rest := stream
	r := iotest.HalfReader(bytes.NewReader(stream))
	var buf []byte
	for i, want := range messages {
		var msg []byte
		var ok bool
		if msg, rest, ok = CutStream(rest); !ok || !bytes.Equal(msg, want) {
			t.Fatalf("message %d: cut %d octets, %v; want %d", i, len(msg), ok, len(want))
		}
		var err error
		if buf, err = ReadStream(r, buf); err != nil || !bytes.Equal(buf, want) {
			t.Fatalf("message %d: read %d octets, %v; want %d", i, len(buf), err, len(want))
		}
	}
	if len(rest) != 0 {
		t.Fatalf("%d octets left", len(rest))
	}
	if _, err := ReadStream(r, buf); err != io.EOF {
		t.Fatalf("%v, want EOF between messages", err)
	}
}

func TestStreamThatBreaksOff(t *testing.T) {
	whole := AppendStream(nil, []byte("abc"))
	for n := range whole {
		if msg, rest, ok := CutStream(whole[:n]); ok || msg != nil || len(rest) != n {
			t.Errorf("%d octets: %q, %d left, %v", n, msg, len(rest), ok)
		}
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if _, err := ReadStream(bytes.NewReader(whole[:n]), nil); err != want {
			t.Errorf("%d octets: %v, want %v", n, err, want)
		}
	}
}

// A message with room behind it does not lay itself over the next.
func TestCutStreamKeepsMessagesApart(t *testing.T) {
	b := AppendStream(AppendStream(nil, []byte("a")), []byte("b"))
	first, rest, _ := CutStream(b)
	_ = append(first, "zzz"...)
	if second, _, ok := CutStream(rest); !ok || string(second) != "b" {
		t.Fatalf("%q %v", second, ok)
	}
}
