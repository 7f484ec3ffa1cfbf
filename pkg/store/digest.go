package store

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/row"
)

// Totals is how many things a digest is over.
type Totals struct {
	Profiles, Identities, Events int64
}

// Digest answers the order-free digest of what r keeps: identities with their profiles, profiles, attribute values with
// their row times, and events by key with type and data. What is merged counts as its survivor's. Runs, batches and ingest times are not in it. Equal digests, equal
// content. An empty workspace stands for all of them.
func Digest(ctx context.Context, r Reader, w id.Workspace) (row.Hash, Totals, error) {
	d := digest{ctx: ctx, r: r, merged: map[scoped]id.Profile{}}
	for item, err := range r.Everything(ctx) {
		if err != nil {
			return row.Hash{}, Totals{}, fmt.Errorf("walk the store: %w", err)
		}
		if w != "" && item.Scope.Workspace != w || item.Scope.IsIndex() {
			continue
		}
		if err := d.add(item); err != nil {
			return row.Hash{}, Totals{}, err
		}
	}
	return d.sum, d.totals, nil
}

// digest is a Digest under way.
type digest struct {
	ctx    context.Context //nolint:containedctx // lives as long as one call of Digest
	r      Reader
	merged map[scoped]id.Profile // merged profiles → what they are merged into

	sum    row.Hash
	totals Totals
	buf    []byte
}

func (d *digest) add(i Item) error {
	switch {
	case i.Identity != nil:
		d.totals.Identities++
		d.begin('i', i.Scope, i.Identity.Profile)
		d.text(i.Identity.Type)
		d.text(i.Identity.Value)
		d.end()
	case i.Profile != nil:
		if to := profile.SurvivorOf(i.Profile.Doc); to != 0 {
			d.merged[scoped{i.Scope, i.Profile.Profile}] = to
			return nil
		}
		d.totals.Profiles++
		d.begin('p', i.Scope, i.Profile.Profile)
		d.end()
		return d.attributes(i.Scope, i.Profile)
	case i.Event != nil:
		d.totals.Events++
		return d.event(i.Scope, i.Event)
	}
	return nil
}

func (d *digest) attributes(s profile.Scope, p *ProfileDoc) error {
	whole := p.Doc
	if len(profile.MembersOf(p.Doc)) > 0 {
		f, err := Whole(d.ctx, d.r, s, p.Profile)
		if err != nil {
			return err
		}
		whole = f.Doc()
	}
	doc, err := profile.Decode(whole)
	if err != nil {
		return fmt.Errorf("profile %s: %w", p.Profile, err)
	}
	for _, a := range doc.Attributes {
		d.begin('a', s, p.Profile)
		d.text(a.Name)
		if a.From.HasTime {
			d.number(a.From.Version.Time)
		}
		d.buf = a.Value.AppendCanonical(d.buf)
		d.end()
	}
	return nil
}

func (d *digest) event(s profile.Scope, e *EventDoc) error {
	doc, err := profile.DecodeEvent(e.Doc)
	if err != nil {
		return fmt.Errorf("event %x: %w", e.Key.ID[:], err)
	}
	d.begin('e', s, d.survivor(s, e.Key.Profile))
	d.number(e.Key.Time)
	d.buf = append(d.buf, e.Key.ID[:]...)
	d.text(doc.Type)
	d.buf = doc.Data.AppendCanonical(d.buf)
	d.end()
	return nil
}

// scoped is a profile of a data set.
type scoped struct {
	profile.Scope
	id.Profile
}

// survivor answers what a profile is by now.
func (d *digest) survivor(s profile.Scope, p id.Profile) id.Profile {
	for range maxFamily {
		to, merged := d.merged[scoped{s, p}]
		if !merged {
			break
		}
		p = to
	}
	return p
}

func (d *digest) begin(kind byte, s profile.Scope, p id.Profile) {
	d.buf = append(d.buf[:0], kind)
	d.text(string(s.Workspace))
	d.text(string(s.Environment))
	if s.Space != "" {
		d.text(s.Space)
	}
	d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(p))
}

func (d *digest) text(s string) {
	d.buf = append(binary.AppendUvarint(d.buf, uint64(len(s))), s...)
}

func (d *digest) number(v int64) {
	d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(v)) //nolint:gosec // two's complement
}

func (d *digest) end() {
	h := xxh3.Hash128(d.buf)
	d.sum = d.sum.Add(row.Hash{Hi: h.Hi, Lo: h.Lo})
}
