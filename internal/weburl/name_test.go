package weburl

import "testing"

func TestRFC5890_NamesInASCII(t *testing.T) {
	for in, want := range map[string]string{
		"bücher.example.com": "xn--bcher-kva.example.com", "BÜCHER.Example.com.": "xn--bcher-kva.example.com.", "straße.example": "xn--strae-oqa.example",
		"_dmarc.Example.com": "_dmarc.Example.com", `a\195b.example`: `a\195b.example`, "_x.bücher.example": "_x.xn--bcher-kva.example", "例え。テスト": "xn--r8jz45g.xn--zckzah",
	} {
		if got, err := ASCIIName(in); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"b\xfccher.example", "a\u0378.example", "xn--\u00fc.example", "\u200d.example"} {
		if got, err := ASCIIName(in); err == nil {
			t.Errorf("%q is taken as %s", in, got)
		}
	}
}
