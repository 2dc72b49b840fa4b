package decision

import "peel/trace"

// Cause says what led from one exchange to the next.
type Cause = trace.Cause

// Causes. The empty one is a request that nothing led to.
const (
	CauseRedirect = trace.CauseRedirect
	CauseAuth     = trace.CauseAuth
	CauseRetry    = trace.CauseRetry
)

// RequestStarted says that a request was handed in.
type RequestStarted struct {
	Method    string
	Scheme    string
	Authority string
	// Target is the path and the query, as in the request line.
	Target string
	// Input is what the person typed, and Normalised how it became the URL.
	Input      string
	Normalised []string
	// Predecessor is the exchange of the capture that led here; 0 is none.
	Predecessor uint32
	Cause       Cause
}

// Name is trace.EventRequestStart.
func (*RequestStarted) Name() trace.EventName { return trace.EventRequestStart }

func (d *RequestStarted) fields(c *codec) {
	c.text(&d.Method)
	c.text(&d.Scheme)
	c.text(&d.Authority)
	c.text(&d.Target)
	c.text(&d.Input)
	c.texts(&d.Normalised)
	c.uint32(&d.Predecessor)
	word(c, &d.Cause)
}

// RequestBound says that the exchange takes the socket, and on HTTP/2 the
// stream, that the record names.
type RequestBound struct{}

// Name is trace.EventRequestBind.
func (*RequestBound) Name() trace.EventName { return trace.EventRequestBind }

func (*RequestBound) fields(*codec) {}

// RequestFailed says why an exchange has no response, or none of use.
type RequestFailed struct {
	Failure trace.Failure
	// Next is what is done about it; empty when nothing is.
	Next string
}

// Name is trace.EventRequestFailed.
func (*RequestFailed) Name() trace.EventName { return trace.EventRequestFailed }

func (d *RequestFailed) fields(c *codec) {
	c.failure(&d.Failure)
	c.text(&d.Next)
	word(c, &d.Failure.Hint)
}

func (d *RequestFailed) note() string { return d.Failure.Seen }

// BodyDecoded says that the content encoding of a response was taken off.
type BodyDecoded struct {
	// Size is the bytes that came out, from 0.
	Size int64
}

// Name is trace.EventBodyDecoded.
func (*BodyDecoded) Name() trace.EventName { return trace.EventBodyDecoded }

func (d *BodyDecoded) fields(c *codec) { c.int64(&d.Size) }

// BodyRead says that the client has read a response to its end. What of it a
// capture of packets lacks was there all the same.
type BodyRead struct {
	Status uint16
	// Size is the bytes of the body, as transferred, from 0.
	Size int64
}

// Name is trace.EventBodyRead.
func (*BodyRead) Name() trace.EventName { return trace.EventBodyRead }

func (d *BodyRead) fields(c *codec) {
	c.uint16(&d.Status)
	c.int64(&d.Size)
}

// BodyAbandoned says that nobody read a response's body to its end.
type BodyAbandoned struct{}

// Name is trace.EventBodyAbandoned.
func (*BodyAbandoned) Name() trace.EventName { return trace.EventBodyAbandoned }

func (*BodyAbandoned) fields(*codec) {}

// Redirected says that a response leads to another request.
type Redirected struct {
	// Text says where to, and what becomes of the method.
	Text string
}

// Name is trace.EventRedirect.
func (*Redirected) Name() trace.EventName { return trace.EventRedirect }

func (d *Redirected) fields(c *codec) { c.text(&d.Text) }

func (d *Redirected) note() string { return d.Text }

// CookieStored says that the cookie of a response was taken into the jar.
type CookieStored struct{ Text string }

// Name is trace.EventCookieStored.
func (*CookieStored) Name() trace.EventName { return trace.EventCookieStored }

func (d *CookieStored) fields(c *codec) { c.text(&d.Text) }

func (d *CookieStored) note() string { return d.Text }

// CookieRejected says that it was not, and why.
type CookieRejected struct{ Text string }

// Name is trace.EventCookieRejected.
func (*CookieRejected) Name() trace.EventName { return trace.EventCookieRejected }

func (d *CookieRejected) fields(c *codec) { c.text(&d.Text) }

func (d *CookieRejected) note() string { return d.Text }
