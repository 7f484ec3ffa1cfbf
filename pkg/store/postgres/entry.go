package postgres

import (
	"crypto/sha256"
	"encoding/binary"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/row"
)

// repeats is a bit beside an entry's effect.
const repeats = 0x80

// tombstone is a bit beside the entry's flags.
const tombstone = 0x80

// appendEntry appends the packed form of e: fixed fields first, then those that are small as a rule.
func appendEntry(dst []byte, e *profile.Entry) []byte {
	h, v := e.RecordHash.Bytes(), e.Version.RowHash.Bytes()
	dst = append(append(dst, h[:]...), v[:]...)
	dst = appendInt8(dst, e.Version.Time)
	flags := byte(e.Flags)
	if e.Tombstone {
		flags |= tombstone
	}
	effect := byte(e.Effect)
	if e.Repeats {
		effect |= repeats
	}
	dst = append(dst, effect, flags)
	dst = binary.AppendVarint(dst, e.Version.RunNo)
	dst = binary.AppendUvarint(dst, uint64(e.Part))
	dst = binary.AppendUvarint(dst, uint64(e.Epoch))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Profile))
	return binary.AppendVarint(dst, e.EventTime)
}

const entryFixed = 16 + 16 + 8 + 2

// readEntry reads what appendEntry wrote; ok is false where b is no such thing.
func readEntry(b []byte) (e profile.Entry, ok bool) {
	if len(b) < entryFixed {
		return e, false
	}
	e.Found = true
	e.RecordHash, e.Version.RowHash = row.FromBytes(b), row.FromBytes(b[16:])
	e.Version.Time = getInt8(b[32:])
	e.Effect, e.Repeats = profile.Effect(b[40]&^repeats), b[40]&repeats != 0
	e.Flags, e.Tombstone = profile.EntryFlags(b[41]&^tombstone), b[41]&tombstone != 0
	b = b[entryFixed:]
	runNo, n := binary.Varint(b)
	if n <= 0 {
		return e, false
	}
	b = b[n:]
	part, n := binary.Uvarint(b)
	if n <= 0 {
		return e, false
	}
	b = b[n:]
	epoch, n := binary.Uvarint(b)
	if n <= 0 || len(b) < n+8 {
		return e, false
	}
	b = b[n:]
	e.Version.RunNo, e.Part, e.Epoch = runNo, uint32(part), uint32(epoch) //nolint:gosec // written from the same types
	e.Profile = id.Profile(binary.BigEndian.Uint64(b))
	e.EventTime, n = binary.Varint(b[8:])
	return e, n > 0
}

// identityKey answers the key of an identity. It is a cryptographic hash, so that nobody can make two values meet.
func identityKey(buf []byte, s profile.Scope, typ, value string) (key [16]byte, scratch []byte) {
	buf = append(buf[:0], s.Workspace...)
	buf = append(append(buf, 0), s.Environment...)
	if s.Space != "" {
		buf = append(append(buf, 1), s.Space...) // no environment has that byte
	}
	buf = append(append(buf, 0), typ...)
	buf = append(append(buf, 0), value...)
	sum := sha256.Sum256(buf)
	return [16]byte(sum[:16]), buf
}
