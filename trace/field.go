package trace

// Field is one named field of a message with the bytes that hold it: what a
// view shows at -vv. Protocol packages make the tree on demand from the
// message; nothing on the hot path does.
type Field struct {
	// Name is Wireshark's name for the field where it has one, such as
	// "tls.handshake.type".
	Name string `json:"name"`
	// Value is the value as a person reads it.
	Value string `json:"value"`
	// Meaning says what the value means, when that is not plain.
	Meaning string `json:"meaning,omitempty"`
	// Offset and Length give the field's bytes within its message. A field
	// that is smaller than a byte covers the byte that holds it.
	Offset int `json:"offset"`
	Length int `json:"length"`
	// Children are the parts of this field, in wire order.
	Children []Field `json:"children,omitempty"`
}
