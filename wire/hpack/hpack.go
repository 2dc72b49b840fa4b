// Package hpack is the header compression of HTTP/2 (RFC 7541): an Encoder
// and a Decoder for each direction of a connection, and an Explain that tells
// what each byte of a header block stands for and what it did to the table.
//
// Both sides keep a dynamic table that changes with every block. Blocks must
// therefore go through in the order of the wire and none may be left out;
// after an error the Decoder cannot go on, and the connection must be closed
// with COMPRESSION_ERROR (RFC 9113 §4.3).
package hpack

import (
	"strconv"

	"peel/wire/httpfield"
)

// DefaultTableSize is the size in bytes of the dynamic table before any
// SETTINGS_HEADER_TABLE_SIZE (RFC 9113 §6.5.2).
const DefaultTableSize = 4096

// entryOverhead is what a field is charged beside its name and value, in a
// table (RFC 7541 §4.1) and in a header list (RFC 9113 §6.5.2).
const entryOverhead = 32

// firstDynamic is the index of the newest entry of the dynamic table
// (RFC 7541 §2.3.3).
const firstDynamic = 62

// Kind is the form in which a field, or a table size, stands in a block.
type Kind uint8

// The representations of RFC 7541 §6.
const (
	Indexed            Kind = iota + 1 // §6.1: name and value from a table
	LiteralIncremental                 // §6.2.1: literal, put into the table
	LiteralWithout                     // §6.2.2: literal, not put into the table
	LiteralNever                       // §6.2.3: literal that no hop may put into a table
	SizeUpdate                         // §6.3: a new size for the dynamic table
)

func (k Kind) String() string {
	switch k {
	case Indexed:
		return "indexed"
	case LiteralIncremental:
		return "literal with incremental indexing"
	case LiteralWithout:
		return "literal without indexing"
	case LiteralNever:
		return "literal never indexed"
	case SizeUpdate:
		return "table size update"
	}
	return "unknown representation " + strconv.Itoa(int(k))
}

// Representation is one item of a header block: a field, or a new table size.
type Representation struct {
	Kind Kind
	// Index names the entry that gave the field or its name: 1 to 61 is the
	// static table, from 62 the dynamic table as it stood before this item.
	// 0 is none: the name is literal.
	Index uint64
	// Field is what was decoded. It is Sensitive if Kind is LiteralNever.
	Field httpfield.Field
	// TableSize is the new size in bytes that a SizeUpdate sets.
	TableSize uint32
	// Offset and Length give the item's bytes in the block; Length is what
	// the field cost.
	Offset, Length int
	// NameOffset and ValueOffset say where the literal name and value begin
	// in the block, with their length prefixes. 0 is: not literal. The value
	// runs to the item's end and the name to the value.
	NameOffset, ValueOffset int
	// NameHuffman and ValueHuffman tell whether the literal is compressed.
	NameHuffman, ValueHuffman bool
	// NameUnknown and ValueUnknown tell that an entry is named which stood in
	// a block that was missed (Decoder.Lose); Field is empty there.
	NameUnknown, ValueUnknown bool
	// Inserted tells that the field became entry 62. A field that is larger
	// than the whole table is not inserted, yet empties it (RFC 7541 §4.4).
	Inserted bool
	// Evicted is the number of entries that this item drove out.
	Evicted int
}

// Entry is one entry of a dynamic table.
type Entry struct {
	// Index is the entry's index as a block would name it; 62 is the newest.
	Index int
	Field httpfield.Field
	// Size in bytes is what the entry is charged: name, value and 32.
	Size uint32
}

// Limits bounds what one header block may cost. Sizes are in the bytes of
// RFC 9113 §6.5.2: name, value and 32 for each field.
type Limits struct {
	// MaxFields is the number of fields that are stored. 0 means 512.
	MaxFields int
	// MaxListSize is the size of the fields that are stored. 0 means 64 KiB.
	MaxListSize int
	// MaxWork is the size at which decoding ends with ErrTooLarge, stored or
	// not. A block of one-byte references grows 4,000 times, so reading on to
	// keep the table needs an end. 0 means eight times MaxListSize.
	MaxWork int
}

func (l Limits) withDefaults() Limits {
	if l.MaxFields <= 0 {
		l.MaxFields = 512
	}
	if l.MaxListSize <= 0 {
		l.MaxListSize = 64 << 10
	}
	if l.MaxWork <= 0 {
		l.MaxWork = 8 * min(l.MaxListSize, 1<<27)
	}
	return l
}

// Result says how large a decoded block was.
type Result struct {
	// Fields and Size count all fields of the block, those left out too.
	Fields, Size int
	// Truncated tells that fields were left out since a limit was reached.
	// The table is right; the list is not whole.
	Truncated bool
}

// Reason is why a block cannot be decoded. All are COMPRESSION_ERRORs
// (RFC 9113 §4.3) but ErrTooLarge, which is ENHANCE_YOUR_CALM.
type Reason string

// What can be wrong with a block.
const (
	ErrIndex     Reason = "index outside the tables"       // RFC 7541 §2.3.3, §6.1
	ErrInteger   Reason = "integer too large"              // RFC 7541 §5.1
	ErrHuffman   Reason = "bad Huffman code"               // RFC 7541 §5.2
	ErrTableSize Reason = "bad table size update"          // RFC 7541 §4.2, §6.3
	ErrTruncated Reason = "block ends within a field"      // RFC 9113 §4.3
	ErrTooLarge  Reason = "more fields than can be worked" // RFC 7541 §7.3
)

func (r Reason) Error() string { return "hpack: " + string(r) }

// Error is a block that cannot be decoded. errors.Is tells its Reason.
type Error struct {
	Reason Reason
	// Offset is the byte of the block at which the bad item begins.
	Offset int
	// Detail says what was found and what was allowed.
	Detail string
}

func (e *Error) Error() string {
	return e.Reason.Error() + ": " + e.Detail + ", at byte " + strconv.Itoa(e.Offset)
}

// Unwrap returns the Reason.
func (e *Error) Unwrap() error { return e.Reason }

func fieldSize(f *httpfield.Field) int { return len(f.Name) + len(f.Value) + entryOverhead }
