package profile

import (
	"encoding/binary"
	"math"
)

// endOfMembers stands where a further member's name would stand.
const endOfMembers = 0

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendName appends a member's name, as one more than its length and its bytes.
func appendName(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))+1), s...)
}

// reader reads what the append functions wrote. After a fault everything reads as zero and bad stays set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.fail()
		return 0
	}
	return uint32(v)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) array16() (v [16]byte) {
	copy(v[:], r.bytes(16))
	return v
}

func (r *reader) uint64() uint64 {
	b := r.bytes(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

func (r *reader) int64() int64 { return int64(r.uint64()) } //nolint:gosec // written from an int64

func (r *reader) text() []byte { return r.bytes(r.uvarint()) }

// name answers a member's name; false at the end of members.
func (r *reader) name() ([]byte, bool) {
	n := r.uvarint()
	if n == 0 {
		return nil, false
	}
	return r.bytes(n - 1), !r.bad
}

// maxDepth bounds how deep objects and lists may nest.
const maxDepth = 100

// skipValue moves behind a value.
func (r *reader) skipValue(depth int) {
	if depth > maxDepth {
		r.fail()
		return
	}
	switch k := ValueKind(r.byte()); k {
	case Cleared, False, True:
	case String, Decimal, JSON, Bytes:
		r.text()
	case Int, Date:
		r.uvarint()
	case Float:
		r.bytes(8)
	case Instant:
		r.uvarint()
		r.uvarint()
	case Object:
		for {
			if _, more := r.name(); !more {
				return
			}
			r.skipValue(depth + 1)
		}
	case List:
		for r.moreItems() {
			r.skipValue(depth + 1)
		}
	default:
		r.fail()
	}
}

// moreItems says whether another item follows; at the list's end it moves behind it.
func (r *reader) moreItems() bool {
	if len(r.b) == 0 {
		r.fail()
		return false
	}
	if r.b[0] != endOfList {
		return true
	}
	r.b = r.b[1:]
	return false
}

func (r *reader) value(depth int) Value {
	if depth > maxDepth {
		r.fail()
		return Value{}
	}
	v := Value{Kind: ValueKind(r.byte())}
	switch v.Kind {
	case Cleared, False, True:
	case String, Decimal, JSON, Bytes:
		v.Text = string(r.text())
	case Int, Date:
		v.Int = r.varint()
	case Float:
		v.Float = math.Float64frombits(r.uint64())
	case Instant:
		v.Int = r.varint()
		v.Nanos = int32(r.uvarint()) //nolint:gosec // below 1e9 as written
	case Object:
		for {
			name, more := r.name()
			if !more {
				break
			}
			v.Members = append(v.Members, Member{string(name), r.value(depth + 1)})
		}
	case List:
		for r.moreItems() {
			v.Items = append(v.Items, r.value(depth+1))
		}
	default:
		r.fail()
	}
	return v
}
