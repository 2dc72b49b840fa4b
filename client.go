package peel

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"peel/client"
	"peel/evidence/analyze"
	"peel/evidence/decision"
	"peel/trace"
	"peel/wire/httpfield"
)

// Options of a Client: those of package client for its requests, and how its
// evidence is taken, as RecordOptions say. The zero value keeps the newest 64
// MiB of evidence and captures no packets.
type Options struct {
	// Clock is also the recording's, and Recorder what it is taken from.
	// Network must not be set when packets are captured.
	client.Options
	// Evidence bounds the bytes of evidence that wait for the analysis; 0
	// means 64 MiB.
	Evidence int
	// Whole has the analysis follow, and the program wait for it rather than
	// drop evidence.
	Whole bool
	// Packets are captured or not.
	Packets Packets
	// Limits bound what a trace holds.
	Limits analyze.Limits
	// Recording, when set, is where the evidence goes, so that several
	// clients have one trace. It is made and closed by the caller, and of
	// Evidence, Whole, Packets, Limits, Clock and Recorder none may be set.
	Recording *Recording
}

// recording returns the one that the options name, or a new one.
func (o *Options) recording() (r *Recording, own bool, err error) {
	if r := o.Recording; r != nil {
		switch {
		case o.Clock != nil && o.Clock != r.Clock(), o.Recorder != nil && o.Recorder != r.Recorder(),
			o.Evidence != 0, o.Whole, o.Packets != NoPackets, o.Limits != analyze.Limits{}:
			return nil, false, errors.New("peel: Recording is set beside Evidence, Whole, Packets, Limits, Clock or Recorder, which are its business")
		}
	} else if r, err = Record(RecordOptions{Clock: o.Clock, Evidence: o.Evidence, Whole: o.Whole, Packets: o.Packets, Limits: o.Limits, Recorder: o.Recorder}); err != nil {
		return nil, false, err
	} else {
		own = true
		o.Recording = r
	}
	r = o.Recording
	if r.packets != nil && o.Network != nil {
		if own {
			r.Close()
		}
		return nil, false, errors.New("peel: Network is set although packets are captured, which only the host's network permits")
	}
	return r, own, nil
}

// Client is an http.RoundTripper whose responses come with a trace. It
// follows no redirects and keeps no cookies; http.Client does both with it,
// and the exchanges of a redirect know each other. It is safe for concurrent
// use. The zero Client is not usable; call NewClient.
type Client struct {
	c         *client.Client
	recording *Recording
	own       bool
}

// NewClient makes a client that records. It fails when options contradict
// each other, and when NeedPackets asks for what is not permitted.
func NewClient(o Options) (*Client, error) {
	r, own, err := o.recording()
	if err != nil {
		return nil, err
	}
	o.Clock, o.Recorder = r.Clock(), r.Recorder()
	if o.Network == nil {
		o.Network = r.Network()
	}
	return &Client{c: client.New(o.Options), recording: r, own: own}, nil
}

// Close closes every connection; requests under way fail. It ends the
// recording that NewClient made, so that a file it is stored in is complete;
// Recording.Close tells what storing came to. Traces can be asked for after it.
func (c *Client) Close() {
	c.c.Close()
	if c.own {
		c.recording.Close()
	}
}

// CloseIdleConnections closes the connections that no request uses.
func (c *Client) CloseIdleConnections() { c.c.CloseIdle("CloseIdleConnections was called") }

// Trace returns what happened so far, over all requests of the client. It can
// be called while requests run.
func (c *Client) Trace() *trace.Trace { return c.recording.Trace() }

// Recording is where the client's evidence goes.
func (c *Client) Recording() *Recording { return c.recording }

// Error is why a request did not succeed. What RoundTrip and the reading of a
// body return wraps one, so that errors.As finds it.
type Error = client.Error

// What TraceOf returns when it has no exchange to show.
var (
	// ErrNotTraced: the response came from elsewhere.
	ErrNotTraced = errors.New("peel: the response did not come from a peel.Client")
	// ErrNoEvidence: the evidence of the exchange was dropped, or is past the
	// limits of what a trace lists.
	ErrNoEvidence = errors.New("peel: the evidence of this exchange was not kept")
)

// TraceOf returns the trace of one response that a Client gave: its exchange,
// the last in the list, behind those that led to it (redirects, attempts that
// were repeated), the connections and lookups behind them, and their events.
// It tells what happened until now: ask when the body has been read.
//
// When evidence was dropped, a finding CAPTURE-LOSS says so. When nothing of
// the exchange is left, the trace holds that finding only, and the error is
// ErrNoEvidence. The error is ErrNotTraced, and the trace nil, for a response
// that came from elsewhere.
func TraceOf(resp *http.Response) (*trace.Trace, error) {
	o, ok := originOf(resp)
	if !ok {
		return nil, ErrNotTraced
	}
	whole, id, ok := o.recording.upToNow(o.exchange)
	var t *trace.Trace
	if ok {
		t = whole.Only(id)
	}
	var err error
	if t == nil {
		err = ErrNoEvidence
		t = &trace.Trace{SchemaVersion: whole.SchemaVersion, Start: whole.Start, Exchanges: []*trace.Exchange{}, Lookups: []*trace.Lookup{},
			Connections: []*trace.Connection{}, Packets: []*trace.Packet{}, Events: []*trace.Event{}, Findings: []*trace.Finding{}}
	}
	// What is missing from the whole may be missing from this part.
	for _, f := range whole.Findings {
		if (f.ID == analyze.CaptureLoss || f.ID == analyze.TraceCut) && !slices.Contains(t.Findings, f) {
			t.Findings = append(t.Findings, f)
		}
	}
	return t, err
}

// provenance says which exchange of which recording a response is of. It goes
// with the response's request, as bodies get wrapped on their way.
type provenance struct {
	recording *Recording
	exchange  uint32
}

type provenanceKey struct{}

func originOf(resp *http.Response) (provenance, bool) {
	if resp == nil || resp.Request == nil {
		return provenance{}, false
	}
	p, ok := resp.Request.Context().Value(provenanceKey{}).(provenance)
	return p, ok
}

// body fills in the trailers of a response at its end.
type body struct {
	io.ReadCloser
	resp    *http.Response
	trailer func() httpfield.List
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.resp.Trailer == nil {
		if t := b.trailer(); len(t) > 0 {
			b.resp.Trailer = header(t)
		}
	}
	return n, err
}

// RoundTrip sends a request. Header names go out as they stand in the map;
// as a map has no order, they are sent sorted by name. Use package client to
// choose the order. An error of the network wraps an *Error.
func (c *Client) RoundTrip(hr *http.Request) (*http.Response, error) {
	req, err := request(hr)
	if err != nil {
		closeBody(hr)
		return nil, err
	}
	// http.Client says which response redirected it here.
	if p, ok := originOf(hr.Response); ok && p.recording == c.recording {
		req.Predecessor, req.Cause = p.exchange, decision.CauseRedirect
	}
	resp, err := c.c.Do(hr.Context(), req)
	if err != nil {
		closeBody(hr)
		return nil, err
	}
	out := &http.Response{
		Status: strconv.Itoa(resp.Status) + " " + resp.Reason, StatusCode: resp.Status,
		Proto: string(resp.Protocol), ProtoMajor: 1, ProtoMinor: 1,
		Header: header(resp.Header), ContentLength: resp.ContentLength,
		Request: hr.WithContext(context.WithValue(hr.Context(), provenanceKey{}, provenance{c.recording, resp.Exchange})),
	}
	if resp.Reason == "" {
		out.Status = strconv.Itoa(resp.Status) + " " + http.StatusText(resp.Status)
	}
	switch resp.Protocol {
	case trace.ProtocolHTTP2:
		out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/2.0", 2, 0
	case trace.ProtocolHTTP10:
		out.ProtoMinor = 0
	}
	out.Body = &body{ReadCloser: resp.Body, resp: out, trailer: resp.Trailer}
	return out, nil
}
