// Package jsontrace writes a trace as JSON and describes that JSON by a JSON
// Schema.
package jsontrace

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"peel/trace"
)

// Options say what the JSON holds beside the trace itself.
type Options struct {
	// Fields, when set, gives the fields of each event's message; they and
	// the bytes in hexadecimal are then part of the events.
	Fields func(*trace.Trace, *trace.Event) []trace.Field
	// PacketFields does so for packets.
	PacketFields func(*trace.Packet) []trace.Field
}

// Write writes the trace, indented, with a line end. It makes the text of one
// part after the other, so that all of it is never in memory.
func Write(w io.Writer, t *trace.Trace, o Options) error {
	out := &writer{w: bufio.NewWriterSize(w, 1<<16)}
	v := reflect.ValueOf(t).Elem()
	out.text("{")
	first := true
	for i := range v.NumField() {
		name, opts, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f := v.Field(i)
		if name == "-" || strings.Contains(opts, "omitempty") && (f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0) {
			continue
		}
		if !first {
			out.text(",")
		}
		first = false
		out.text("\n  \"" + name + "\": ")
		if f.Kind() != reflect.Slice || f.Len() == 0 {
			out.value(f.Interface(), "  ")
			continue
		}
		out.text("[")
		for j := range f.Len() {
			if j > 0 {
				out.text(",")
			}
			out.text("\n    ")
			out.value(o.whole(t, f.Index(j).Interface()), "    ")
		}
		out.text("\n  ]")
	}
	out.text("\n}\n")
	if out.err == nil {
		out.err = out.w.Flush()
	}
	return out.err
}

// whole is a part of a trace with the fields that were asked for.
func (o Options) whole(t *trace.Trace, part any) any {
	switch p := part.(type) {
	case *trace.Event:
		if o.Fields != nil {
			c := *p
			c.Fields = o.Fields(t, p)
			c.Hex = hex.EncodeToString(p.Raw)
			return &c
		}
	case *trace.Packet:
		if o.PacketFields != nil {
			c := *p
			c.Fields = o.PacketFields(p)
			c.Hex = hex.EncodeToString(p.Raw)
			return &c
		}
	}
	return part
}

// writer writes JSON a value at a time.
type writer struct {
	w   *bufio.Writer
	buf bytes.Buffer
	err error
}

func (w *writer) text(s string) {
	if w.err == nil {
		_, w.err = w.w.WriteString(s)
	}
}

// value writes a value whose lines after the first begin with indent.
func (w *writer) value(v any, indent string) {
	if w.err != nil {
		return
	}
	w.buf.Reset()
	e := json.NewEncoder(&w.buf)
	e.SetEscapeHTML(false)
	e.SetIndent(indent, "  ")
	if w.err = e.Encode(v); w.err == nil {
		_, w.err = w.w.Write(bytes.TrimRight(w.buf.Bytes(), "\n"))
	}
}

// Schema returns the JSON Schema (draft 2020-12) of what Write writes. It is
// made from the types themselves, so that it cannot fall behind them.
func Schema() []byte {
	b := &builder{defs: map[string]any{}}
	root := b.object(reflect.TypeFor[trace.Trace]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "A peel trace"
	root["description"] = "Everything that happened on the way of one or more HTTP requests. Times are nanoseconds since start; durations are nanoseconds; sizes are bytes."
	root["properties"].(map[string]any)["schema_version"] = map[string]any{"const": trace.SchemaVersion}
	root["$defs"] = b.defs
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // maps, strings and numbers only
	}
	return out
}

type builder struct{ defs map[string]any }

// of returns the schema of a type.
func (b *builder) of(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[trace.Time]():
		return map[string]any{"type": "integer", "description": "nanoseconds since start"}
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[trace.Question](), reflect.TypeFor[trace.Alert]():
		return map[string]any{"type": "string"} // they marshal as text
	case reflect.TypeFor[trace.Duration]():
		return map[string]any{"type": "integer", "description": "nanoseconds"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct {
			return map[string]any{"anyOf": []any{b.of(t.Elem()), map[string]any{"type": "null"}}}
		}
		return b.of(t.Elem())
	case reflect.Struct:
		name := t.Name()
		if _, ok := b.defs[name]; !ok {
			b.defs[name] = nil // breaks recursion: a Field has Fields
			b.defs[name] = b.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + name}
	case reflect.Slice:
		elem := t.Elem()
		if elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		return map[string]any{"type": "array", "items": b.of(elem)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": b.of(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return map[string]any{"type": "integer"}
	}
	panic(fmt.Sprintf("jsontrace: no schema for %v", t))
}

func (b *builder) object(t reflect.Type) map[string]any {
	props := map[string]any{}
	required := []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		props[name] = b.of(f.Type)
		if !strings.Contains(opts, "omitempty") && !strings.Contains(opts, "omitzero") {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": props, "required": required, "additionalProperties": false}
}
