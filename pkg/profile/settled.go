package profile

import (
	"encoding/binary"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/row"
)

// Settled says by position whether Decide asks for nothing but its entry. Nil: none.
type Settled []bool

// At says whether position i is settled.
func (s Settled) At(i int) bool { return s != nil && s[i] }

// Settled answers the positions whose rows are what they were, where every other row of the batch that has the same key is
// so too. An entry that a run of another mode wrote never settles a row of a mirror, so that the row is written in the form
// of mirrors once.
func (k *Keys) Settled(entries []Entry) Settled {
	if k.RecordHashes == nil {
		return nil
	}
	var s Settled
	changed := 0
	for i := range entries {
		switch e := &entries[i]; {
		case k.settles(i, e):
			if s == nil {
				s = make(Settled, len(entries))
			}
			s[i] = true
		case e.Found:
			changed++
		}
	}
	if s != nil && changed > 0 {
		k.unsettle(s, entries, changed)
	}
	return s
}

// settles says whether the row at i is what its entry says.
func (k *Keys) settles(i int, e *Entry) bool {
	return e.Found && !e.Tombstone && row.FromBytes(k.RecordHashes.Value(i)) == e.RecordHash &&
		(!k.Origin.Mirror || e.Flags&FlagMirror != 0)
}

// unsettle takes from s the positions that share their keys with the changed ones.
func (k *Keys) unsettle(s Settled, entries []Entry, changed int) {
	var t table
	t.grow(changed)
	for i := range entries {
		if entries[i].Found && !s[i] {
			t.add(binary.LittleEndian.Uint64(k.Rows.Value(i)[8:]), i)
		}
	}
	for i := range s {
		s[i] = s[i] && !k.among(&t, id.Row(k.Rows.Value(i)))
	}
}

// among says whether a position of t has the key.
func (k *Keys) among(t *table, key id.Row) bool {
	h := binary.LittleEndian.Uint64(key[8:])
	for at := t.first(h); ; at = t.next(at) {
		i, more := t.at(at, h)
		if !more {
			return false
		}
		if i >= 0 && id.Row(k.Rows.Value(i)) == key {
			return true
		}
	}
}
