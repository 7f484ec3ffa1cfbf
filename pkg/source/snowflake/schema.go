package snowflake

import "encoding/binary"

// maxFields bounds the fields of a chunk's schema, nested ones among them.
const maxFields = 10_000

// soundSchema says whether the lists of the schema at the head of an Arrow stream are as long as they claim to be. The
// reader makes room for what they claim before it looks.
func soundSchema(stream []byte) bool {
	const continuation, word = 0xFFFFFFFF, 4
	if len(stream) < 2*word {
		return false
	}
	if binary.LittleEndian.Uint32(stream) == continuation {
		stream = stream[word:]
	}
	size := int64(binary.LittleEndian.Uint32(stream))
	if size < word || size > int64(len(stream)-word) {
		return false
	}
	m := metadata{data: stream[word : word+size], left: maxFields}
	root, ok := m.follow(0)
	if !ok {
		return false
	}
	const header, messageKeys, fields, schemaKeys = 2, 4, 1, 2
	schema, ok := m.at(root, header)
	if !ok {
		return false
	}
	schema, ok = m.follow(schema)
	return ok && m.list(root, messageKeys, nil) && m.list(schema, schemaKeys, nil) && m.list(schema, fields, m.field)
}

// metadata is a flatbuffer that is walked with every step checked.
type metadata struct {
	data []byte
	left int // fields that may still come
}

func (m *metadata) uint32(at int64) (int64, bool) {
	const word = 4
	if at < 0 || at+word > int64(len(m.data)) {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint32(m.data[at:])), true
}

// follow answers where the offset at `at` leads.
func (m *metadata) follow(at int64) (int64, bool) {
	n, ok := m.uint32(at)
	return at + n, ok && at+n < int64(len(m.data))
}

// at answers where the slot of a table stands; 0: it has none.
func (m *metadata) at(table int64, slot int64) (int64, bool) {
	const half, head = 2, 4
	back, ok := m.uint32(table)
	if !ok {
		return 0, false
	}
	vtable := table - int64(int32(back)) //nolint:gosec // it has a sign
	if vtable < 0 || vtable+head > int64(len(m.data)) {
		return 0, false
	}
	size, entry := int64(binary.LittleEndian.Uint16(m.data[vtable:])), head+half*slot
	if entry+half > size {
		return 0, true
	}
	if vtable+entry+half > int64(len(m.data)) {
		return 0, false
	}
	off := int64(binary.LittleEndian.Uint16(m.data[vtable+entry:]))
	if off == 0 {
		return 0, true
	}
	return table + off, true
}

// list checks the list of tables in a slot, and each of them.
func (m *metadata) list(table, slot int64, each func(int64) bool) bool {
	at, ok := m.at(table, slot)
	if !ok || at == 0 {
		return ok
	}
	const word = 4
	start, ok := m.follow(at)
	if !ok {
		return false
	}
	n, ok := m.uint32(start)
	if !ok || n*word > int64(len(m.data))-start-word {
		return false
	}
	for i := int64(0); each != nil && i < n; i++ {
		one, ok := m.follow(start + word*(1+i))
		if !ok || !each(one) {
			return false
		}
	}
	return true
}

// field checks a field and those within it.
func (m *metadata) field(table int64) bool {
	const children, keys = 5, 6
	m.left--
	return m.left >= 0 && m.list(table, keys, nil) && m.list(table, children, m.field)
}
