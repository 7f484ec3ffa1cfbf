package sharing

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// differ finds how a table's rows at one version differ from those at another: it folds the feed by key, and counts the rows
// that the table has of the same keys.
type differ struct {
	s     *Source
	q     source.ChangeQuery
	model model

	d  *query   // what is read
	by compared // of it what rows are compared by

	feed      *listing // what changed
	feedLinks *links
	fold      *fold
	reach     reach // of the keys in it

	rows     *listing // the files of the state
	rowLinks *links
	met      []*listed // of them: those that have a key of the fold
}

// compared are columns of d: those of the key first, then the others that count.
type compared struct {
	at   []int
	keys int
}

// errAltered says that the table of a feed is not all along the one that is asked for.
var errAltered = errors.New("the table was altered")

// describe looks at the model beside a listing of its table. A column that counts and is not there is SOURCE_CHANGED: it was
// there before.
func (x *differ) describe(l *listing) (err error) {
	if x.d, err = x.model.describe(l.meta); err != nil {
		return err
	}
	if _, err := row.NewHasher(x.d.schema, x.q.Model.KeyColumns); err != nil {
		return err //nolint:wrapcheck // classified
	}
	x.by = compared{keys: len(x.q.Model.KeyColumns)}
	for _, name := range slices.Concat(x.q.Model.KeyColumns, x.q.Compared) {
		at := x.d.schema.FieldIndices(name)
		if len(at) == 0 {
			return stateGone()
		}
		x.by.at = append(x.by.at, at[0])
	}
	return nil
}

// follow lists the feed from base to at and folds the rows of a part's keys. full says that there are too many of them. A
// table that was not the same all along is errAltered.
func (x *differ) follow(ctx context.Context, base, at position, part sqltext.Bucket) (full bool, err error) {
	list := func(ctx context.Context) (*listing, error) {
		return x.s.feed(ctx, x.model.table, x.q.Label, base.version+1, at.version)
	}
	if x.feed, err = list(ctx); err != nil {
		return false, err
	}
	if x.feed.altered {
		return false, errAltered
	}
	if err := x.describe(x.feed); err != nil {
		return false, err
	}
	if !x.positionOf(x.feed).isOf(at) {
		return false, errAltered
	}
	if x.feedLinks, err = x.s.links(x.feed, list); err != nil {
		return false, err
	}
	x.fold, x.reach = newFold(x.s.settings.MaxChanges), reachOf(x.d.only(x.by.at[0]))
	r := reading{s: x.s, q: x.d.only(x.by.at...).told(), links: x.feedLinks, files: x.feed.files}
	err = r.byFile(ctx, func(f *listed, b arrow.RecordBatch) (bool, error) {
		came, err := direction(f, b)
		if err != nil {
			return false, err
		}
		h := x.by.first().hashes(b)
		for i := range came {
			if h.keys[i].Hi%uint64(part.Of) != uint64(part.Index) {
				continue
			}
			x.reach.see(b.Column(0), i)
			if full = !x.fold.add(h.keys[i], h.images[i], h.null[i], f.version, came[i]); full {
				return false, nil
			}
		}
		return true, nil
	})
	return full, err
}

// first answers the same columns in a batch that has them alone, in this order.
func (c compared) first() compared {
	out := compared{keys: c.keys}
	for i := range c.at {
		out.at = append(out.at, i)
	}
	return out
}

// key answers the key columns in a batch that has them alone.
func (c compared) key() compared { return compared{at: c.first().at[:c.keys], keys: c.keys} }

// hashed are rows of a batch, by position: the hash of the key, that of the key and all else that counts, and whether a
// value of the key is NULL.
type hashed struct {
	keys, images []row.Hash
	null         []bool
}

func (c compared) hashes(b arrow.RecordBatch) hashed {
	n := int(b.NumRows())
	out := hashed{keys: make([]row.Hash, n), null: make([]bool, n)}
	for i, at := range c.at[:c.keys] {
		column := b.Column(at)
		row.AddColumn(out.keys, "key "+strconv.Itoa(i), column)
		for j := 0; column.NullN() > 0 && j < n; j++ {
			out.null[j] = out.null[j] || column.IsNull(j)
		}
	}
	out.images = slices.Clone(out.keys)
	for i, at := range c.at[c.keys:] {
		row.AddColumn(out.images, "value "+strconv.Itoa(i), b.Column(at))
	}
	return out
}

// listRows lists the files of a state.
func (x *differ) listRows(ctx context.Context, at position) error {
	list := func(ctx context.Context) (*listing, error) {
		a := asked{Version: &at.version}
		if x.d != nil {
			a.column = x.d.names[x.by.at[0]]
		}
		return x.s.files(ctx, x.model.table, x.q.Label, a)
	}
	l, err := list(ctx)
	if err != nil {
		return err
	}
	if err := x.describe(l); err != nil {
		return err
	}
	if l.stated && l.version != at.version || !x.positionOf(l).isOf(at) {
		return stateGone()
	}
	x.rows = l
	x.rowLinks, err = x.s.links(l, list)
	return err
}

// countRows lists the files of a state and counts their rows: by statistics, else by footers.
func (x *differ) countRows(ctx context.Context, at position) (n int64, err error) {
	if err := x.listRows(ctx, at); err != nil {
		return 0, err
	}
	p := planner{s: x.s, l: x.rows, links: x.rowLinks}
	if err := p.count(ctx); err != nil {
		return 0, err
	}
	for _, f := range x.rows.files {
		n += f.rows
	}
	return n, nil
}

// settle counts the rows that the state has of the fold's keys: the key columns are read of the files that may have one, and
// where keys repeat, what else counts of those that do. It answers whether keys repeat; ok is false where the feed
// contradicts the rows.
func (x *differ) settle(ctx context.Context) (repeats, ok bool, err error) {
	r := reading{s: x.s, q: x.d.only(x.by.at[:x.by.keys]...), links: x.rowLinks, files: x.reach.files(x.rows.files, x.d.names[x.by.at[0]])}
	alone := x.by.key()
	met := map[*listed]bool{}
	err = r.byFile(ctx, func(f *listed, b arrow.RecordBatch) (bool, error) {
		for _, h := range alone.hashes(b).keys {
			if k := x.fold.key(h); k != nil {
				k.rows++
				met[f] = true
			}
		}
		return true, nil
	})
	if err != nil {
		return false, false, err
	}
	x.met = slices.DeleteFunc(slices.Clone(r.files), func(f *listed) bool { return !met[f] })
	if repeats, ok = x.fold.repeating(); !repeats || !ok {
		return repeats, ok, nil
	}
	r.q, r.files = x.d.only(x.by.at...), x.met
	return true, true, r.run(ctx, func(b arrow.RecordBatch) bool {
		h := x.by.first().hashes(b)
		for i := range h.keys {
			if k := x.fold.key(h.keys[i]); k == nil || !k.repeats {
				continue
			}
			if m := x.fold.image(h.images[i]); m != nil {
				m.rows++
			}
		}
		return true
	})
}

// readAll answers the rows of a state, or of one part's files.
func (x *differ) readAll(ctx context.Context, at position, part source.Range, each func(arrow.RecordBatch) bool) error {
	if err := x.listRows(ctx, at); err != nil {
		return err
	}
	r := reading{s: x.s, q: x.d, links: x.rowLinks, files: x.rows.files}
	if part.Unit != "" {
		b, err := sqltext.ParseBucket(part.Unit, grouping)
		if err != nil {
			return err //nolint:wrapcheck // classified
		}
		r.files = share(x.rows.files, b)
	}
	return r.run(ctx, each)
}

// readChanged answers the rows of keys that differ: the last of each image from the feed, those of keys that repeat from the
// files of the state.
func (x *differ) readChanged(ctx context.Context, each func(arrow.RecordBatch) bool) error {
	last, repeats := x.fold.versions()
	r := reading{s: x.s, q: x.d.told(), links: x.feedLinks}
	r.files = slices.DeleteFunc(slices.Clone(x.feed.files), func(f *listed) bool { return f.action == removed || !last[f.version] })
	stopped := false
	err := x.readSome(ctx, r, x.by, x.d.schema, func(b arrow.RecordBatch) bool {
		stopped = !each(b)
		return !stopped
	}, func(f *listed, came []bool, h hashed, i int) bool {
		return came[i] && x.fold.tell(h.keys[i], h.images[i], f.version)
	})
	if err != nil || stopped || !repeats {
		return err
	}
	r = reading{s: x.s, q: x.d, links: x.rowLinks, files: x.met}
	return r.byFile(ctx, func(_ *listed, b arrow.RecordBatch) (bool, error) {
		h := x.by.hashes(b)
		some, err := cut(ctx, x.s.settings.Allocator, b, func(i int) bool {
			k := x.fold.key(h.keys[i])
			return k != nil && k.repeats && k.verdict == differs
		})
		if err != nil || some == nil {
			return err == nil, err
		}
		defer some.Release()
		return each(some), nil
	})
}

// readGone answers the keys that are gone, from rows of the feed that went.
func (x *differ) readGone(ctx context.Context, each func(arrow.RecordBatch) bool) error {
	if !x.fold.hasGone() {
		return nil
	}
	keys := x.d.only(x.by.at[:x.by.keys]...)
	r := reading{s: x.s, q: keys.told(), links: x.feedLinks}
	r.files = slices.DeleteFunc(slices.Clone(x.feed.files), func(f *listed) bool { return f.action == added })
	return x.readSome(ctx, r, x.by.key(), keys.schema, each, func(_ *listed, came []bool, h hashed, i int) bool {
		return !came[i] && x.fold.tellGone(h.keys[i])
	})
}

// readSome calls each with the rows of a feed that are wanted, without what happened to them, until it answers false.
func (x *differ) readSome(ctx context.Context, r reading, by compared, schema *arrow.Schema, each func(arrow.RecordBatch) bool,
	wanted func(f *listed, came []bool, h hashed, i int) bool,
) error {
	return r.byFile(ctx, func(f *listed, b arrow.RecordBatch) (bool, error) {
		came, err := direction(f, b)
		if err != nil {
			return false, err
		}
		h := by.hashes(b)
		some, err := cut(ctx, x.s.settings.Allocator, b, func(i int) bool { return wanted(f, came, h, i) })
		if err != nil || some == nil {
			return err == nil, err
		}
		defer some.Release()
		own := array.NewRecordBatch(schema, some.Columns()[:schema.NumFields()], some.NumRows())
		defer own.Release()
		return each(own), nil
	})
}

// reach is from the smallest to the largest value that keys of a feed have in the first key column, where those of files are
// known.
type reach struct {
	axis      *window.Axis // nil: any value
	low, high window.Value
}

func reachOf(first *query) reach {
	for _, t := range []resource.IteratorType{resource.IteratorInteger, resource.IteratorDecimal, resource.IteratorDate, resource.IteratorTimestamp} {
		if a, err := window.NewAxis(resource.Iterator{Column: first.schema.Field(0).Name, Type: t}, first.schema); err == nil {
			return reach{axis: &a}
		}
	}
	return reach{}
}

// see takes a value of a key in.
func (r *reach) see(column arrow.Array, i int) {
	if r.axis == nil {
		return
	}
	v := r.axis.Value(column, i)
	if v.IsZero() { // NULL is nowhere
		r.axis = nil
		return
	}
	if r.low.IsZero() || v.Compare(r.low) < 0 {
		r.low = v
	}
	if r.high.IsZero() || v.Compare(r.high) > 0 {
		r.high = v
	}
}

// files answers the files that may have a key within reach; the table calls its first column name.
func (r *reach) files(of []*listed, name string) []*listed {
	if r.axis == nil || r.low.IsZero() {
		return of
	}
	in := filter{axis: *r.axis, low: r.low, high: r.high, closed: true}
	return slices.DeleteFunc(slices.Clone(of), func(f *listed) bool { return in.none(extentOf(*r.axis, name, f)) })
}
