package decision

import "peel/trace"

// TLSStarted says what a client is about to offer.
type TLSStarted struct {
	ServerName string
	// ALPN lists the protocols offered, the preferred first.
	ALPN []string
}

// Name is trace.EventTLSStart.
func (*TLSStarted) Name() trace.EventName { return trace.EventTLSStart }

func (d *TLSStarted) fields(c *codec) {
	c.text(&d.ServerName)
	c.texts(&d.ALPN)
}

// TLSDone says that the handshake is complete.
type TLSDone struct {
	// ALPN is the protocol agreed on; empty when none was.
	ALPN string
}

// Name is trace.EventTLSDone.
func (*TLSDone) Name() trace.EventName { return trace.EventTLSDone }

func (d *TLSDone) fields(c *codec) { c.text(&d.ALPN) }

// TLSFailed says that the handshake failed.
type TLSFailed struct {
	// Code and Seen are those of a trace.Failure.
	Code trace.FailureCode
	Seen string
}

// Name is trace.EventTLSFailed.
func (*TLSFailed) Name() trace.EventName { return trace.EventTLSFailed }

func (d *TLSFailed) fields(c *codec) {
	word(c, &d.Code)
	c.text(&d.Seen)
}

func (d *TLSFailed) note() string { return d.Seen }

// TLSVerdict is what the verifier says about the peer's chain.
type TLSVerdict struct {
	OK bool
	// Code is a stable word such as "expired"; Reason is one line, and
	// Explanation and Try say more and what to do.
	Code                     trace.VerdictCode
	Reason, Explanation, Try string
	// Hint says what of the program that asked would help.
	Hint trace.Hint
	// Ignored tells that the person asked to go on regardless.
	Ignored bool
}

// Name is trace.EventTLSVerdict.
func (*TLSVerdict) Name() trace.EventName { return trace.EventTLSVerdict }

func (d *TLSVerdict) fields(c *codec) {
	c.bool(&d.OK)
	word(c, &d.Code)
	c.text(&d.Reason)
	c.text(&d.Explanation)
	c.text(&d.Try)
	c.bool(&d.Ignored)
	word(c, &d.Hint)
}

func (d *TLSVerdict) note() string { return d.Reason }
