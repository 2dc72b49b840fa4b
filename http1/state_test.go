package http1

import (
	"strings"
	"testing"

	"peel/httpfield"
)

// A story is a line of steps: ">" the client's, "<" the server's.
func TestConnStories(t *testing.T) {
	stories := []struct{ name, steps, want string }{
		{"RFC9112_9_3_KeptAlive", ">GET >end <200cl <end", "reusable"},
		{"RFC9112_9_3_ClientSaysClose", ">GETclose >end <200cl <end", "the client said Connection: close"},
		{"RFC9112_9_3_ServerSaysClose", ">GET >end <200clclose <end", "the server said Connection: close"},
		{"RFC9112_9_3_HTTP10Closes", ">GET10 >end <200cl <end", "the client speaks HTTP/1.0 without keep-alive"},
		{"RFC9112_6_3_UntilClose", ">GET >end <200 <end", "the response ends with the connection"},
		{"RFC9112_6_3_HeadHasNoBody", ">HEAD >end <200 <end", "reusable"},
		{"RFC9112_6_3_204HasNoBody", ">GET >end <204 <end", "reusable"},
		{"RFC9110_15_2_InterimThenFinal", ">GET >end <103 <103 <200cl <end", "reusable"},
		{"RFC9110_15_2_InterimAfterFinal", ">GET >end <200cl <103", "error"},
		{"RFC9112_9_2_AnswerWithoutRequest", "<200cl", "error"},
		{"TwoAnswersToOneRequest", ">GET >end <200cl <end <200cl", "error"},
		{"EarlyAnswer", ">POST <413cl <end", "the request was not sent to its end"},
		{"EarlyAnswerBodySentAnyway", ">POST <413cl <end >end", "reusable"},
		{"ResponseInFlight", ">GET >end <200cl", "the response is not complete"},
		{"RFC9110_7_8_Switched", ">UPG >end <101", "the connection became a tunnel"},
		{"RFC9110_7_8_SwitchIgnored", ">UPG >end <200cl <end", "reusable"},
		{"RFC9110_7_8_SwitchUnasked", ">GET >end <101", "error"},
		{"RFC9110_9_3_6_Tunnel", ">CONNECT >end <200", "the connection became a tunnel"},
		{"RFC9110_9_3_6_TunnelRefused", ">CONNECT >end <407cl <end", "reusable"},
		{"CloseWithinResponse", ">GET >end <200cl <close", "error"},
		{"CloseBetween", ">GET >end <200cl <end <close", "the server closed"},
		{"HalfCloseThenAnswer", ">GETclose >end >close <200cl <end", "the client said Connection: close"},
	}
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			var c Conn
			got := ""
			for _, step := range strings.Fields(s.steps) {
				if err := play(&c, step); err != nil {
					got = "error"
				}
			}
			if got == "" {
				ok, why := c.Reusable(0)
				if got = why; ok {
					got = "reusable"
				}
				if err := c.Next(); (err == nil) != ok {
					t.Fatalf("Next: %v, but Reusable says %v", err, ok)
				}
			}
			if got != s.want {
				t.Errorf("%s: %s, want %s (client %v, server %v)", s.steps, got, s.want, c.Client(), c.Server())
			}
		})
	}
}

func play(c *Conn, step string) error {
	h := &Head{Minor: 1}
	what := step[1:]
	switch what {
	case "end":
		if step[0] == '>' {
			return c.RequestEnd()
		}
		return c.ResponseEnd()
	case "close":
		if step[0] == '>' {
			return c.CloseClient()
		}
		return c.CloseServer()
	}
	if strings.Contains(what, "close") {
		h.Fields.Add("Connection", "close")
	}
	if step[0] == '<' {
		if strings.Contains(what, "cl") && strings.Trim(what, "0123456789") != "close" {
			h.Fields.Add("Content-Length", "2")
		}
		for _, d := range what[:3] {
			h.Status = h.Status*10 + int(d-'0')
		}
		return c.Response(h)
	}
	h.Method = strings.TrimRight(what, "close10")
	if strings.HasSuffix(what, "10") {
		h.Minor = 0
	}
	if h.Method == "UPG" {
		h.Fields = httpfield.List{{Name: "Connection", Value: "upgrade"}, {Name: "Upgrade", Value: "x"}}
	}
	return c.Request(h)
}

func TestRFC9110_10_1_1_BodyWaitsFor100(t *testing.T) {
	for _, status := range []int{100, 417} {
		var c Conn
		h := &Head{Method: "POST", Minor: 1, Fields: httpfield.List{{Name: "Expect", Value: "100-Continue"}}}
		if err := c.Request(h); err != nil || !c.Waiting() {
			t.Fatal("the body should wait", err)
		}
		if err := c.Response(&Head{Status: status, Minor: 1}); err != nil || c.Waiting() {
			t.Errorf("%d should end the wait (%v)", status, err)
		}
	}
}

// A response that was sent ahead must not answer the next request.
func TestRFC9112_9_2_BytesLeftOverSpoilTheConnection(t *testing.T) {
	var c Conn
	for _, s := range strings.Fields(">GET >end <200cl <end") {
		if err := play(&c, s); err != nil {
			t.Fatal(err)
		}
	}
	if ok, why := c.Reusable(17); ok || !strings.Contains(why, "17 bytes") {
		t.Error(ok, why)
	}
}
