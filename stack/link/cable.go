package link

import "math/rand/v2"

// End is one end of a cable.
type End struct {
	// Name of the place in hops, as "client:eth0".
	Name string
	// Port is who is plugged in; it can come later, with Cable.Plug.
	Port Port
	// Rand decides about the frames sent from this end. It may be nil as long
	// as their shape leaves nothing to chance.
	Rand *rand.Rand
}

// Cable joins two ports.
type Cable struct {
	dirs [2]Direction
	down bool
}

// NewCable lays a cable whose directions have the zero Shape.
func NewCable(n *Net, a, b End) *Cable {
	c := &Cable{}
	c.dirs[0].init(n, c, a, b)
	c.dirs[1].init(n, c, b, a)
	return c
}

// AB is the direction from end a to end b: what a's owner sends into.
func (c *Cable) AB() *Direction { return &c.dirs[0] }

// BA is the direction from end b to end a.
func (c *Cable) BA() *Direction { return &c.dirs[1] }

// Plug connects the ports; nil leaves an end as it is.
func (c *Cable) Plug(a, b Port) {
	if a != nil {
		c.dirs[1].port = a
	}
	if b != nil {
		c.dirs[0].port = b
	}
}

// SetShape gives both directions the same shape, or none.
func (c *Cable) SetShape(s Shape) error {
	if err := c.dirs[1].check(&s); err != nil {
		return err
	}
	if err := c.dirs[0].SetShape(s); err != nil {
		return err
	}
	return c.dirs[1].SetShape(s)
}

// Up tells whether the cable is whole.
func (c *Cable) Up() bool { return !c.down }

// SetUp cuts or mends the cable. What is on it or waits for it when it is cut
// is lost, and so is what is sent until it is mended. Ports that want to know
// are told.
func (c *Cable) SetUp(up bool) {
	if up == c.Up() {
		return
	}
	c.down = !up
	for i := range c.dirs {
		if !up {
			c.dirs[i].clear()
		}
		c.dirs[i].choosePath()
	}
	for i := range c.dirs {
		if p, ok := c.dirs[1-i].port.(CarrierPort); ok {
			p.Carrier(up)
		}
	}
}
