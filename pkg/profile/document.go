package profile

import (
	"encoding/binary"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/row"
)

// A profile's document is chunks one behind the other, each led by its length: contributions, what one row brought; what
// a row of a mirror brought in one version; runs that a sync withdraws; ties; and at most one head, which Fold makes of
// what contributions say beside attributes. Documents of one profile may be set one behind the other, in any order and
// more than once: that is the merge.
const (
	chunkContribution = 1
	chunkHead         = 2 // as written before heads kept runs
	chunkEvent        = 3 // not in profiles: the document of an event is this one chunk without a length
	chunkRow          = 4
	chunkRuns         = 5
	chunkHeadOfRuns   = 6
)

// Provenance says where a value came from.
type Provenance struct {
	Sync        id.Sync
	SyncID      string // the sync's slug
	SyncVersion int64
	Batch       id.Batch // and with it the run
	Full        bool     // mode full
	Snapshot    int64    // instant of the run's snapshot, nanoseconds since the Unix epoch
	Model       string
	Provider    string
	KeyValues   string // as record.ColumnKeyValues
	HasTime     bool   // the row had a row time: Version.Time
	Version     Version
}

// RowTime answers the row's time in UTC, zero where it has none.
func (p Provenance) RowTime() time.Time {
	if !p.HasTime {
		return time.Time{}
	}
	return time.Unix(0, p.Version.Time).UTC()
}

// Identity is a type and a value that name somebody.
type Identity struct {
	Type  string
	Value string
}

// Attribute is a named value of a profile.
type Attribute struct {
	Name  string
	Value Value
	From  Provenance
}

// Contribution is what one row brings to a profile.
type Contribution struct {
	From       Provenance
	Seen       int64 // when the profile was seen, nanoseconds since the Unix epoch; 0: not
	Identities []Identity
	Attributes []Attribute // each name once; From is not read
}

// AppendContribution appends the stored form of c: a document.
func AppendContribution(dst []byte, c Contribution) []byte {
	body := appendBatch([]byte{chunkContribution}, c.From)
	body = appendRow(body, c.From)
	body = appendSeen(body, c.Seen, c.From.Version.Time)
	body = binary.AppendUvarint(body, uint64(len(c.Identities)))
	for _, i := range c.Identities {
		body = appendText(appendText(body, i.Type), i.Value)
	}
	for _, a := range c.Attributes {
		body = AppendValue(appendName(body, a.Name), a.Value)
	}
	return appendChunk(dst, body)
}

func appendChunk(dst, body []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(body))), body...)
}

// appendBatch appends what all rows of a batch share.
func appendBatch(dst []byte, p Provenance) []byte {
	full := byte(0)
	if p.Full {
		full = 1
	}
	dst = append(append(dst, full), p.Sync[:]...)
	dst = append(dst, p.Batch.Run[:]...)
	for _, n := range [...]uint32{p.Batch.Part, p.Batch.Epoch, p.Batch.Seq, p.Batch.Fragment} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	dst = binary.AppendVarint(dst, p.Version.RunNo)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.Snapshot)) //nolint:gosec // read back as an int64
	dst = appendText(dst, p.SyncID)
	dst = binary.AppendVarint(dst, p.SyncVersion)
	return appendText(appendText(dst, p.Model), p.Provider)
}

// appendRow appends what a row has of its own. A row without time has the snapshot's.
func appendRow(dst []byte, p Provenance) []byte {
	if p.HasTime {
		dst = binary.LittleEndian.AppendUint64(append(dst, 1), uint64(p.Version.Time)) //nolint:gosec // read back as an int64
	} else {
		dst = append(dst, 0)
	}
	h := p.Version.RowHash.Bytes()
	return appendText(append(dst, h[:]...), p.KeyValues)
}

// How a contribution says when the profile was seen.
const (
	seenNot = iota
	seenAtVersion
	seenAt
)

func appendSeen(dst []byte, seen, version int64) []byte {
	switch seen {
	case 0:
		return append(dst, seenNot)
	case version:
		return append(dst, seenAtVersion)
	}
	return binary.LittleEndian.AppendUint64(append(dst, seenAt), uint64(seen)) //nolint:gosec // read back as an int64
}

func (r *reader) seen(version int64) int64 {
	switch r.byte() {
	case seenNot:
		return 0
	case seenAtVersion:
		return version
	case seenAt:
		return r.int64()
	}
	r.fail()
	return 0
}

// batchPart reads what appendBatch wrote.
func (r *reader) batchPart() (p Provenance) {
	p.Full = r.byte() == 1
	p.Sync, p.Batch.Run = r.array16(), r.array16()
	p.Batch.Part, p.Batch.Epoch, p.Batch.Seq, p.Batch.Fragment = r.uint32(), r.uint32(), r.uint32(), r.uint32()
	p.Version.RunNo = r.varint()
	p.Snapshot = r.int64()
	p.SyncID = string(r.text())
	p.SyncVersion = r.varint()
	p.Model, p.Provider = string(r.text()), string(r.text())
	return p
}

// rowPart reads what appendRow wrote into p.
func (r *reader) rowPart(p *Provenance) {
	p.HasTime = r.byte() == 1
	p.Version.Time = p.Snapshot
	if p.HasTime {
		p.Version.Time = r.int64()
	}
	h := r.array16()
	p.Version.RowHash = row.FromBytes(h[:])
	p.KeyValues = string(r.text())
}

// Profile is a profile as its document has it.
type Profile struct {
	Identities []Identity  // by type and value
	Attributes []Attribute // by name; cleared ones are left out
	// When rows that brought something to the profile say that it was: the rows' times, or their snapshots'. Events that
	// brought no new identity leave no trace here. Zero: unknown.
	FirstSeen, LastSeen time.Time
}

// Decode reads a profile's document. Between syncs the value of an attribute with the newest time stands. The error is
// Internal: a document that can not be read is a defect of the store.
func Decode(doc []byte) (Profile, error) {
	d, ok := parse(doc)
	if !ok {
		return Profile{}, badDocument("a profile")
	}
	d.open()
	p := Profile{Identities: d.held()}
	for _, v := range d.newest() {
		r := reader{b: v.value}
		if value := r.value(0); value.Kind != Cleared {
			p.Attributes = append(p.Attributes, Attribute{string(v.name), value, d.parts[v.part].provenance()})
		}
	}
	if d.first != 0 || d.last != 0 {
		p.FirstSeen, p.LastSeen = time.Unix(0, d.first).UTC(), time.Unix(0, d.last).UTC()
	}
	return p, nil
}

func badDocument(of string) error {
	return fault.New(fault.Internal, fault.ReasonInternal,
		"the stored document of %s can not be read; check the store's disk and restore it from a backup", of)
}

// Event is an event as its document has it. Its key is not in it.
type Event struct {
	From       Provenance
	Identities []Identity // the usable ones that its row had
	Type       string
	Data       Value // an Object
}

// AppendEvent appends the stored form of e.
func AppendEvent(dst []byte, e Event) []byte {
	dst = appendBatch(append(dst, chunkEvent), e.From)
	dst = appendRow(dst, e.From)
	dst = binary.AppendUvarint(dst, uint64(len(e.Identities)))
	for _, i := range e.Identities {
		dst = appendText(appendText(dst, i.Type), i.Value)
	}
	return AppendValue(appendText(dst, e.Type), e.Data)
}

// DecodeEvent reads an event's document. The error is Internal.
func DecodeEvent(doc []byte) (Event, error) {
	r := reader{b: doc}
	if r.byte() != chunkEvent {
		return Event{}, badDocument("an event")
	}
	e := Event{From: r.batchPart()}
	r.rowPart(&e.From)
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		e.Identities = append(e.Identities, Identity{string(r.text()), string(r.text())})
	}
	e.Type = string(r.text())
	e.Data = r.value(0)
	if r.bad || len(r.b) > 0 {
		return Event{}, badDocument("an event")
	}
	return e, nil
}

// EventRun answers the ordinal of the run that wrote an event's document, 0 where it can not be read. It reads no more
// of it than that.
func EventRun(doc []byte) int64 {
	r := reader{b: doc}
	r.byte()
	r.byte()
	r.bytes(32)
	for range 4 {
		r.uvarint()
	}
	return r.varint()
}
