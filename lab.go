package peel

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync"

	"peel/client"
	"peel/lab"
	"peel/trace"
)

// Lab is a small internet in this process: origin servers for example.com and
// example.org, http and https, a name server for their names, and an
// authority that issued their certificates. Requests into it go through real
// sockets, DNS messages and TLS on loopback; no network is needed. It is safe
// for concurrent use.
type Lab struct {
	lab       *lab.Lab
	recording *Recording
	own       bool

	mu      sync.Mutex
	clients []*Client
}

// LabOptions say how the evidence of a Lab's clients is taken.
type LabOptions struct {
	RecordOptions
	// Recording, when set, is where the evidence goes; then nothing of
	// RecordOptions may be set.
	Recording *Recording
}

// NewLab starts a lab. It ends with Close or with ctx.
func NewLab(ctx context.Context, o LabOptions) (*Lab, error) {
	r, own := o.Recording, false
	if r == nil {
		var err error
		if r, err = Record(o.RecordOptions); err != nil {
			return nil, err
		}
		own = true
	} else if !reflect.ValueOf(o.RecordOptions).IsZero() {
		return nil, errors.New("peel: Recording is set beside RecordOptions, which are its business")
	}
	l, err := lab.Up(ctx, lab.Options{Clock: r.Clock()})
	if err != nil {
		if own {
			r.Close()
		}
		return nil, err
	}
	return &Lab{lab: l, recording: r, own: own}, nil
}

// Enter points options of a client into the lab: its resolver asks the lab's
// name server, it trusts the lab's authority, and connections go to the ports
// on which the lab's servers listen. It replaces Resolver.Config and Roots; an
// Address that is set goes first.
func (l *Lab) Enter(o *client.Options) {
	resolver := client.Resolver{}
	if o.Resolver != nil {
		resolver = *o.Resolver
	}
	resolver.Config = l.lab.Resolver()
	o.Resolver = &resolver
	o.Roots = l.lab.Roots()
	given := o.Address
	o.Address = func(host string, port uint16) (client.Target, bool) {
		if given != nil {
			if t, ok := given(host, port); ok {
				return t, ok
			}
		}
		if p, ok := l.lab.Port(host, port); ok {
			return client.Target{Host: host, Port: p, Why: "the lab's servers listen on ports of their own"}, true
		}
		return client.Target{}, false
	}
}

// Client makes a client inside the lab whose evidence goes into the lab's
// trace. It is closed with the lab. Of o, what is about the recording must
// not be set, nor the trusted Roots and the resolver's Config: the lab has its
// own.
func (l *Lab) Client(o Options) (*Client, error) {
	if o.Recording != nil {
		return nil, errors.New("peel: Recording is set for a client of a lab, which has its own")
	}
	if o.Roots != nil || o.Resolver != nil && o.Resolver.Config != nil {
		return nil, errors.New("peel: Roots or Resolver.Config is set for a client of a lab, which has its own")
	}
	o.Recording = l.recording
	l.Enter(&o.Options)
	c, err := NewClient(o)
	if err == nil {
		l.mu.Lock()
		l.clients = append(l.clients, c)
		l.mu.Unlock()
	}
	return c, err
}

// HTTPClient is an http.Client around a Client with no options.
func (l *Lab) HTTPClient() (*http.Client, error) {
	c, err := l.Client(Options{})
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: c}, nil
}

// Describe says in lines what runs where.
func (l *Lab) Describe() []string { return l.lab.Describe() }

// Trace returns what the lab's clients did so far.
func (l *Lab) Trace() *trace.Trace { return l.recording.Trace() }

// Close closes the lab's clients and ends the lab. Traces can be asked for
// after it.
func (l *Lab) Close() {
	l.mu.Lock()
	clients := l.clients
	l.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
	l.lab.Close()
	if l.own {
		l.recording.Close()
	}
}
