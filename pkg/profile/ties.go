package profile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/id"
)

// ties are what a profile's document says of other profiles and of identities that came or went otherwise than by a row
// of its own: which profiles are merged into it, into which it is merged, which merges were undone, which identities it
// lost to another profile or got from one, and, where limits count over windows, when identities were bound.
//
// Each tie has a turn, counted up by whoever changes it; the highest stands. So ties merge as contributions do, in any
// order and more than once.
type ties struct {
	bonds map[Identity]bond
	kin   map[kinship]turn
	apart map[apartness]bool
}

// chunkTies is a chunk of ties in a profile's document.
const chunkTies = 16

// bond is the tie to an identity.
type bond struct {
	turn  uint64
	lost  bool
	since int64 // nanoseconds since the Unix epoch; 0: unknown
}

// kinship is the tie to a merged profile, or to the one that survived.
type kinship struct {
	survivor bool // other is the survivor
	other    id.Profile
}

// turn counts the changes of a kinship: it stands while it is odd.
type turn uint64

func (t turn) stands() bool { return t%2 == 1 }

// apartness is a merge with another profile that was undone, and by which value it came about.
type apartness struct {
	other id.Profile
	Identity
}

func (t *ties) empty() bool { return len(t.bonds) == 0 && len(t.kin) == 0 && len(t.apart) == 0 }

func (t *ties) bond(i Identity, b bond) {
	old, there := t.bonds[i]
	switch {
	case !there || b.turn > old.turn:
	case b.turn < old.turn:
		return
	default:
		b.lost = b.lost && old.lost
		if b.since == 0 || old.since != 0 && old.since < b.since {
			b.since = old.since
		}
	}
	if t.bonds == nil {
		t.bonds = map[Identity]bond{}
	}
	t.bonds[i] = b
}

func (t *ties) kinTo(k kinship, at turn) {
	if t.kin == nil {
		t.kin = map[kinship]turn{}
	}
	t.kin[k] = max(t.kin[k], at)
}

func (t *ties) apartFrom(a apartness) {
	if t.apart == nil {
		t.apart = map[apartness]bool{}
	}
	t.apart[a] = true
}

// What an item of a chunk of ties is.
const (
	tieBond = iota + 1
	tieLost
	tieMember
	tieSurvivor
	tieApart
)

// append appends a chunk of t, or nothing.
func (t *ties) append(dst []byte) []byte {
	if t.empty() {
		return dst
	}
	b := []byte{chunkTies}
	for _, i := range slices.SortedFunc(maps.Keys(t.bonds), compareIdentities) {
		x, kind := t.bonds[i], byte(tieBond)
		if x.lost {
			kind = tieLost
		}
		b = binary.AppendUvarint(append(b, kind), x.turn)
		b = binary.AppendVarint(b, x.since)
		b = appendText(appendText(b, i.Type), i.Value)
	}
	for _, k := range slices.SortedFunc(maps.Keys(t.kin), func(a, b kinship) int {
		return cmp.Or(compareBools(a.survivor, b.survivor), cmp.Compare(a.other, b.other))
	}) {
		kind := byte(tieMember)
		if k.survivor {
			kind = tieSurvivor
		}
		b = binary.AppendUvarint(append(b, kind), uint64(t.kin[k]))
		b = binary.AppendUvarint(b, uint64(k.other))
	}
	for _, a := range slices.SortedFunc(maps.Keys(t.apart), func(a, b apartness) int {
		return cmp.Or(cmp.Compare(a.other, b.other), compareIdentities(a.Identity, b.Identity))
	}) {
		b = binary.AppendUvarint(append(b, tieApart), uint64(a.other))
		b = appendText(appendText(b, a.Type), a.Value)
	}
	return appendChunk(dst, b)
}

func compareIdentities(a, b Identity) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// read reads what append wrote behind the kind of the chunk.
func (t *ties) read(r *reader) {
	for len(r.b) > 0 {
		switch kind := r.byte(); kind {
		case tieBond, tieLost:
			b := bond{turn: r.uvarint(), lost: kind == tieLost, since: r.varint()}
			t.bond(Identity{string(r.text()), string(r.text())}, b)
		case tieMember, tieSurvivor:
			at := turn(r.uvarint())
			t.kinTo(kinship{kind == tieSurvivor, id.Profile(r.uvarint())}, at)
		case tieApart:
			other := id.Profile(r.uvarint())
			t.apartFrom(apartness{other, Identity{string(r.text()), string(r.text())}})
		default:
			r.fail()
			return
		}
	}
}

// tiesOf reads no more of a document than its ties, and none of one that can not be read.
func tiesOf(doc []byte) (t ties) {
	r := reader{b: doc}
	for len(r.b) > 0 {
		body := reader{b: r.text()}
		if body.byte() == chunkTies {
			t.read(&body)
		}
		if r.bad || body.bad {
			return ties{}
		}
	}
	return t
}

// SurvivorOf answers the profile that the document's own is merged into, 0 where it is merged into none.
func SurvivorOf(doc []byte) id.Profile {
	if !mayHaveTies(doc) {
		return 0
	}
	t := tiesOf(doc)
	for k, at := range t.kin {
		if k.survivor && at.stands() {
			return k.other
		}
	}
	return 0
}

// MembersOf answers the profiles that are merged into the document's own, not those merged into these; ascending.
func MembersOf(doc []byte) []id.Profile {
	if !mayHaveTies(doc) {
		return nil
	}
	t := tiesOf(doc)
	var out []id.Profile
	for k, at := range t.kin {
		if !k.survivor && at.stands() {
			out = append(out, k.other)
		}
	}
	slices.Sort(out)
	return out
}

// mayHaveTies is cheap, and false for most documents.
func mayHaveTies(doc []byte) bool {
	r := reader{b: doc}
	for len(r.b) > 0 {
		body := r.text()
		if len(body) > 0 && body[0] == chunkTies {
			return true
		}
	}
	return false
}

// held drops identities that were lost, and keeps each once.
func (d *document) held() []Identity {
	d.sortIdentities(false)
	out := make([]Identity, 0, len(d.identities))
	for i, t := range d.identities {
		if (i == 0 || t.Identity != d.identities[i-1].Identity) && !d.ties.bonds[t.Identity].lost {
			out = append(out, t.Identity)
		}
	}
	return out
}

// Shape answers a hash of what Resolve goes by of a profile: its identities, its ties and when it was first seen. Attributes
// are not in it. Equal content gives equal shapes, however its document is folded.
func Shape(doc []byte) uint64 {
	d, ok := parse(doc)
	if !ok {
		return xxh3.Hash(doc)
	}
	d.open()
	d.open()
	b := binary.AppendVarint(nil, d.first)
	for _, i := range d.held() {
		b = appendText(appendText(b, i.Type), i.Value)
	}
	return xxh3.Hash(d.ties.append(b))
}

// Concat sets documents of merged profiles, each of them whole, one behind the other. What it answers is read as that of
// one profile. What is withdrawn from one of them is not withdrawn from the others.
func Concat(docs ...[]byte) []byte { return bytes.Join(settled(docs), nil) }

func settled(docs [][]byte) [][]byte {
	out := make([][]byte, len(docs))
	for i, doc := range docs {
		if out[i] = doc; Withdraws(doc) {
			out[i] = Settle(doc)
		}
	}
	return out
}
