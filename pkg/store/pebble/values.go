package pebble

import (
	"encoding/binary"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// repeats is a bit beside an entry's effect.
const repeats = 0x80

// tombstone is a bit beside an entry's flags.
const tombstone = 0x80

const (
	entryFixed = 2 + 16 + 16 + 8 + 8
	entryMax   = entryFixed + 4*binary.MaxVarintLen64
)

// putEntry writes e to b, which has entryMax bytes, and answers how many it took.
func putEntry(b []byte, e *profile.Entry) int {
	b[0], b[1] = byte(e.Effect), byte(e.Flags)
	if e.Repeats {
		b[0] |= repeats
	}
	if e.Tombstone {
		b[1] |= tombstone
	}
	binary.BigEndian.PutUint64(b[2:], e.RecordHash.Hi)
	binary.BigEndian.PutUint64(b[10:], e.RecordHash.Lo)
	binary.BigEndian.PutUint64(b[18:], e.Version.RowHash.Hi)
	binary.BigEndian.PutUint64(b[26:], e.Version.RowHash.Lo)
	binary.BigEndian.PutUint64(b[34:], uint64(e.Version.Time)) //nolint:gosec // two's complement
	binary.BigEndian.PutUint64(b[42:], uint64(e.Profile))
	n := entryFixed
	n += binary.PutVarint(b[n:], e.Version.RunNo)
	n += binary.PutUvarint(b[n:], uint64(e.Part))
	n += binary.PutUvarint(b[n:], uint64(e.Epoch))
	if e.EventTime != 0 {
		n += binary.PutVarint(b[n:], e.EventTime)
	}
	return n
}

// readEntry reads what putEntry wrote.
func readEntry(b []byte) (e profile.Entry, ok bool) {
	if len(b) < entryFixed {
		return e, false
	}
	e.Found = true
	e.Effect, e.Repeats = profile.Effect(b[0]&^repeats), b[0]&repeats != 0
	e.Flags, e.Tombstone = profile.EntryFlags(b[1]&^tombstone), b[1]&tombstone != 0
	e.RecordHash, e.Version.RowHash = row.FromBytes(b[2:]), row.FromBytes(b[18:])
	e.Version.Time = int64(binary.BigEndian.Uint64(b[34:])) //nolint:gosec // two's complement
	e.Profile = id.Profile(binary.BigEndian.Uint64(b[42:]))
	v := varints{b: b[entryFixed:]}
	e.Version.RunNo = v.signed()
	e.Part, e.Epoch = uint32(v.unsigned()), uint32(v.unsigned()) //nolint:gosec // written from uint32
	if len(v.b) > 0 {
		e.EventTime = v.signed()
	}
	return e, !v.bad
}

// varints reads varints one after the other.
type varints struct {
	b   []byte
	bad bool
}

func (v *varints) signed() int64 {
	x, n := binary.Varint(v.b)
	return x * v.step(n)
}

func (v *varints) unsigned() uint64 {
	x, n := binary.Uvarint(v.b)
	return x * uint64(v.step(n)) //nolint:gosec // 0 or 1
}

// step moves on by n bytes and answers 1, or 0 where there was nothing to read.
func (v *varints) step(n int) int64 {
	if n <= 0 {
		v.b, v.bad = nil, true
		return 0
	}
	v.b = v.b[n:]
	return 1
}

// countFields lists counts in the order in which a result has them.
func countFields(c *record.Counts) []*int64 {
	return []*int64{
		&c.Read, &c.Filtered, &c.Rejected, &c.Mapped, &c.Absent,
		&c.Created, &c.Updated, &c.Unchanged, &c.Deleted, &c.Protected, &c.Refused,
		&c.LateRows, &c.Collapsed, &c.Unattributed, &c.NullIterator, &c.Merges, &c.Blocked,
	}
}

// firstCounts is how many counts results had at first; they may lack those that came later.
const firstCounts = 15

func appendResult(dst []byte, r profile.Result) []byte {
	h := r.Digest.Bytes()
	dst = append(dst, h[:]...)
	last := byte(0)
	if r.Last {
		last = 1
	}
	dst = append(dst, last)
	dst = binary.AppendVarint(binary.AppendVarint(dst, r.FirstRow), r.Rows)
	for _, f := range countFields(&r.Counts) {
		dst = binary.AppendVarint(dst, *f)
	}
	return dst
}

func readResult(key, b []byte) (profile.Result, error) {
	if len(key) != batchKeyLen || len(b) < 17 {
		return profile.Result{}, damaged("the result of a batch")
	}
	r := profile.Result{Batch: readBatchKey(key), Digest: row.FromBytes(b), Last: b[16] == 1}
	v := varints{b: b[17:]}
	r.FirstRow, r.Rows = v.signed(), v.signed()
	for i, f := range countFields(&r.Counts) {
		if i >= firstCounts && len(v.b) == 0 {
			break
		}
		*f = v.signed()
	}
	if v.bad {
		return profile.Result{}, damaged("the result of a batch")
	}
	return r, nil
}

// damaged is the answer to a value that this package did not write.
func damaged(what string) error {
	return fault.New(fault.Internal, fault.ReasonInternal, "store: %s can not be read; check the disk and restore the store from a backup", what)
}
