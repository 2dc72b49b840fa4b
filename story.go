package peel

import (
	"bufio"
	"errors"
	"io"

	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/evidence/explain"
	"peel/trace"
)

// story is where evidence becomes a trace: each record is stored, when that
// is asked for, and analysed; what was found is explained. There is no other
// such place.
type story struct {
	analyzer *analyze.Analyzer
	file     *capture.FileWriter // nil stores nothing
	buf      *bufio.Writer
	fileErr  error
}

func newStory(l analyze.Limits) story { return story{analyzer: analyze.New(l)} }

// store stores the records that are added from now on.
func (s *story) store(w io.Writer, o capture.FileOptions) error {
	if s.file != nil {
		return errors.New("peel: a file is being written already")
	}
	s.buf = bufio.NewWriterSize(w, 1<<18)
	s.file = capture.NewFileWriter(s.buf, o)
	return nil
}

// keep stores a record, whose data must stay as it is.
func (s *story) keep(r capture.Record) {
	if s.file != nil && s.fileErr == nil {
		s.fileErr = s.file.Write(r)
	}
}

func (s *story) add(r capture.Record) {
	s.keep(r)
	s.analyzer.Add(r)
}

// end says that no record will follow. It returns the first error of the
// file.
func (s *story) end(received, dropped uint64) error {
	s.analyzer.End()
	if s.file == nil {
		return nil
	}
	if received > 0 {
		s.file.Statistics(received, dropped)
	}
	for _, f := range []func() error{s.file.Close, s.buf.Flush} {
		if err := f(); s.fileErr == nil {
			s.fileErr = err
		}
	}
	s.file = nil
	return s.fileErr
}

// onEnd has f called with what has ended and what was found in it.
func (s *story) onEnd(f func(part *trace.Trace)) {
	s.analyzer.OnEnd(func(part *trace.Trace) {
		part.Findings = append(part.Findings, explain.Findings(part)...)
		f(part)
	})
}

func (s *story) trace() *trace.Trace {
	t := s.analyzer.Trace()
	t.Findings = append(t.Findings, explain.Findings(t)...)
	return t
}
