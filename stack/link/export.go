package link

import (
	"fmt"
	"io"

	"peel/wire/pcap"
)

// WritePcapng writes what was seen at the places, in the order of time, as a
// pcapng file with an interface for each place: frames that were sent and
// delivered there. Without places it is all of them.
func (r *Recorder) WritePcapng(w io.Writer, places ...string) error {
	if len(places) == 0 {
		for i := range r.Len() {
			if s := r.At(i); s.Verdict == Sent || s.Verdict == Delivered {
				places = append(places, s.Where)
			}
		}
	}
	out := pcap.NewWriter(w, "peel")
	at := map[string]int{}
	for _, p := range places {
		if _, ok := at[p]; !ok {
			at[p] = out.Interface(pcap.Interface{Name: p, Link: pcap.LinkEthernet})
		}
	}
	var frame []byte
	for i := range r.Len() {
		s := r.At(i)
		n, ok := at[s.Where]
		if !ok || s.Verdict != Sent && s.Verdict != Delivered {
			continue
		}
		frame = r.Frame(frame[:0], i)
		out.Packet(&pcap.Block{Interface: n, Time: s.Time, Data: frame, Length: len(frame), Outbound: s.Verdict == Sent, Inbound: s.Verdict == Delivered})
	}
	if err := out.Err(); err != nil {
		return fmt.Errorf("link: write pcapng: %w", err)
	}
	return nil
}
