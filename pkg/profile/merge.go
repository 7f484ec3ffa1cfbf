package profile

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
)

// Reshaping is what changes between profiles.
type Reshaping struct {
	// Guards are profiles whose shape was gone by: Commit answers Conflict where it is another by now.
	Guards []Guard
	// Links say which profiles are merged into which. From then on nothing is bound to a merged profile and nothing merged
	// into its document: a commit that was decided before answers Conflict.
	Links []Link
	// Inside are profiles that were merged already when they were looked up: what is withdrawn from them goes to them.
	Inside []id.Profile
	// Merges to put into the log, by their id.
	Merges []Merge
}

// Guard names a profile and the shape of its own document when it was looked up.
type Guard struct {
	Profile id.Profile
	Shape   uint64
}

// Link says that a profile is merged into another; with Survivor 0, that it is on its own again.
type Link struct {
	Profile  id.Profile
	Survivor id.Profile
}

// MergeID names an entry of the log of merges. Ids order by the time of the run, stops behind all others.
type MergeID [16]byte

func (m MergeID) String() string { return hex.EncodeToString(m[:]) }

// ParseMergeID reads what String answers.
func ParseMergeID(s string) (m MergeID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(m) {
		return m, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "is no id of a merge; use the one that profiles merges shows")
	}
	copy(m[:], b)
	return m, nil
}

// MergeKind is what an entry of the log is about.
type MergeKind uint8

// The kinds.
const (
	Merged  MergeKind = 1 + iota // a profile was merged into another
	Stopped                      // profiles were not merged, by a rule
	Linked                       // a new profile goes on from an anonymous one; nothing was moved
)

// Merge is an entry of the log of merges.
type Merge struct {
	ID      MergeID
	Kind    MergeKind
	Profile id.Profile // the survivor; of a stop: where the row went
	// Others are the merged or linked profile; of a stop: those that were not merged.
	Others []id.Profile
	Rule   string     // the strategy that merged, or the rule that stopped it; see package identity
	Limit  string     // of a stop by a limit: which, such as "customer_id 1 ever"
	Glue   Identity   // the value that glues them; of a stop: what was left of the row
	Moved  []Identity // what was bound to the merged profile
	// The row that brought it about.
	SyncID    string
	Batch     id.Batch
	KeyValues string
	Time      time.Time
	Undone    time.Time // zero: it stands
	// Erased: somebody in it was erased. Values are gone, and it can not be undone.
	Erased bool
}

// Stamp sets the time of what goes into the log.
func (r *Reshaping) Stamp(now time.Time) {
	for i := range r.Merges {
		r.Merges[i].Time = now
	}
}

// mergeIDOf derives the id of a merge from the row that brought it about and the profile that was merged.
func mergeIDOf(b id.Batch, row id.Row, p id.Profile) (m MergeID) {
	copy(m[:8], b.Run[:8])
	t := append([]byte(b.String()), row[:]...)
	binary.BigEndian.PutUint64(m[8:], xxh3.Hash(binary.BigEndian.AppendUint64(t, uint64(p))))
	return m
}

// stopIDOf derives the id of a stop from what it is about, so that it is logged once, however often rows bring it about.
func stopIDOf(rule, limit string, glue Identity, others []id.Profile) (m MergeID) {
	for i := range 8 {
		m[i] = 0xff
	}
	t := appendText(appendText(appendText(appendText(nil, rule), limit), glue.Type), glue.Value)
	for _, p := range others {
		t = binary.BigEndian.AppendUint64(t, uint64(p))
	}
	binary.BigEndian.PutUint64(m[8:], xxh3.Hash(t))
	return m
}

// AppendMerge appends the stored form of m, without its id.
func AppendMerge(dst []byte, m Merge) []byte {
	dst = binary.AppendUvarint(append(dst, byte(m.Kind)), uint64(m.Profile))
	dst = binary.AppendUvarint(dst, uint64(len(m.Others)))
	for _, p := range m.Others {
		dst = binary.AppendUvarint(dst, uint64(p))
	}
	dst = appendText(appendText(dst, m.Rule), m.Limit)
	dst = appendText(appendText(dst, m.Glue.Type), m.Glue.Value)
	dst = binary.AppendUvarint(dst, uint64(len(m.Moved)))
	for _, i := range m.Moved {
		dst = appendText(appendText(dst, i.Type), i.Value)
	}
	dst = append(dst, m.Batch.Run[:]...)
	for _, n := range [...]uint32{m.Batch.Part, m.Batch.Epoch, m.Batch.Seq, m.Batch.Fragment} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	dst = appendText(appendText(dst, m.SyncID), m.KeyValues)
	dst = binary.AppendVarint(binary.AppendVarint(dst, micros(m.Time)), micros(m.Undone))
	if m.Erased {
		dst = append(dst, 1)
	}
	return dst
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// DecodeMerge reads what AppendMerge wrote. The error is Internal.
func DecodeMerge(at MergeID, b []byte) (Merge, error) {
	r := reader{b: b}
	m := Merge{ID: at, Kind: MergeKind(r.byte()), Profile: id.Profile(r.uvarint())}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		m.Others = append(m.Others, id.Profile(r.uvarint()))
	}
	m.Rule, m.Limit = string(r.text()), string(r.text())
	m.Glue = Identity{string(r.text()), string(r.text())}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		m.Moved = append(m.Moved, Identity{string(r.text()), string(r.text())})
	}
	m.Batch.Run = r.array16()
	m.Batch.Part, m.Batch.Epoch, m.Batch.Seq, m.Batch.Fragment = r.uint32(), r.uint32(), r.uint32(), r.uint32()
	m.SyncID, m.KeyValues = string(r.text()), string(r.text())
	m.Time, m.Undone = ofMicros(r.varint()), ofMicros(r.varint())
	if len(r.b) > 0 {
		m.Erased = r.byte() == 1
	}
	if r.bad || len(r.b) > 0 {
		return Merge{}, badDocument("a merge")
	}
	return m, nil
}

func ofMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// Undoing takes a merge back. A store writes all of it in one durable step, or none.
type Undoing struct {
	Scope         Scope
	Identities    []IdentityWrite
	Contributions []ContributionWrite
	Reshaping
}

// Standing is how a merge stands now.
type Standing struct {
	Merge Merge
	// Path leads from the profile that was merged into, Merge.Profile, to the one that survives now: the same where it was
	// not merged itself.
	Path []id.Profile
	// Into is the survivor with all that is merged into it, Parent is Merge.Profile so, From is the merged profile so.
	Into, Parent, From Holding
}

// Undo answers what takes a merge back: the merged profile is on its own again, with what it had; what came after the
// merge stays with the survivor; and the value that glued the two does not do so again.
func Undo(s Scope, x Standing, now time.Time) Undoing {
	m := x.Merge
	m.Undone = now
	merged, survivor := m.Others[0], x.Path[len(x.Path)-1]
	u := Undoing{Scope: s, Reshaping: Reshaping{
		Guards: []Guard{{survivor, x.Into.Shape}, {merged, x.From.Shape}},
		Links:  []Link{{Profile: merged}},
		Inside: x.Path[:len(x.Path)-1],
		Merges: []Merge{m},
	}}
	if m.Profile != survivor {
		u.Guards = append(u.Guards, Guard{m.Profile, x.Parent.Shape})
	}
	kin := max(x.Parent.ties.kin[kinship{false, merged}], x.From.ties.kin[kinship{true, m.Profile}]) + 1
	var up, down, loss ties
	up.kinTo(kinship{false, merged}, kin)
	up.apartFrom(apartness{merged, m.Glue})
	down.kinTo(kinship{true, m.Profile}, kin)
	down.apartFrom(apartness{m.Profile, m.Glue})
	held := map[Identity]bool{}
	for _, h := range x.Into.Held {
		held[Identity{h.Type, h.Value}] = true
	}
	for _, h := range x.From.Held {
		i := Identity{h.Type, h.Value}
		if !held[i] {
			continue // taken by another profile since
		}
		u.Identities = append(u.Identities, IdentityWrite{Type: i.Type, Value: i.Value, Profile: merged, From: survivor})
		// Rows that came after the merge have brought it to the survivor.
		at := max(x.Into.ties.bonds[i].turn, x.From.ties.bonds[i].turn) + 1
		down.bond(i, bond{turn: at, since: h.Since})
		loss.bond(i, bond{turn: at, lost: true})
	}
	u.Contributions = []ContributionWrite{{m.Profile, up.append(nil)}, {merged, down.append(nil)}}
	for _, p := range x.Path {
		if loss.empty() {
			break
		}
		u.Contributions = append(u.Contributions, ContributionWrite{p, loss.append(nil)})
	}
	return u
}

// Has says whether an entry of the log is about p.
func (m Merge) Has(p id.Profile) bool { return m.Profile == p || slices.Contains(m.Others, p) }
