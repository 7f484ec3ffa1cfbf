package pebble

import (
	"encoding/binary"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// A key begins with what it is. Scopes, syncs and identity types are numbers of the dictionary; numbers are big-endian,
// so that bytes order as numbers do.
const (
	kindBatch      = 'b' // run, part, epoch, seq, fragment → result
	kindDictionary = 'd' // what, name → number
	kindEvent      = 'e' // scope, profile, time (descending), id → document
	kindFence      = 'f' // run, part → epoch
	kindMerge      = 'g' // scope, merge → entry of the log of merges
	kindMergeOf    = 'h' // scope, profile, merge → nothing: the profile is in that entry
	kindIdentity   = 'i' // scope, type, value → profile
	kindKept       = 'k' // run, part, epoch, seq, fragment → kept rows of its rejects, sealed
	kindMeta       = 'm' // name → value
	kindShaped     = 'o' // scope, profile → nothing: no identity may be bound to that profile any more
	kindProfile    = 'p' // scope, profile → document
	kindRow        = 'r' // sync, row key → entry
	kindSight      = 's' // sync, run_no, first byte, part, epoch, seq, fragment → tails of the keys of rows that were read
	kindReject     = 'x' // run, part, epoch, seq, fragment, row → reject
	kindScratch    = 'z' // run, key of a note → its value; run alone → the turn of its notes
)

func rowKey(dst []byte, sync uint32, k id.Row) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, kindRow), sync)
	return append(dst, k[:]...)
}

const rowKeyLen = 1 + 4 + 16

func identityPrefix(scope, typ uint32) []byte {
	dst := binary.BigEndian.AppendUint32([]byte{kindIdentity}, scope)
	return binary.BigEndian.AppendUint16(dst, uint16(typ)) //nolint:gosec // the dictionary gives no more
}

const identityPrefixLen = 1 + 4 + 2

func profileKey(dst []byte, scope uint32, p id.Profile) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, kindProfile), scope)
	return binary.BigEndian.AppendUint64(dst, uint64(p))
}

const profileKeyLen = 1 + 4 + 8

func eventPrefix(dst []byte, scope uint32, p id.Profile) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, kindEvent), scope)
	return binary.BigEndian.AppendUint64(dst, uint64(p))
}

func eventKey(dst []byte, scope uint32, k profile.EventKey) []byte {
	dst = eventPrefix(dst, scope, k.Profile)
	// The sign turned makes times order as unsigned numbers, all bits turned makes that descending.
	dst = binary.BigEndian.AppendUint64(dst, ^(uint64(k.Time) ^ 1<<63)) //nolint:gosec // two's complement
	return append(dst, k.ID[:]...)
}

const eventKeyLen = 1 + 4 + 8 + 8 + 16

func readEventKey(b []byte) (k profile.EventKey, ok bool) {
	if len(b) != eventKeyLen {
		return k, false
	}
	k.Profile = id.Profile(binary.BigEndian.Uint64(b[5:]))
	k.Time = int64(^binary.BigEndian.Uint64(b[13:]) ^ 1<<63) //nolint:gosec // two's complement
	copy(k.ID[:], b[21:])
	return k, true
}

func partKey(dst []byte, kind byte, p id.Part) []byte {
	dst = append(append(dst, kind), p.Run[:]...)
	return binary.BigEndian.AppendUint32(dst, p.Part)
}

const partKeyLen = 1 + 16 + 4

func batchKey(dst []byte, kind byte, b id.Batch) []byte {
	dst = partKey(dst, kind, id.Part{Run: b.Run, Part: b.Part})
	dst = binary.BigEndian.AppendUint32(dst, b.Epoch)
	dst = binary.BigEndian.AppendUint32(dst, b.Seq)
	return binary.BigEndian.AppendUint32(dst, b.Fragment)
}

const batchKeyLen = partKeyLen + 12

func readBatchKey(b []byte) (k id.Batch) {
	copy(k.Run[:], b[1:])
	k.Part, k.Epoch = binary.BigEndian.Uint32(b[17:]), binary.BigEndian.Uint32(b[21:])
	k.Seq, k.Fragment = binary.BigEndian.Uint32(b[25:]), binary.BigEndian.Uint32(b[29:])
	return k
}

func rejectKey(dst []byte, b id.Batch, row int32) []byte {
	return binary.BigEndian.AppendUint32(batchKey(dst, kindReject, b), uint32(row)) //nolint:gosec // positions are not negative
}

// after answers the first key behind all that begin with prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
