// Package peel shows what happened in an HTTP request, from recorded evidence
// down to the bytes on the wire.
//
// Everything that it says takes one road:
//
//	source ──▶ capture ──▶ analysis ──▶ trace
//
// A source makes evidence: a [Client] that sends requests, a [Server] that
// answers them, a [Lab] with both, or a file that somebody captured. The
// capture is that evidence in the order of its times: packets, bytes of
// sockets, TLS secrets, and decisions that no wire shows, such as "reused
// connection 3". The analysis reads it, one record at a time and whatever its
// source, and makes a [trace.Trace] of it: exchanges, name lookups,
// connections, events, and findings, which say what is wrong and what to do.
// What was not seen is absent from a trace, never guessed.
//
// The verbs:
//
//   - [NewClient] makes an http.RoundTripper whose responses have a trace:
//     [TraceOf] gives that of one response, [Client.Trace] that of all.
//   - [Read] and [ReadFiles] make a trace of capture files (pcap, pcapng,
//     compressed or not), with the secrets of key logs.
//   - [NewServer] answers requests, and its trace tells how from the outside.
//   - [NewLab] starts a small internet in this process; no network is needed.
//
// Two types stand behind them, for programs that want more of the road: a
// [Recording] takes evidence as it comes about, and can store it as a pcapng
// file; a [Reading] reads files packet by packet.
//
// # Traces
//
// A trace is a value: nobody changes it once it was returned, so it can be
// read, kept and sent while requests go on. Treat it likewise: copy what you
// want to change. Its times are nanoseconds since its Start, its sizes bytes.
//
// # Bounds
//
// Evidence is kept up to a limit (64 MiB unless Options.Evidence says
// otherwise), and so is what a trace lists (Options.Limits). What did not fit
// is counted, and a finding says so: CAPTURE-LOSS for evidence that was
// dropped, TRACE-CUT for a list that was cut short.
//
// # Errors
//
// A request that fails gives an [Error], which errors.As finds also below the
// *url.Error of http.Client: its Layer and Code say where it ended and how.
// Options that contradict each other are an error when a thing is made; none
// is passed over in silence.
package peel
