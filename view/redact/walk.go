package redact

import (
	"reflect"

	"peel/trace"
	"peel/wire/http2"
)

// frameHeader is the length of an HTTP/2 frame's header (RFC 9113 §4.1), in
// which nothing is a secret.
const frameHeader = http2.FrameHeaderLen

func isFrame(e *trace.Event) bool {
	return e.Layer == trace.LayerHTTP2 && e.Name != trace.EventHTTP2Preface && e.Name != trace.LayerHTTP2.Malformed()
}

func isHeaderBlock(e *trace.Event) bool {
	return e.Name == http2.FrameHeaders.Event() || e.Name == http2.FrameContinuation.Event() || e.Name == http2.FramePushPromise.Event()
}

// deepCopy copies exported data; a trace has no cycles.
func deepCopy(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(deepCopy(v.Elem()))
		return p
	case reflect.Slice:
		if v.IsNil() || !texts(v.Type().Elem()) {
			return v // nothing in it is changed
		}
		s := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			s.Index(i).Set(deepCopy(v.Index(i)))
		}
		return s
	case reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.Pointer, reflect.Slice, reflect.Struct:
				if f.CanInterface() { // it is exported
					c.Field(i).Set(deepCopy(f))
				}
			}
		}
		return c
	}
	return v
}

// texts tells whether a type can hold a string.
func texts(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Interface, reflect.Map:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return texts(t.Elem())
	case reflect.Struct:
		if t == reflect.TypeFor[trace.Field]() {
			return true // it holds itself
		}
		for i := range t.NumField() {
			if t.Field(i).IsExported() && texts(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

// texts takes the secrets out of every string below v.
func (r *redaction) texts(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			r.texts(v.Elem())
		}
	case reflect.Slice:
		if !texts(v.Type().Elem()) {
			return
		}
		for i := range v.Len() {
			r.texts(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() { // it is exported
				r.texts(f)
			}
		}
	case reflect.String:
		if s := v.String(); len(s) >= shortest {
			if t := r.marked(s, (*secrets)(nil).address(s, false)); t != s {
				v.SetString(t)
			}
		}
	}
}
