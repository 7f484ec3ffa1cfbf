package profile

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
)

// RuleNoIdentity is the rule of the rejects that Decide makes: user rows without a usable identity.
const RuleNoIdentity = "no_identity"

// Decide answers what b changes where k met st. k is KeysOf b. Texts of the effects alias b. Where st says that the batch
// was applied before, the effects are that result and nothing to write; a fenced batch must not be decided on.
//
// Rows are judged one after the other, so that repeats within the batch, and rows that share a new identity, meet what
// the rows before them did. A row's profile is that of its highest-priority bound identity; where none is bound, a new
// one. Its identities that are bound to nobody are bound to that profile; those bound elsewhere stay there.
//
// User rows without a usable identity are refused. Events without one, and under a protection that makes no profiles
// those of unknown users, are kept without a profile. Under update_only and read_only, user rows that would make, or
// under read_only change, a profile are protected; read_only events bind no identities. Rows of erased people
// (State.Erased) are protected, of every kind: nothing of them is written, and a mirror has seen them.
func Decide(b record.Batch, k Keys, st State, r Rules) Effects {
	if st.Applied != nil {
		return Effects{Keys: k, Seen: st.Seen, Result: *st.Applied}
	}
	d := newDecider(b, k, st, r)
	for i := range d.n {
		if b.Absent != nil {
			d.absent(i)
		} else {
			d.row(i)
		}
	}
	return d.finish(b)
}

// decider is the state of one Decide.
type decider struct {
	n     int
	k     Keys
	st    State
	eff   Effects
	kind  record.Kind
	full  bool
	runNo int64
	read  int64 // of a replay: the ordinal of the run that read the rows; 0: this one
	part  uint32
	epoch uint32

	mayCreate, mayBind, readOnly bool
	isMirror, deletesProfiles    bool
	mirror

	keys, hashes, recordHashes []byte // sixteen bytes a position
	positions                  *array.Int32
	times                      *array.Timestamp
	snapshot                   int64
	belowLow                   *array.Boolean
	settled                    Settled // of a complete read
	keyValues                  *array.String
	typeNames                  [][]byte // of identity columns, as appendText writes them

	attributes  fields
	memberships []membership
	refused     []refusedColumn
	joined      map[EventKey]bool // what join has written
	event       eventColumns
	table       Table

	from      Provenance // less what rows have of their own
	batchPart []byte     // of contributions and events, behind the kind
	scratch   []byte
	docs      arena
	pending   table   // row keys → positions in eff.Entries
	events    []int32 // by position in eff.Entries: its position in eff.Events, or -1
	fresh     table   // new profiles → themselves
	newOnes   []id.Profile
	bound     table // new identities → positions in eff.Identities
	// Of the row at hand, by identity column: what it is bound to (0: nothing), and its hash where it is bound to nothing.
	profiles []id.Profile
	idHashes []uint64

	strategy *identity.Rules
	explain  bool
	resolver
}

func newDecider(b record.Batch, k Keys, st State, r Rules) *decider {
	o := k.Origin
	n := k.Len()
	d := &decider{
		n: n, k: k, st: st, kind: b.Kind, full: o.Full, runNo: o.RunNo, read: o.ReadRunNo, part: o.Batch.Part, epoch: o.Batch.Epoch,
		mayCreate: r.Protection == resource.CreateAndUpdate || r.Protection == "",
		mayBind:   r.Protection != resource.ReadOnly,
		readOnly:  r.Protection == resource.ReadOnly,
		strategy:  r.Strategy,
		explain:   r.Explain,
		table:     r.Table,
		profiles:  make([]id.Profile, len(k.Identities)),
		idHashes:  make([]uint64, len(k.Identities)),
		isMirror:  o.Mirror, deletesProfiles: onDelete(r),
	}
	d.eff = Effects{Keys: k, EventScope: eventScope(k.Scope, b.Kind), Seen: st.Seen, Result: Result{Batch: o.Batch, FirstRow: o.FirstRow, Rows: o.Rows, Last: o.Last}}
	if !o.SnapshotTime.IsZero() {
		d.snapshot = o.SnapshotTime.UnixNano()
	}
	if n == 0 {
		return d
	}
	d.from = Provenance{
		Sync: o.Sync, SyncID: o.SyncID, SyncVersion: o.SyncVersion, Batch: o.Batch, Full: o.Full, Snapshot: d.snapshot,
		Model: o.Model, Provider: o.Provider, Version: Version{RunNo: o.RunNo},
	}
	d.keys = values16(k.Rows)
	if b.Absent != nil {
		return d
	}
	d.hashes, d.recordHashes = values16(fixed16(b, record.PosHash)), values16(k.RecordHashes)
	d.positions = b.Record.Column(record.PosRow).(*array.Int32)           //nolint:forcetypeassert // the form of a batch is checked by wire
	d.times = b.Record.Column(record.PosTime).(*array.Timestamp)          //nolint:forcetypeassert // as above
	d.belowLow = b.Record.Column(record.PosBelowLow).(*array.Boolean)     //nolint:forcetypeassert // as above
	d.keyValues = b.Record.Column(record.PosKeyValues).(*array.String)    //nolint:forcetypeassert // as above
	if body, ok := b.Record.Column(record.PosBody).(*array.Struct); !ok { // no fields
		d.attributes = nil
	} else if b.Kind.Single() {
		d.event = d.singleColumnsOf(b.Kind, body)
	} else {
		d.attributes, d.memberships = fieldsOf(body), memberships(body, r.GroupTypes)
		d.refused = r.Typing.apply(d.attributes, body)
	}
	for _, c := range k.Identities {
		d.typeNames = append(d.typeNames, appendText(nil, c.Type))
	}
	d.batchPart = appendBatch(nil, d.from)
	if d.full {
		d.settled = k.Settled(st.Entries)
	}
	return d
}

func values16(a *array.FixedSizeBinary) []byte {
	d := a.Data()
	return d.Buffers()[1].Bytes()[16*d.Offset() : 16*(d.Offset()+d.Len())]
}

func (d *decider) key(i int) id.Row { return id.Row(d.keys[16*i : 16*i+16]) }

// version answers the version of the row at i, and whether it has a row time.
func (d *decider) version(i int) (Version, bool) {
	v := Version{Time: d.snapshot, RunNo: d.runNo, RowHash: row.FromBytes(d.hashes[16*i:])}
	if d.times.IsNull(i) {
		return v, false
	}
	v.Time = int64(d.times.Value(i))
	return v, true
}

// compare orders the version of a row and that of the entry that it meets. Against entries of other runs a replayed row
// stands where the run stood that read it: what was read since is newer.
func (d *decider) compare(v Version, old Entry) int {
	if d.read != 0 && !d.own(old) {
		v.RunNo = d.read
	}
	return v.Compare(old.Version, d.full)
}

// buried says whether a run after the one that read a row has found it gone.
func (d *decider) buried(v Version, old Entry) bool {
	if d.read != 0 {
		v.RunNo = d.read
	}
	return old.Found && old.Tombstone && v.RunNo < old.Version.RunNo
}

// row judges one row.
func (d *decider) row(i int) {
	key := d.key(i)
	hash := row.FromBytes(d.recordHashes[16*i:])
	v, hasTime := d.version(i)
	d.eff.Result.Digest = d.eff.Result.Digest.Add(v.RowHash)
	if d.st.Erased != nil && d.st.Erased[i] {
		d.count(Protected, 0)
		return
	}

	old, at := d.entry(i, key)
	if d.buried(v, old) {
		d.count(Unchanged, 0)
		return
	}
	known := d.has(old)
	newer := !known || d.compare(v, old) > 0
	same := known && hash == old.RecordHash && (at >= 0 || !d.isMirror || old.Flags&FlagMirror != 0)
	if !newer || same && !d.carries(old) {
		if !same && !d.kind.Single() && !d.usable(i) {
			d.refuse(i, key, v)
			return
		}
		d.keep(i, key, old, at, v, same && newer && (hasTime && v.Time > old.Version.Time || d.recalls(i, old)))
		return
	}

	e, merged := Entry{Found: true, RecordHash: hash, Version: v}, len(d.eff.Links)
	if !d.place(i, key, v, &e) {
		return
	}
	d.judge(i, &e, old, known, d.belowLow.Value(i))
	at = d.put(key, e, at)
	if d.kind.Single() {
		d.writeEvent(i, key, e, old, known, at, hasTime, v)
	} else {
		d.contribute(i, key, e.Profile, hasTime, v, v.Time, d.attributes)
		d.join(i, e.Profile, hasTime, v)
	}
	if d.isMirror && known {
		d.replaced(key, e, old, v)
	}
	if n := int64(len(d.eff.Links) - merged); n > 0 {
		d.eff.Result.Counts.Merges += n
		w := &d.eff.Entries[at].Entry
		w.Flags = w.Flags.merging(n)
	}
}

// recalls says whether the entry of a row that has not changed must say all the same that this run has read it: other rows
// of a complete read have its key, or had it in an earlier one, and the newest of one run stands, not the last. A row that
// comes with the key for the first time, in a later batch, stands until the next run: nothing tells of the unchanged one.
func (d *decider) recalls(i int, old Entry) bool {
	return d.full && !d.own(old) && (old.Repeats || !d.settled.At(i))
}

// entry answers the row-index entry that the row meets, and its position in eff.Entries, or -1.
func (d *decider) entry(i int, key id.Row) (Entry, int) {
	h := binary.LittleEndian.Uint64(key[8:])
	for s := d.pending.first(h); ; s = d.pending.next(s) {
		at, more := d.pending.at(s, h)
		if !more {
			return d.st.Entries[i], -1
		}
		if at >= 0 && d.eff.Entries[at].Row == key {
			return d.eff.Entries[at].Entry, at
		}
	}
}

// put writes an entry, at its position in eff.Entries where it has one.
func (d *decider) put(key id.Row, e Entry, at int) int {
	if d.isMirror {
		e.Flags |= FlagMirror
	}
	if at >= 0 {
		d.eff.Entries[at].Entry = e
		return at
	}
	at = len(d.eff.Entries)
	if at == 0 {
		d.eff.Entries = make([]EntryWrite, 0, d.n)
		d.pending.grow(d.n)
	}
	d.eff.Entries = append(d.eff.Entries, EntryWrite{key, e})
	if d.kind.Single() {
		d.events = append(d.events, -1)
	}
	d.pending.add(binary.LittleEndian.Uint64(key[8:]), at)
	return at
}

// own says whether an entry is of this run or of one that it retries.
func (d *decider) own(e Entry) bool {
	if e.Version.RunNo == d.runNo {
		return true
	}
	for _, r := range d.k.Origin.Retried {
		if r.RunNo == e.Version.RunNo {
			return true
		}
	}
	return false
}

// recounts says whether the effect of an entry of an own run must be counted again: its batch is below the fence of its
// part, and the part was not adopted whole.
func (d *decider) recounts(e Entry) bool {
	if e.Epoch >= d.st.Fences[RunPart{e.Version.RunNo, e.Part}] {
		return false
	}
	for _, r := range d.k.Origin.Retried {
		if r.RunNo != e.Version.RunNo {
			continue
		}
		for _, p := range r.Adopted {
			if p == e.Part {
				return false
			}
		}
	}
	return true
}

// judge counts a row that is written, and says in its new entry what was counted.
func (d *decider) judge(i int, e *Entry, old Entry, known, late bool) {
	e.Repeats = known && old.Repeats
	switch {
	case known && d.own(old) && !d.recounts(old):
		d.count(Unchanged, 0)
		d.collapse(i)
		e.Repeats = e.Repeats || d.full && e.RecordHash != old.RecordHash
		e.Part, e.Epoch, e.Effect, e.Flags = old.Part, old.Epoch, old.Effect, old.Flags
		return
	case known && d.own(old):
		e.Effect, e.Flags = old.Effect, old.Flags
	case known && e.RecordHash == old.RecordHash:
		e.Effect = Unchanged
	case known:
		e.Effect = Updated
	default:
		e.Effect = Created
	}
	if (!known || !d.own(old)) && late {
		e.Flags |= FlagLate
	}
	e.Part, e.Epoch = d.part, d.epoch
	d.count(e.Effect, e.Flags)
}

// keep counts a row that changes no data. Its entry is taken over where its effect is counted again, and moved to a
// later version with `move`. Where it is another row of the same complete read that has come with the key, it says so from
// then on.
func (d *decider) keep(i int, key id.Row, old Entry, at int, v Version, move bool) {
	switch own := d.own(old); {
	case own && d.recounts(old):
		d.count(old.Effect, old.Flags)
		old.Part, old.Epoch = d.part, d.epoch
		if move {
			old.Version = v
		}
		old.Version.RunNo = d.runNo
		d.put(key, old, at)
		return
	case own:
		d.collapse(i)
		if d.full && !old.Repeats && row.FromBytes(d.recordHashes[16*i:]) != old.RecordHash {
			old.Repeats = true
			d.put(key, old, at)
		}
	case move:
		old.Part, old.Epoch, old.Effect, old.Flags = d.part, d.epoch, Unchanged, 0
	}
	d.count(Unchanged, 0)
	if move {
		old.Version = v
		d.put(key, old, at)
	}
}

// maxCollapsed is how many rows Effects.Collapsed names.
const maxCollapsed = 5

func (d *decider) collapse(i int) {
	d.eff.Result.Counts.Collapsed++
	if len(d.eff.Collapsed) < maxCollapsed {
		d.eff.Collapsed = append(d.eff.Collapsed, i)
	}
}

func (d *decider) count(e Effect, f EntryFlags) {
	c := &d.eff.Result.Counts
	switch e {
	case Created:
		c.Created++
	case Updated:
		c.Updated++
	case Deleted:
		c.Deleted++
	case Protected:
		c.Protected++
	case Refused:
		c.Refused++
	case Unchanged, NoEffect:
		c.Unchanged++
	}
	if f&FlagLate != 0 {
		c.LateRows++
	}
	if f&FlagUnattributed != 0 {
		c.Unattributed++
	}
	c.Merges += f.Merges()
}

func (d *decider) refuse(i int, key id.Row, v Version) {
	d.count(Refused, 0)
	d.eff.Rejects = append(d.eff.Rejects, record.Reject{
		Row: d.positions.Value(i), Key: key, Hash: v.RowHash, KeyValues: d.keyValue(i), Stage: record.StageIngest,
		Rule: RuleNoIdentity, Reason: "the row has no usable identity; map one that is neither empty nor a blocked value",
	})
}

func (d *decider) keyValue(i int) string {
	if d.keyValues.IsNull(i) {
		return ""
	}
	return d.keyValues.Value(i)
}

// finish adds what became of rows before they came here.
func (d *decider) finish(b record.Batch) Effects {
	d.finishMirror()
	if d.k.Origin.Sights {
		d.eff.Sighted = d.sighted(b)
	}
	c := &d.eff.Result.Counts
	c.Mapped = int64(d.n) - c.Absent
	c.Rejected = int64(len(b.Rejects))
	c.Blocked = d.k.Blocked
	c.Filtered = int64(len(b.Filtered))
	c.Read = c.Mapped + c.Rejected + c.Filtered
	for _, r := range b.Rejects {
		d.eff.Result.Digest = d.eff.Result.Digest.Add(r.Hash)
	}
	for _, f := range b.Filtered {
		d.eff.Result.Digest = d.eff.Result.Digest.Add(f.Hash)
	}
	if len(d.eff.Rejects) == 0 {
		d.eff.Rejects = b.Rejects
	} else {
		d.eff.Rejects = append(b.Rejects[:len(b.Rejects):len(b.Rejects)], d.eff.Rejects...)
	}
	d.eff.NewProfiles, d.eff.Born = int64(len(d.newOnes)), d.newOnes
	return d.eff
}

// contribute writes what the row at i brings to p.
func (d *decider) contribute(i int, key id.Row, p id.Profile, hasTime bool, v Version, seen int64, attributes fields) {
	if d.eff.Contributions == nil {
		d.eff.Contributions = make([]ContributionWrite, 0, d.n)
	}
	d.saw(p, seen)
	b := d.scratch[:0]
	if d.isMirror {
		b = appendRowHead(b, key, false)
	} else {
		b = append(b, chunkContribution)
	}
	b = d.appendHeader(b, i, hasTime, v)
	b = appendSeen(b, seen, v.Time)
	b = d.appendIdentities(b, i, p)
	d.scratch = attributes.append(b, i)
	d.eff.Contributions = append(d.eff.Contributions, ContributionWrite{p, d.docs.chunk(d.scratch)})
}

// appendHeader appends what appendBatch and appendRow do.
func (d *decider) appendHeader(b []byte, i int, hasTime bool, v Version) []byte {
	b = append(b, d.batchPart...)
	if hasTime {
		b = binary.LittleEndian.AppendUint64(append(b, 1), uint64(v.Time)) //nolint:gosec // read back as an int64
	} else {
		b = append(b, 0)
	}
	return appendText(append(b, d.hashes[16*i:16*i+16]...), d.keyValue(i))
}

// appendIdentities appends the row's identities that are p's; with p 0, all of them.
func (d *decider) appendIdentities(b []byte, i int, p id.Profile) []byte {
	at, n := len(b), 0
	b = append(b, 0)
	for c, col := range d.k.Identities {
		if col.Values.IsNull(i) || col.Type == identity.MPID || (p != 0 && d.profiles[c] != p) {
			continue
		}
		b = appendText(append(b, d.typeNames[c]...), col.Values.Value(i))
		if n++; n == math.MaxInt8 { // one byte holds the count
			break
		}
	}
	b[at] = byte(n)
	return b
}

// writeEvent writes the event that the row at i is, and takes away the one that it was under another key. What its
// identities bring to the profile is written beside it.
func (d *decider) writeEvent(i int, key id.Row, e, old Entry, known bool, at int, hasTime bool, v Version) {
	if d.eff.Events == nil {
		d.eff.Events = make([]EventWrite, 0, d.n)
	}
	b := d.appendHeader(append(d.scratch[:0], chunkEvent), i, hasTime, v)
	b = d.appendIdentities(b, i, 0)
	d.scratch = d.event.append(b, i)
	eid := EventIDOf(d.k.Origin.Sync, key)
	w := EventWrite{EventKey{e.Profile, e.EventTime, eid}, d.docs.add(d.scratch)}
	if j := d.events[at]; j >= 0 {
		d.eff.Events[j] = w
	} else {
		d.events[at] = int32(len(d.eff.Events)) //nolint:gosec // positions of a batch are int32
		d.eff.Events = append(d.eff.Events, w)
		if known && d.kind != record.Lookup && (old.Profile != e.Profile || old.EventTime != e.EventTime) {
			d.eff.EventsGone = append(d.eff.EventsGone, EventKey{old.Profile, old.EventTime, eid})
		}
	}
	if e.Profile != 0 && d.mayBind && d.bind(i, e.Profile) > 0 {
		d.contribute(i, key, e.Profile, hasTime, v, seenOf(e.EventTime), nil)
	}
}

// seenOf answers milliseconds as nanoseconds, 0 where they do not fit.
func seenOf(ms int64) int64 {
	const per = int64(time.Millisecond)
	if ms > math.MaxInt64/per || ms < math.MinInt64/per {
		return 0
	}
	return ms * per
}
