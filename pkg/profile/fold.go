package profile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"millrace.dev/pkg/id"
)

// Fold merges documents of one profile, each of which may be a concatenation of documents. Of each sync it keeps, by
// attribute, the newest by that sync's own order; contributions that hold nothing any more fall away. It is commutative,
// associative and idempotent, and equal content gives equal bytes. Nothing is lost of documents that can not be read:
// then the answer is the concatenation.
func Fold(docs ...[]byte) []byte {
	d, ok := parse(docs...)
	if !ok {
		return bytes.Join(docs, nil)
	}
	return d.folded(docs)
}

// folded answers d, which was parsed from docs, in the one form that it has.
func (d *document) folded(docs [][]byte) []byte {
	if len(d.values)+len(d.identities)+len(d.rows)+len(d.runs) == 0 && d.first == 0 && d.last == 0 && d.ties.empty() {
		return nil
	}
	size := 0
	for _, doc := range docs {
		size += len(doc)
	}
	out := d.ties.append(d.appendHead(make([]byte, 0, size+64)))
	return d.appendWithdrawals(d.appendContributions(out))
}

// document is what parse made of chunks. It aliases them.
type document struct {
	first, last int64
	identities  []syncIdentity
	parts       []part
	values      []partValue
	ties        ties
	rows        []mirrored
	runs        []runsWithdrawn
}

// part is the head of a contribution.
type part struct {
	header []byte // as appendBatch and appendRow wrote it
	Provenance
}

func (p *part) provenance() Provenance {
	r := reader{b: p.header}
	full := r.batchPart()
	r.rowPart(&full)
	return full
}

// syncIdentity is an identity that a sync brought, in runs from first to last.
type syncIdentity struct {
	Sync id.Sync
	Identity
	first, last int64
}

// partValue is an attribute of a contribution.
type partValue struct {
	part  int
	name  []byte
	value []byte
}

// parse reads documents; false when one can not be read.
func parse(docs ...[]byte) (document, bool) {
	var d document
	for _, doc := range docs {
		r := reader{b: doc}
		for len(r.b) > 0 {
			chunk := r.text()
			body := reader{b: chunk}
			switch kind := body.byte(); kind {
			case chunkContribution:
				d.readContribution(&body)
			case chunkHead, chunkHeadOfRuns:
				d.readHead(&body, kind == chunkHeadOfRuns)
			case chunkRow:
				d.readRow(chunk, &body)
			case chunkRuns:
				d.readRuns(&body)
			case chunkTies:
				d.ties.read(&body)
			default:
				body.fail()
			}
			if r.bad || body.bad {
				return document{}, false
			}
		}
	}
	return d, true
}

func (d *document) see(t int64) {
	if t == 0 {
		return
	}
	if d.first == 0 || t < d.first {
		d.first = t
	}
	if d.last == 0 || t > d.last {
		d.last = t
	}
}

func (d *document) readContribution(r *reader) {
	start := r.b
	p := part{Provenance: r.order()}
	p.header = start[:len(start)-len(r.b)]
	d.see(r.seen(p.Version.Time))
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		d.identities = append(d.identities, syncIdentity{p.Sync, Identity{string(r.text()), string(r.text())}, p.Version.RunNo, p.Version.RunNo})
	}
	at := len(d.parts)
	for len(r.b) > 0 {
		name, ok := r.name()
		if !ok {
			r.fail()
			return
		}
		rest := r.b
		r.skipValue(0)
		d.values = append(d.values, partValue{at, name, rest[:len(rest)-len(r.b)]})
	}
	if len(d.values) > 0 && d.values[len(d.values)-1].part == at {
		d.parts = append(d.parts, p)
	}
}

// order reads the header of a contribution, without the texts in it.
func (r *reader) order() (p Provenance) {
	p.Full = r.byte() == 1
	p.Sync = r.array16()
	r.bytes(16)
	for range 4 {
		r.uvarint()
	}
	p.Version.RunNo = r.varint()
	p.Snapshot = r.int64()
	r.text()
	r.varint()
	r.text()
	r.text()
	// The row's part, as rowPart reads it.
	p.HasTime = r.byte() == 1
	p.Version.Time = p.Snapshot
	if p.HasTime {
		p.Version.Time = r.int64()
	}
	if h := r.bytes(16); h != nil {
		p.Version.RowHash.Hi, p.Version.RowHash.Lo = binary.BigEndian.Uint64(h), binary.BigEndian.Uint64(h[8:])
	}
	r.text()
	return p
}

// readHead reads a head. One without runs was written before heads had them: nobody knows which runs brought what it has.
func (d *document) readHead(r *reader, runs bool) {
	if r.byte() == 1 {
		d.see(r.int64())
		d.see(r.int64())
	}
	for len(r.b) > 0 {
		s := id.Sync(r.array16())
		for n := r.uvarint(); n > 0 && !r.bad; n-- {
			i := syncIdentity{Sync: s, Identity: Identity{string(r.text()), string(r.text())}}
			if runs {
				i.first = r.varint()
				i.last = i.first + r.varint()
			}
			d.identities = append(d.identities, i)
		}
	}
}

// mergeIdentities makes one of what the same sync brought in several runs. They are sorted by sync.
func (d *document) mergeIdentities() {
	out := d.identities[:0]
	for _, i := range d.identities {
		if n := len(out); n > 0 && out[n-1].Sync == i.Sync && out[n-1].Identity == i.Identity {
			out[n-1].first, out[n-1].last = min(out[n-1].first, i.first), max(out[n-1].last, i.last)
			continue
		}
		out = append(out, i)
	}
	d.identities = out
}

func (d *document) sortIdentities(bySync bool) {
	slices.SortFunc(d.identities, func(a, b syncIdentity) int {
		if bySync {
			if c := bytes.Compare(a.Sync[:], b.Sync[:]); c != 0 {
				return c
			}
		}
		if c := strings.Compare(a.Type, b.Type); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
}

func (d *document) appendHead(dst []byte) []byte {
	if d.first == 0 && d.last == 0 && len(d.identities) == 0 {
		return dst
	}
	body := []byte{chunkHeadOfRuns}
	if d.first != 0 || d.last != 0 {
		body = append(body, 1)
		body = binary.LittleEndian.AppendUint64(body, uint64(d.first)) //nolint:gosec // read back as an int64
		body = binary.LittleEndian.AppendUint64(body, uint64(d.last))  //nolint:gosec // read back as an int64
	} else {
		body = append(body, 0)
	}
	d.sortIdentities(true)
	d.mergeIdentities()
	for i := 0; i < len(d.identities); {
		j := i
		for j < len(d.identities) && d.identities[j].Sync == d.identities[i].Sync {
			j++
		}
		body = append(body, d.identities[i].Sync[:]...)
		body = binary.AppendUvarint(body, uint64(j-i)) //nolint:gosec // not negative
		for ; i < j; i++ {
			x := &d.identities[i]
			body = appendText(appendText(body, x.Type), x.Value)
			body = binary.AppendVarint(binary.AppendVarint(body, x.first), x.last-x.first)
		}
	}
	return appendChunk(dst, body)
}

func (d *document) appendContributions(dst []byte) []byte {
	kept := d.newestOfEachSync()
	slices.SortFunc(kept, func(a, b partValue) int {
		p, q := &d.parts[a.part], &d.parts[b.part]
		if c := cmp.Or(bytes.Compare(p.Sync[:], q.Sync[:]), compareOwn(&p.Provenance, &q.Provenance), bytes.Compare(p.header, q.header)); c != 0 {
			return c
		}
		return bytes.Compare(a.name, b.name)
	})
	var body []byte
	for i := 0; i < len(kept); {
		header := d.parts[kept[i].part].header
		body = append(append(body[:0], chunkContribution), header...)
		body = append(body, seenNot, 0)
		for ; i < len(kept) && bytes.Equal(d.parts[kept[i].part].header, header); i++ {
			body = binary.AppendUvarint(body, uint64(len(kept[i].name))+1)
			body = append(append(body, kept[i].name...), kept[i].value...)
		}
		dst = appendChunk(dst, body)
	}
	return dst
}

// newestOfEachSync answers, by attribute name and sync, the value that is the newest by the sync's own order.
func (d *document) newestOfEachSync() []partValue {
	slices.SortFunc(d.values, func(a, b partValue) int {
		p, q := &d.parts[a.part], &d.parts[b.part]
		if c := bytes.Compare(a.name, b.name); c != 0 {
			return c
		}
		if c := bytes.Compare(p.Sync[:], q.Sync[:]); c != 0 {
			return c
		}
		// Newest first. What differs in nothing but bytes is told apart by them, so that the order of coming never counts.
		return -cmp.Or(compareOwn(&p.Provenance, &q.Provenance), bytes.Compare(p.header, q.header), bytes.Compare(a.value, b.value))
	})
	kept := make([]partValue, 0, len(d.values))
	for _, v := range d.values {
		if n := len(kept); n > 0 && bytes.Equal(kept[n-1].name, v.name) && d.parts[kept[n-1].part].Sync == d.parts[v.part].Sync {
			continue
		}
		kept = append(kept, v)
	}
	return kept
}

// newest answers, by attribute name, the value that stands between syncs.
func (d *document) newest() []partValue {
	kept := d.newestOfEachSync()
	out := kept[:0]
	for _, v := range kept {
		if n := len(out); n > 0 && bytes.Equal(out[n-1].name, v.name) {
			if compareBetween(&d.parts[v.part].Provenance, &d.parts[out[n-1].part].Provenance) > 0 {
				out[n-1] = v
			}
			continue
		}
		out = append(out, v)
	}
	return out
}
