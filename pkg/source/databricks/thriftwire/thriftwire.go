// Package thriftwire reads and writes messages of Thrift's binary protocol as values, without an IDL: what a message's
// fields mean, its user knows. Whatever the bytes, reading them ends in a message or an error, and its memory is bounded.
package thriftwire

import (
	"encoding/binary"
	"errors"
	"math"
)

// Type is a type of the wire.
type Type byte

// The types.
const (
	Bool   Type = 2
	Byte   Type = 3
	Double Type = 4
	I16    Type = 6
	I32    Type = 8
	I64    Type = 10
	String Type = 11 // text or binary
	Struct Type = 12
	Map    Type = 13
	Set    Type = 14
	List   Type = 15
)

// Kind is what a message is.
type Kind byte

// The kinds.
const (
	Call      Kind = 1
	Reply     Kind = 2
	Exception Kind = 3
)

const (
	version  = 0x80010000
	maxDepth = 32
	maxNodes = 1 << 18
)

// ErrMalformed says that bytes are no message, or one that is deeper or of more values than is read.
var ErrMalformed = errors.New("malformed Thrift message")

// Value is one value. The zero Value is none: nothing is in it.
type Value struct {
	Type   Type
	Int    int64  // Bool, Byte, I16, I32, I64; of a Double its bits
	Bytes  []byte // String
	Fields []Field
	// Items of List and Set are of type Elem; those of a Map are keys of type Key and values of type Elem in turn.
	Items     []Value
	Key, Elem Type
}

// Field is a field of a Struct.
type Field struct {
	ID    int16
	Value Value
}

// Message is a call or what answers it.
type Message struct {
	Name string
	Kind Kind
	Seq  int32
	Body Value // a Struct
}

// At answers the value that the path of field ids leads to, or none.
func (v Value) At(path ...int16) Value {
	for _, id := range path {
		v = v.field(id)
	}
	return v
}

func (v Value) field(id int16) Value {
	for _, f := range v.Fields {
		if f.ID == id {
			return f.Value
		}
	}
	return Value{}
}

// IsSet says whether v is a value.
func (v Value) IsSet() bool { return v.Type != 0 }

// IsTrue says whether v is a Bool that is true.
func (v Value) IsTrue() bool { return v.Type == Bool && v.Int != 0 }

// Text answers the text of a String, else "".
func (v Value) Text() string { return string(v.Bytes) }

// Decode reads a message. Its values share memory with b.
func Decode(b []byte) (Message, error) {
	r := reader{b: b, nodes: maxNodes}
	head := uint32(r.int(4)) //nolint:gosec // the bits are looked at
	m := Message{Kind: Kind(head & 0xff)}
	m.Name = string(r.bytes())
	m.Seq = int32(r.int(4)) //nolint:gosec // four bytes
	m.Body = r.value(Struct, 0)
	if r.bad || head&0xffff0000 != version {
		return Message{}, ErrMalformed
	}
	return m, nil
}

// Head answers the name and number of the message that b begins with, "" and 0 where it begins with none.
func Head(b []byte) (name string, seq int32) {
	r := reader{b: b}
	head := uint32(r.int(4)) //nolint:gosec // the bits are looked at
	name = string(r.bytes())
	seq = int32(r.int(4)) //nolint:gosec // four bytes
	if r.bad || head&0xffff0000 != version {
		return "", 0
	}
	return name, seq
}

type reader struct {
	b     []byte
	nodes int
	bad   bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// int answers a big-endian integer of n bytes with its sign.
func (r *reader) int(n int) int64 {
	b := r.take(n)
	if b == nil {
		return 0
	}
	var out uint64
	for _, c := range b {
		out = out<<8 | uint64(c)
	}
	shift := 64 - 8*n
	return int64(out<<shift) >> shift //nolint:gosec // the bits keep their meaning
}

func (r *reader) bytes() []byte { return r.take(int(r.int(4))) }

func (r *reader) value(t Type, depth int) Value {
	r.nodes--
	if r.nodes < 0 || depth > maxDepth {
		r.bad = true
	}
	if r.bad {
		return Value{}
	}
	v := Value{Type: t}
	switch t {
	case Bool, Byte:
		v.Int = r.int(1)
	case I16:
		v.Int = r.int(2)
	case I32:
		v.Int = r.int(4)
	case I64, Double:
		v.Int = r.int(8)
	case String:
		v.Bytes = r.bytes()
	case Struct:
		r.fields(&v, depth)
	case Map:
		v.Key, v.Elem = Type(r.int(1)), Type(r.int(1)) //nolint:gosec // one byte
		n := r.int(4)
		for i := int64(0); i < n && !r.bad; i++ {
			v.Items = append(v.Items, r.value(v.Key, depth+1), r.value(v.Elem, depth+1))
		}
		r.bad = r.bad || n < 0
	case Set, List:
		v.Elem = Type(r.int(1)) //nolint:gosec // one byte
		n := r.int(4)
		for i := int64(0); i < n && !r.bad; i++ {
			v.Items = append(v.Items, r.value(v.Elem, depth+1))
		}
		r.bad = r.bad || n < 0
	default:
		r.bad = true
	}
	return v
}

func (r *reader) fields(v *Value, depth int) {
	for !r.bad {
		t := Type(r.int(1)) //nolint:gosec // one byte
		if t == 0 {
			return
		}
		id := int16(r.int(2)) //nolint:gosec // two bytes
		v.Fields = append(v.Fields, Field{ID: id, Value: r.value(t, depth+1)})
	}
}

// Encode answers the bytes of m.
func (m Message) Encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, version|uint32(m.Kind))
	b = appendBytes(b, []byte(m.Name))
	b = binary.BigEndian.AppendUint32(b, uint32(m.Seq)) //nolint:gosec // the bits
	return appendValue(b, m.Body)
}

func appendBytes(b, text []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(min(len(text), math.MaxInt32))) //nolint:gosec // bounded
	return append(b, text...)
}

func appendValue(b []byte, v Value) []byte {
	switch v.Type {
	case Bool, Byte:
		return append(b, byte(v.Int))
	case I16:
		return binary.BigEndian.AppendUint16(b, uint16(v.Int)) //nolint:gosec // the bits
	case I32:
		return binary.BigEndian.AppendUint32(b, uint32(v.Int)) //nolint:gosec // the bits
	case I64, Double:
		return binary.BigEndian.AppendUint64(b, uint64(v.Int)) //nolint:gosec // the bits
	case String:
		return appendBytes(b, v.Bytes)
	case Struct:
		for _, f := range v.Fields {
			if !f.Value.IsSet() {
				continue
			}
			b = append(b, byte(f.Value.Type))
			b = binary.BigEndian.AppendUint16(b, uint16(f.ID)) //nolint:gosec // the bits
			b = appendValue(b, f.Value)
		}
		return append(b, 0)
	case Map:
		b = append(b, byte(v.Key), byte(v.Elem))
		b = binary.BigEndian.AppendUint32(b, uint32(len(v.Items)/2)) //nolint:gosec // what is in memory
	case Set, List:
		b = append(b, byte(v.Elem))
		b = binary.BigEndian.AppendUint32(b, uint32(len(v.Items))) //nolint:gosec // what is in memory
	}
	for _, item := range v.Items {
		b = appendValue(b, item)
	}
	return b
}

// OfBool answers a Bool.
func OfBool(b bool) Value {
	v := Value{Type: Bool}
	if b {
		v.Int = 1
	}
	return v
}

// OfInt answers an integer of type t.
func OfInt(t Type, n int64) Value { return Value{Type: t, Int: n} }

// OfText answers a String of text.
func OfText(s string) Value { return OfBytes([]byte(s)) }

// OfBytes answers a String of bytes.
func OfBytes(b []byte) Value { return Value{Type: String, Bytes: b} }

// OfStruct answers a Struct; fields whose value is none are left out.
func OfStruct(fields ...Field) Value { return Value{Type: Struct, Fields: fields} }

// OfList answers a List.
func OfList(elem Type, items ...Value) Value { return Value{Type: List, Elem: elem, Items: items} }
