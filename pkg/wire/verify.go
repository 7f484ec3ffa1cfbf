package wire

import (
	"encoding/binary"
	"errors"
	"math"
)

// What Arrow's metadata may claim. Arrow's reader takes it at its word: a schema that holds itself ends the process, and
// so does a length that no machine has memory for.
const (
	maxFields = 1 << 14 // of a schema, nested ones and their metadata included
	maxNested = 32
	maxShared = 1 << 20 // bytes of texts that stand at one place
	maxWidth  = 1 << 20 // bytes of a fixed-size value, or elements of a fixed-size list
)

// Arrow's message kinds and types, as its FlatBuffers number them.
const (
	messageSchema     = 1
	messageDictionary = 2
	messageRecord     = 3

	typeNull            = 1
	typeInt             = 2
	typeFloat           = 3
	typeBinary          = 4
	typeText            = 5
	typeBool            = 6
	typeDecimal         = 7
	typeDate            = 8
	typeTime            = 9
	typeTimestamp       = 10
	typeInterval        = 11
	typeList            = 12
	typeStruct          = 13
	typeUnion           = 14
	typeFixedSizeBinary = 15
	typeFixedSizeList   = 16
	typeMap             = 17
	typeDuration        = 18
	typeLargeBinary     = 19
	typeLargeText       = 20
	typeLargeList       = 21
	typeRunEnds         = 22
	typeBinaryView      = 23
	typeTextView        = 24
	typeListView        = 25
	typeLargeListView   = 26
)

var (
	errFraming  = errors.New("the messages of the stream do not fit")
	errMetadata = errors.New("the metadata of a message does not fit")
	errSchema   = errors.New("the schema is larger, deeper or of other types than a batch has")
	errBuffers  = errors.New("a buffer reaches beyond its message, or claims more than the limit")
)

// verify checks an IPC stream before Arrow reads it: one schema, its dictionaries and one batch, whose metadata lies
// within its bytes and claims no more than `max` bytes of data.
func verify(b []byte, max int64) error {
	v := verifier{left: max, max: max, most: maxFields}
	for step := 0; ; step++ {
		metadata, rest, err := frame(b)
		switch {
		case err != nil:
			return err
		case metadata == nil && len(rest) == 0 && v.batches == 1:
			return nil
		case metadata == nil:
			return errFraming
		}
		m := &meta{b: metadata}
		message := m.root()
		length := message.int64(3)
		if m.bad || length < 0 || length > int64(len(rest)) {
			return errFraming
		}
		if err := v.message(message, step, rest[:length]); err != nil {
			return err
		}
		if m.bad {
			return errMetadata
		}
		b = rest[length:]
	}
}

// frame answers the metadata of the message at the beginning of b, nil for the end of the stream, and what follows.
func frame(b []byte) (metadata, rest []byte, err error) {
	if len(b) < 8 || binary.LittleEndian.Uint32(b) != math.MaxUint32 {
		return nil, nil, errFraming
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n == 0 {
		return nil, b[8:], nil
	}
	if uint64(n) > uint64(len(b)-8) {
		return nil, nil, errFraming
	}
	return b[8 : 8+n], b[8+n:], nil
}

// verifier is the state of one stream's check.
type verifier struct {
	max     int64
	left    int64 // bytes that buffers may still claim
	most    int   // fields, nested ones and metadata included
	foreign bool  // fields may be of types that batches have not
	fields  int
	copied  int // bytes of names and other texts that may still come
	batches int
}

func (v *verifier) message(m fieldTable, step int, body []byte) error {
	v.copied = len(m.m.b) + maxShared
	header, ok := m.table(2)
	if !ok {
		return errMetadata
	}
	if err := v.texts(m, 4); err != nil {
		return err
	}
	switch kind := m.byte(1); {
	case step == 0 && kind == messageSchema && len(body) == 0:
		return v.schema(header)
	case step > 0 && kind == messageDictionary && v.batches == 0:
		data, ok := header.table(1)
		if !ok {
			return errMetadata
		}
		return v.record(data, body)
	case step > 0 && kind == messageRecord && v.batches == 0:
		v.batches++
		return v.record(header, body)
	}
	return errFraming
}

// texts checks a vector of pairs of key and value.
func (v *verifier) texts(t fieldTable, field int) error {
	pairs := t.vector(field, 4)
	for i := range pairs.n {
		if v.fields++; v.fields > v.most {
			return errSchema
		}
		pair := t.m.table(pairs.at + 4*i)
		v.text(pair, 0)
		v.text(pair, 1)
		if t.m.bad {
			return errMetadata
		}
	}
	return nil
}

func (v *verifier) schema(t fieldTable) error {
	if t.int16(0) != 0 { // of another byte order
		return errSchema
	}
	if err := v.texts(t, 2); err != nil {
		return err
	}
	t.vector(3, 8)
	return v.children(t, 1, 0)
}

func (v *verifier) children(t fieldTable, field, depth int) error {
	all := t.vector(field, 4)
	if all.n > 0 && depth == maxNested {
		return errSchema
	}
	for i := range all.n {
		if v.fields++; v.fields > v.most {
			return errSchema
		}
		if err := v.field(t.m.table(all.at+4*i), depth); err != nil {
			return err
		}
		if t.m.bad {
			return errMetadata
		}
	}
	return nil
}

func (v *verifier) field(t fieldTable, depth int) error {
	if t.m == nil {
		return errMetadata
	}
	v.text(t, 0)
	typ, ok := t.table(3)
	if !ok || !v.typeFits(t.byte(2), typ) {
		return errSchema
	}
	if dictionary, ok := t.table(4); ok {
		dictionary.table(1)
	}
	if err := v.texts(t, 6); err != nil {
		return err
	}
	return v.children(t, 5, depth+1)
}

// text checks a text. Arrow copies each, though many may stand at one place.
func (v *verifier) text(t fieldTable, field int) {
	if v.copied -= t.vector(field, 1).n; v.copied < 0 {
		t.m.fail()
	}
}

// typeFits says whether batches, or those from elsewhere, have columns of a type, and whether what it says of itself is
// sane.
func (v *verifier) typeFits(kind byte, t fieldTable) bool {
	switch kind {
	case typeNull, typeInt, typeFloat, typeBinary, typeText, typeBool, typeDecimal, typeDate, typeTime, typeList, typeStruct,
		typeMap, typeDuration, typeLargeBinary, typeLargeText, typeLargeList:
		return true
	case typeTimestamp:
		v.text(t, 1) // the zone
		return true
	case typeFixedSizeBinary, typeFixedSizeList:
		n := t.int32(0)
		return n > 0 && n <= maxWidth || v.foreign && n == 0
	case typeUnion:
		t.vector(1, 4) // the codes of its children
		return v.foreign
	case typeInterval, typeRunEnds, typeBinaryView, typeTextView, typeListView, typeLargeListView:
		return v.foreign
	}
	return false
}

// record checks the nodes and buffers of a batch against its body.
func (v *verifier) record(t fieldTable, body []byte) error {
	if n := t.int64(0); n < 0 || n > maxRows {
		return errBuffers
	}
	codec, compressed := t.table(3)
	if compressed && (codec.byte(0) != 0 || codec.byte(1) != 0) { // LZ4 frames, buffer by buffer
		return errBuffers
	}
	nodes, buffers := t.vector(1, 16), t.vector(2, 16)
	if t.vector(4, 8).n > 0 || nodes.n > 2*maxFields || buffers.n > 4*maxFields {
		return errBuffers
	}
	for i := range nodes.n {
		length, nulls := t.m.int64(nodes.at+16*i), t.m.int64(nodes.at+16*i+8)
		if length < 0 || nulls < 0 || nulls > length || length > max(maxRows, 8*v.max) {
			return errBuffers
		}
	}
	for i := range buffers.n {
		at, length := t.m.int64(buffers.at+16*i), t.m.int64(buffers.at+16*i+8)
		if t.m.bad || at < 0 || length < 0 || at > int64(len(body)) || length > int64(len(body))-at {
			return errBuffers
		}
		if !v.claim(body[at:at+length], compressed) {
			return errBuffers
		}
	}
	return nil
}

// claim takes what a buffer will need off what is left.
func (v *verifier) claim(b []byte, compressed bool) bool {
	n := int64(len(b))
	if compressed && n > 0 {
		if n < 8 {
			return false
		}
		if size := int64(binary.LittleEndian.Uint64(b)); size != -1 { //nolint:gosec // two's complement
			n = size
		}
	}
	if n < 0 || n > v.left {
		return false
	}
	v.left -= n
	return true
}
