package profile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"millrace.dev/pkg/id"
)

// Withdrawal is the word that a sync takes back what it brought to a profile. It is merged like a contribution, in any
// order with those that it is about. Exactly one of its two forms is set.
type Withdrawal struct {
	// A row of a mirror, with what it brought in versions up to From.Version: From and Row are set.
	From Provenance
	Row  id.Row
	// All that Sync brought in the runs from First to Last, both included: Sync is set. Earlier values of the same sync
	// do not come back, since a profile keeps only the newest of each sync; those of other syncs do.
	Sync        id.Sync
	First, Last int64
}

// AppendWithdrawal appends the stored form of w: a document.
func AppendWithdrawal(dst []byte, w Withdrawal) []byte {
	if w.Sync != (id.Sync{}) {
		return appendChunk(dst, appendRuns([]byte{chunkRuns}, runsWithdrawn{w.Sync, w.First, w.Last}))
	}
	body := appendRow(appendBatch(appendRowHead(nil, w.Row, true), w.From), w.From)
	return appendChunk(dst, append(body, seenNot, 0))
}

// AppendRow appends the stored form of what a row of a mirror brings: a document. Unlike other contributions it stands
// for the whole row: the newest version of a row is what counts of it, and a withdrawal is such a version. Of equal
// versions the withdrawal counts.
func AppendRow(dst []byte, row id.Row, c Contribution) []byte {
	whole := AppendContribution(nil, c)
	_, n := binary.Uvarint(whole)
	return appendChunk(dst, append(appendRowHead(nil, row, false), whole[n+1:]...))
}

// gone is the version of a row that a mirror run did not find: above all that runs before it said of the row, below
// what it says itself.
func gone(runNo int64) Version { return Version{Time: math.MinInt64, RunNo: runNo} }

func appendRowHead(dst []byte, row id.Row, withdrawn bool) []byte {
	flag := byte(0)
	if withdrawn {
		flag = 1
	}
	return append(append(dst, chunkRow, flag), row[:]...)
}

// mirrored is a version of a row of a mirror. What it brings is read only of the newest one.
type mirrored struct {
	chunk     []byte // with its kind
	row       id.Row
	withdrawn bool
	from      Provenance
}

func (d *document) readRow(chunk []byte, r *reader) {
	m := mirrored{chunk: chunk, withdrawn: r.byte() == 1, row: r.array16()}
	rest := *r
	m.from = r.order()
	r.b = nil
	if !m.withdrawn { // faults in it are found now, and not when something is thrown away
		probe := document{}
		probe.readContribution(&rest)
		r.bad = r.bad || rest.bad
	}
	d.rows = append(d.rows, m)
}

// newestRows answers the newest version of each row, in the order of syncs and rows.
func (d *document) newestRows() []mirrored {
	slices.SortFunc(d.rows, func(a, b mirrored) int {
		return cmp.Or(
			bytes.Compare(a.from.Sync[:], b.from.Sync[:]), bytes.Compare(a.row[:], b.row[:]),
			-cmp.Or(compareOwn(&a.from, &b.from), bytes.Compare(a.chunk, b.chunk)))
	})
	d.rows = slices.CompactFunc(d.rows, func(a, b mirrored) bool { return a.from.Sync == b.from.Sync && a.row == b.row })
	return d.rows
}

// runsWithdrawn is runs of a sync whose contributions do not count.
type runsWithdrawn struct {
	sync        id.Sync
	first, last int64
}

func appendRuns(dst []byte, w runsWithdrawn) []byte {
	dst = append(dst, w.sync[:]...)
	return binary.AppendVarint(binary.AppendVarint(dst, w.first), w.last)
}

func (d *document) readRuns(r *reader) {
	w := runsWithdrawn{sync: r.array16(), first: r.varint(), last: r.varint()}
	if w.first <= w.last {
		d.runs = append(d.runs, w)
	}
}

// mergedRuns answers d's withdrawn runs as the fewest ranges, in order.
func (d *document) mergedRuns() []runsWithdrawn {
	slices.SortFunc(d.runs, func(a, b runsWithdrawn) int {
		return cmp.Or(bytes.Compare(a.sync[:], b.sync[:]), cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last))
	})
	out := d.runs[:0]
	for _, w := range d.runs {
		if n := len(out); n > 0 && out[n-1].sync == w.sync && w.first <= out[n-1].last+1 {
			out[n-1].last = max(out[n-1].last, w.last)
			continue
		}
		out = append(out, w)
	}
	d.runs = out
	return out
}

// hidden says whether a sync has withdrawn all runs from first to last. Ranges are merged.
func (d *document) hidden(sync id.Sync, first, last int64) bool {
	for _, w := range d.runs {
		if w.sync == sync && w.first <= first && last <= w.last {
			return true
		}
	}
	return false
}

// appendWithdrawals appends what Fold keeps of rows and of withdrawn runs.
func (d *document) appendWithdrawals(dst []byte) []byte {
	for _, w := range d.mergedRuns() {
		dst = appendChunk(dst, appendRuns([]byte{chunkRuns}, w))
	}
	for _, m := range d.newestRows() {
		dst = appendChunk(dst, m.chunk)
	}
	return dst
}

// drop takes away what is withdrawn, and the withdrawals.
func (d *document) drop() {
	d.mergedRuns()
	d.rows = slices.DeleteFunc(d.newestRows(), func(m mirrored) bool {
		return m.withdrawn || d.hidden(m.from.Sync, m.from.Version.RunNo, m.from.Version.RunNo)
	})
	if len(d.runs) == 0 {
		return
	}
	d.values = slices.DeleteFunc(d.newestOfEachSync(), func(v partValue) bool {
		p := &d.parts[v.part]
		return d.hidden(p.Sync, p.Version.RunNo, p.Version.RunNo)
	})
	d.sortIdentities(true)
	d.mergeIdentities()
	d.identities = slices.DeleteFunc(d.identities, func(i syncIdentity) bool { return d.hidden(i.Sync, i.first, i.last) })
	d.runs = nil
}

// open makes what rows of mirrors bring stand beside what contributions do, for reading.
func (d *document) open() {
	d.drop()
	for _, m := range d.rows {
		r := reader{b: m.chunk[1+1+len(m.row):]}
		d.readContribution(&r)
	}
	d.rows = nil
}

// Settle is Fold for a reader of all that was ever merged into a profile: it also takes away what is withdrawn, and the
// withdrawals, since what they are about can not come any more. It answers nil where nothing is left of the profile.
func Settle(docs ...[]byte) []byte {
	d, ok := parse(docs...)
	if !ok {
		return bytes.Join(docs, nil)
	}
	if len(d.rows)+len(d.runs) == 0 {
		return d.folded(docs)
	}
	d.drop()
	if len(d.rows)+len(d.values)+len(d.identities)+len(d.ties.kin)+len(d.ties.apart) == 0 {
		return nil
	}
	return d.folded(docs)
}

// Withdraws says whether a document has withdrawals, so that Settle may take something away.
func Withdraws(doc []byte) bool {
	r := reader{b: doc}
	for len(r.b) > 0 {
		if c := r.text(); len(c) > 1 && (c[0] == chunkRuns || c[0] == chunkRow && c[1] == 1) {
			return true
		}
	}
	return false
}

// identitiesOf answers the identities that a document brings, nil where it can not be read.
func identitiesOf(docs ...[]byte) map[Identity]bool {
	d, ok := parse(docs...)
	if !ok {
		return nil
	}
	d.open()
	out := make(map[Identity]bool, len(d.identities))
	for _, i := range d.held() {
		out[i] = true
	}
	return out
}

// entangled says whether a document is of a profile that was ever merged: what it brings may be bound to another.
func entangled(doc []byte) bool {
	if !mayHaveTies(doc) {
		return false
	}
	t := tiesOf(doc)
	return len(t.kin)+len(t.apart) > 0
}

// KeyValuesOf answers the key values of a row of a mirror that brought something to a document; false where the document
// has nothing of it.
func KeyValuesOf(doc []byte, sync id.Sync, row id.Row) (string, bool) {
	d, ok := parse(doc)
	if !ok {
		return "", false
	}
	for _, m := range d.newestRows() {
		if m.from.Sync == sync && m.row == row && !m.withdrawn {
			r := reader{b: m.chunk[1+1+len(m.row):]}
			p := r.batchPart()
			r.rowPart(&p)
			return p.KeyValues, !r.bad
		}
	}
	return "", false
}

// bears says whether a document has something of a row of a mirror.
func bears(doc []byte, sync id.Sync, row id.Row) bool {
	d, ok := parse(doc)
	return ok && slices.ContainsFunc(d.rows, func(m mirrored) bool { return m.from.Sync == sync && m.row == row })
}
