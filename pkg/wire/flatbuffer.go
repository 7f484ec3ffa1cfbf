package wire

import "encoding/binary"

// meta is the metadata of one Arrow message, a FlatBuffer. Its reads check every offset against the bytes; the first one
// that does not fit makes it bad, and reads of a bad one answer nothing.
type meta struct {
	b   []byte
	bad bool
}

// fieldTable is a table of a FlatBuffer; the zero value is an absent one.
type fieldTable struct {
	m       *meta
	at      int
	offsets []byte // of its fields, two bytes each; 0: absent
}

// vector is a vector of a FlatBuffer: n elements, the first at `at`.
type vector struct{ at, n int }

func (m *meta) fail() { m.bad = true }

// bytes answers n bytes at an offset.
func (m *meta) bytes(at, n int) []byte {
	if m.bad || at < 0 || n < 0 || at > len(m.b)-n {
		m.fail()
		return make([]byte, min(max(n, 0), 8))
	}
	return m.b[at : at+n]
}

func (m *meta) uint16(at int) int { return int(binary.LittleEndian.Uint16(m.bytes(at, 2))) }
func (m *meta) uint32(at int) int { return int(binary.LittleEndian.Uint32(m.bytes(at, 4))) }

func (m *meta) int64(at int) int64 {
	return int64(binary.LittleEndian.Uint64(m.bytes(at, 8))) //nolint:gosec // two's complement
}

// root answers the table that a FlatBuffer is.
func (m *meta) root() fieldTable { return m.table(0) }

// table answers the table to which the offset at `at` points.
func (m *meta) table(at int) fieldTable {
	at += m.uint32(at)
	back := int(int32(m.uint32(at))) //nolint:gosec // two's complement
	head := at - back
	n := m.uint16(head)
	if n < 4 || n%2 != 0 || m.uint16(head+2) < 4 {
		m.fail()
		return fieldTable{}
	}
	m.bytes(at, m.uint16(head+2))
	offsets := m.bytes(head+4, n-4)
	if m.bad {
		return fieldTable{}
	}
	return fieldTable{m, at, offsets}
}

// place answers where a field stands, 0 where it is absent.
func (t fieldTable) place(field int) int {
	if 2*field+2 > len(t.offsets) {
		return 0
	}
	n := int(binary.LittleEndian.Uint16(t.offsets[2*field:]))
	if n == 0 {
		return 0
	}
	return t.at + n
}

// byte answers a field of one byte, 0 where it is absent.
func (t fieldTable) byte(field int) byte {
	if at := t.place(field); at > 0 {
		return t.m.bytes(at, 1)[0]
	}
	return 0
}

// int16 answers a field of two bytes, 0 where it is absent.
func (t fieldTable) int16(field int) int {
	if at := t.place(field); at > 0 {
		return t.m.uint16(at)
	}
	return 0
}

// int32 answers a field of four bytes, 0 where it is absent.
func (t fieldTable) int32(field int) int32 {
	if at := t.place(field); at > 0 {
		return int32(t.m.uint32(at)) //nolint:gosec // two's complement
	}
	return 0
}

// int64 answers a field of eight bytes, 0 where it is absent.
func (t fieldTable) int64(field int) int64 {
	if at := t.place(field); at > 0 {
		return t.m.int64(at)
	}
	return 0
}

// table answers a field that is a table.
func (t fieldTable) table(field int) (fieldTable, bool) {
	at := t.place(field)
	if at == 0 {
		return fieldTable{}, false
	}
	return t.m.table(at), true
}

// vector answers a field that is a vector of elements of `size` bytes; none where it is absent.
func (t fieldTable) vector(field, size int) vector {
	at := t.place(field)
	if at == 0 {
		return vector{}
	}
	at += t.m.uint32(at)
	v := vector{at + 4, t.m.uint32(at)}
	if v.n > len(t.m.b)/size {
		t.m.fail()
		return vector{}
	}
	t.m.bytes(v.at, v.n*size)
	return v
}
