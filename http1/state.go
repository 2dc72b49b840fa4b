package http1

import (
	"fmt"

	"peel/httpfield"
)

// State is where one side of a connection stands in the current exchange.
type State uint8

const (
	// StateIdle: this side has sent nothing of this exchange yet.
	StateIdle State = iota
	// StateBody: its final head is sent, the end of its message is not.
	StateBody
	// StateDone: its message is complete and another may follow.
	StateDone
	// StateMaybe (client): its request to switch protocols is complete; what
	// it sends next hangs on the answer.
	StateMaybe
	// StateMustClose: its message is complete and was the last.
	StateMustClose
	// StateSwitched: it speaks another protocol now.
	StateSwitched
	// StateClosed: it has ended its direction.
	StateClosed
	// StateFailed: it broke the rules or off.
	StateFailed
	illegal
)

var stateNames = [...]string{"idle", "body", "done", "maybe switching", "must close", "switched", "closed", "failed", "illegal"}

func (s State) String() string { return stateNames[s] }

// input is what happens to a side.
type input uint8

const (
	inHead   input = iota // a request, or a final response
	inEnd                 // its message is complete
	inLast                // complete, and the connection carries no other
	inAsk                 // complete, and it asked to switch protocols
	inRefuse              // the answer did not switch
	inSwitch              // the answer did
	inClose               // it ended its direction
	numInputs
)

// transitions is the whole automaton. What is not in it is illegal.
//
//	idle ─head→ body ─end→ done        ─next→ idle
//	                 ─last→ must close ─close→ closed
//	                 ─ask→ maybe ─refuse→ done, ─switch→ switched
var transitions = func() (t [illegal + 1][numInputs]State) {
	for s := range t {
		for i := range t[s] {
			t[s][i] = illegal
		}
	}
	t[StateIdle][inHead] = StateBody
	t[StateIdle][inClose] = StateClosed
	t[StateBody][inEnd] = StateDone
	t[StateBody][inLast] = StateMustClose
	t[StateBody][inAsk] = StateMaybe
	t[StateBody][inSwitch] = StateSwitched
	t[StateDone][inClose] = StateClosed
	t[StateMaybe][inRefuse] = StateDone
	t[StateMaybe][inSwitch] = StateSwitched
	t[StateMaybe][inClose] = StateClosed
	t[StateMustClose][inClose] = StateClosed
	t[StateClosed][inClose] = StateClosed
	t[StateSwitched][inClose] = StateClosed
	return t
}()

// Conn follows both sides of one connection, exchange by exchange, and tells
// a driver whether the connection may be used again. It knows no bytes: the
// driver of either side reports what it sent and what it read. The zero Conn
// is a fresh connection.
type Conn struct {
	client, server State
	closing        string // why no exchange follows this one; "" if one may
	asked, expects bool   // this exchange asked to switch; waits for 100
	method         string
}

// Client and Server return the states of the two sides.
func (c *Conn) Client() State { return c.client }
func (c *Conn) Server() State { return c.server }

func (c *Conn) move(side *State, in input, who, what string) error {
	to := transitions[*side][in]
	if to == illegal {
		err := fmt.Errorf("http1: %s: %s in state %q", who, what, *side)
		*side = StateFailed
		c.doom("the " + who + " broke the order of messages")
		return err
	}
	*side = to
	return nil
}

// doom keeps the first reason.
func (c *Conn) doom(why string) {
	if c.closing == "" {
		c.closing = why
	}
}

// persist applies RFC 9112 §9.3 to one head.
func (c *Conn) persist(h *Head, who string) {
	switch {
	case h.Fields.HasToken("Connection", "close"):
		c.doom("the " + who + " said Connection: close")
	case h.Minor == 0 && !h.Fields.HasToken("Connection", "keep-alive"):
		c.doom("the " + who + " speaks HTTP/1.0 without keep-alive")
	}
}

// Request reports a request's head.
func (c *Conn) Request(h *Head) error {
	if c.closing != "" && c.client == StateIdle {
		c.client = StateFailed
		return fmt.Errorf("http1: client: a request after %s", c.closing)
	}
	if err := c.move(&c.client, inHead, "client", "request"); err != nil {
		return err
	}
	c.method = h.Method
	c.asked = h.Method == "CONNECT" || h.Minor == 1 && h.Fields.Has("Upgrade") && h.Fields.HasToken("Connection", "upgrade")
	c.expects = h.Minor == 1 && httpfield.EqualName(h.Fields.Value("Expect"), "100-continue")
	c.persist(h, "client")
	return nil
}

// RequestEnd reports that the request is complete.
func (c *Conn) RequestEnd() error {
	c.expects = false
	in := inEnd
	switch {
	case c.asked && c.server == StateIdle:
		in = inAsk
	case c.closing != "":
		in = inLast
	}
	return c.move(&c.client, in, "client", "end of request")
}

// Response reports the head of a response, interim (1xx) ones included.
func (c *Conn) Response(h *Head) error {
	if c.client == StateIdle || c.client == StateClosed && c.method == "" {
		// RFC 9112 §9.2: such a response answers nothing.
		c.server = StateFailed
		c.doom("the server answered without a request")
		return fmt.Errorf("http1: server: response %d without a request", h.Status)
	}
	c.expects = false
	if h.Status < 200 && h.Status != 101 {
		if c.server != StateIdle {
			return c.move(&c.server, inHead, "server", "interim response")
		}
		return nil
	}
	switched := h.Status == 101 || c.method == "CONNECT" && h.Status/100 == 2
	if switched && (!c.asked || c.client == StateBody) {
		c.server = StateFailed
		c.doom("the server switched protocols unasked")
		return fmt.Errorf("http1: server: %d switches protocols, which the request did not ask for or is too early", h.Status)
	}
	if err := c.move(&c.server, inHead, "server", "response"); err != nil {
		return err
	}
	if switched {
		c.doom("the connection became a tunnel")
		return c.both(inSwitch)
	}
	c.persist(h, "server")
	bodiless := c.method == "HEAD" || h.Status == 204 || h.Status == 304
	if !bodiless && !h.Fields.Has("Transfer-Encoding") && !h.Fields.Has("Content-Length") {
		c.doom("the response ends with the connection")
	}
	if c.client == StateMaybe {
		return c.move(&c.client, inRefuse, "client", "refusal to switch")
	}
	return nil
}

func (c *Conn) both(in input) error {
	if err := c.move(&c.client, in, "client", "switch of protocols"); err != nil {
		return err
	}
	return c.move(&c.server, in, "server", "switch of protocols")
}

// ResponseEnd reports that the response is complete.
func (c *Conn) ResponseEnd() error {
	in := inEnd
	if c.closing != "" {
		in = inLast
	}
	return c.move(&c.server, in, "server", "end of response")
}

// CloseClient and CloseServer report that a side ended its direction cleanly.
// In the midst of a message that is an error.
func (c *Conn) CloseClient() error {
	c.doom("the client closed")
	return c.move(&c.client, inClose, "client", "close")
}

func (c *Conn) CloseServer() error {
	c.doom("the server closed")
	return c.move(&c.server, inClose, "server", "close")
}

// Waiting tells that the client holds its body back until the server says
// 100, or anything final (RFC 9110 §10.1.1). A server that wants the body
// sends 100 then; a client may stop waiting when it likes.
func (c *Conn) Waiting() bool { return c.expects && c.client == StateBody }

// Reusable tells whether another exchange may begin now, and if not, why.
// unread is the number of bytes that came and belong to no message: the
// client's driver gives it, as a response sent ahead would be taken for the
// next request's (RFC 9112 §9.2). A server gives 0, for they are the next request.
func (c *Conn) Reusable(unread int) (ok bool, why string) {
	switch {
	case c.closing != "":
		return false, c.closing
	case c.server != StateDone:
		return false, "the response is not complete"
	case c.client != StateDone:
		return false, "the request was not sent to its end"
	case unread > 0:
		return false, fmt.Sprintf("%d bytes came that belong to no response", unread)
	}
	return true, ""
}

// Next begins another exchange. It fails if the connection is not Reusable.
func (c *Conn) Next() error {
	if ok, why := c.Reusable(0); !ok {
		return fmt.Errorf("http1: no further exchange: %s", why)
	}
	*c = Conn{}
	return nil
}
