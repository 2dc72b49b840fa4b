package httpfield

import "testing"

func TestListKeepsOrderAndCase(t *testing.T) {
	l := List{{Name: "Host", Value: "a"}, {Name: "X-One", Value: "1"}, {Name: "x-one", Value: "2"}, {Name: "Connection", Value: "keep-alive, Upgrade"}}
	if v, ok := l.Get("HOST"); !ok || v != "a" {
		t.Errorf("Get: %q %v", v, ok)
	}
	if v := l.Values("x-ONE"); len(v) != 2 || v[1] != "2" {
		t.Errorf("Values: %v", v)
	}
	if !l.HasToken("connection", "upgrade") || l.HasToken("connection", "up") {
		t.Error("HasToken")
	}
	c := l.Clone()
	c.Set("x-one", "3")
	if len(c) != 3 || c[1].Name != "X-One" || c[1].Value != "3" || l[1].Value != "1" {
		t.Errorf("Set: %v, the original %v", c, l)
	}
	c.Del("host")
	c.Add("New", "n")
	if c.Has("Host") || c[len(c)-1].Name != "New" || c.Value("missing") != "" {
		t.Errorf("%v", c)
	}
}

func TestRFC9110_5_NamesAndValues(t *testing.T) {
	for name, want := range map[string]bool{"Host": true, "x-!#$%&'*+-.^_`|~9": true, "": false, "a b": false, "a:b": false, "a\r": false, "ü": false, "a(b)": false} {
		if ValidName(name) != want || ValidName([]byte(name)) != want {
			t.Errorf("name %q", name)
		}
	}
	for value, want := range map[string]bool{"": true, "a b": true, "a\tb": true, "\xc3\xbc": true, " a": false, "a\t": false, "a\r\nb": false, "a\x00": false, "a\x7f": false} {
		if ValidValue(value) != want {
			t.Errorf("value %q", value)
		}
	}
}

func TestEqualNameFoldsASCIIOnly(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"Content-Type", "content-TYPE", true}, {"a", "b", false}, {"a", "ab", false}, {"@", "`", false}, {"[", "{", false}, {"K", "\u212a", false}} {
		if EqualName(c.a, c.b) != c.want {
			t.Errorf("%q %q", c.a, c.b)
		}
	}
}
