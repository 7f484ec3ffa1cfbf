package overlay

import (
	"encoding/binary"
	"encoding/json"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/row"
)

// became is what a batch became, and what its judge said of it beside.
type became struct {
	Result profile.Result
	Said   json.RawMessage `json:",omitempty"`
}

const (
	entryFound = 1 << iota
	entryTombstone
	entryRepeats
)

// entryLen is of flags, effect, what was counted beside, two hashes, and six numbers of eight bytes.
const entryLen = 3 + 16 + 16 + 6*8

// appendEntry writes an entry; the zero entry says that there is none any more.
func appendEntry(e profile.Entry) []byte {
	b := make([]byte, 0, entryLen)
	var flags byte
	if e.Found {
		flags |= entryFound
	}
	if e.Tombstone {
		flags |= entryTombstone
	}
	if e.Repeats {
		flags |= entryRepeats
	}
	hash, version := e.RecordHash.Bytes(), e.Version.RowHash.Bytes()
	b = append(b, flags, byte(e.Effect), byte(e.Flags))
	b = append(append(b, hash[:]...), version[:]...)
	for _, n := range [...]uint64{ //nolint:gosec // two's complement
		uint64(e.Version.Time), uint64(e.Version.RunNo), uint64(e.Part), uint64(e.Epoch), uint64(e.Profile), uint64(e.EventTime),
	} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// readEntry reads what appendEntry wrote.
func readEntry(b []byte) (e profile.Entry, ok bool) {
	if len(b) != entryLen {
		return e, false
	}
	e.Found, e.Tombstone, e.Repeats = b[0]&entryFound != 0, b[0]&entryTombstone != 0, b[0]&entryRepeats != 0
	e.Effect, e.Flags = profile.Effect(b[1]), profile.EntryFlags(b[2])
	e.RecordHash, e.Version.RowHash = row.FromBytes(b[3:]), row.FromBytes(b[19:])
	number := func(i int) uint64 { return binary.BigEndian.Uint64(b[35+8*i:]) }
	e.Version.Time, e.Version.RunNo = int64(number(0)), int64(number(1)) //nolint:gosec // two's complement
	e.Part, e.Epoch = uint32(number(2)), uint32(number(3))               //nolint:gosec // written from uint32
	e.Profile, e.EventTime = id.Profile(number(4)), int64(number(5))     //nolint:gosec // two's complement
	return e, true
}

// account is what a run has done to a profile.
type account struct {
	hidden bool   // what the store has of it is gone
	there  bool   // the run has brought something
	doc    []byte // that
}

const (
	profileHidden = 1 << iota
	profileThere
)

func (a account) bytes() []byte {
	var flags byte
	if a.hidden {
		flags |= profileHidden
	}
	if a.there {
		flags |= profileThere
	}
	return append([]byte{flags}, a.doc...)
}

// readAccount reads what bytes answered; nil is the account of a profile that the run has not touched.
func readAccount(b []byte) (a account) {
	if len(b) == 0 {
		return a
	}
	return account{hidden: b[0]&profileHidden != 0, there: b[0]&profileThere != 0, doc: b[1:]}
}

// over answers a document with what the run has done to it, nil where there is no profile.
func (a account) over(doc []byte) []byte {
	if a.hidden {
		doc = nil
	}
	if !a.there {
		return doc
	}
	return append(append(make([]byte, 0, len(doc)+len(a.doc)), doc...), a.doc...)
}

// foldAbove is from how many bytes on an account is kept in its short form.
const foldAbove = 8 << 10

// add merges a contribution.
func (a *account) add(doc []byte) {
	a.there = true
	if a.doc = append(a.doc[:len(a.doc):len(a.doc)], doc...); len(a.doc) > foldAbove {
		a.doc = profile.Fold(a.doc)
	}
}
