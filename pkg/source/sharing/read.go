package sharing

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

const versionWord = "version "

// Describe answers the schema of q's rows, of the table as it is now; no file is read.
func (s *Source) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	m, err := s.modelOf(q.Model)
	if err != nil {
		return nil, err
	}
	l, err := s.metadata(ctx, m.table, q.Label)
	if err != nil {
		return nil, err
	}
	d, err := m.describe(l.meta)
	if err != nil {
		return nil, err
	}
	return d.schema, nil
}

// Read answers the rows of q in batches of at most 16,384, in no order: files are read beside one another. The table is
// read in the version that the plan names. Where that is gone, ranges by value are read in the newest; parts that are
// files are planned again.
func (s *Source) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		if err := s.read(ctx, q, func(b arrow.RecordBatch) bool { return yield(b, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// read stops without an error when each answers false.
func (s *Source) read(ctx context.Context, q source.Query, each func(arrow.RecordBatch) bool) error {
	m, err := s.modelOf(q.Model)
	if err != nil {
		return err
	}
	a, err := s.asking(ctx, m, q)
	if err != nil {
		return err
	}
	l, relist, err := s.at(ctx, m, q, a)
	if err != nil {
		return err
	}
	d, err := m.describe(l.meta)
	if err != nil {
		return err
	}
	r := reading{s: s, q: d}
	if r.filter, err = d.filterOf(q); err != nil {
		return err
	}
	if r.files, err = d.filesOf(q, l, r.filter); err != nil {
		return err
	}
	if r.links, err = s.links(l, relist); err != nil {
		return err
	}
	return r.run(ctx, limited(q.Limit, each))
}

// asking answers what the files are listed by: hints need the iterator's type, so the columns are asked for first.
func (s *Source) asking(ctx context.Context, m model, q source.Query) (asked, error) {
	if q.Range.IsAll() || q.Range.Unit != "" {
		return asked{Limit: max(q.Limit, 0)}, nil
	}
	l, err := s.metadata(ctx, m.table, q.Label)
	if err != nil {
		return asked{}, err
	}
	d, err := m.describe(l.meta)
	if err != nil {
		return asked{}, err
	}
	f, err := d.filterOf(q)
	if err != nil {
		return asked{}, err
	}
	a := asked{column: d.names[f.axis.Index]}
	own, _ := d.schema.Field(f.axis.Index).Metadata.GetValue(source.MetaType)
	f.hints(&a, own)
	return a, nil
}

// at lists the files of q's version, or of the newest where that is gone, notes which it is, and answers what lists the
// same files again.
func (s *Source) at(ctx context.Context, m model, q source.Query, a asked) (*listing, func(context.Context) (*listing, error), error) {
	n, ok := versionOf(q.Snapshot)
	if ok {
		a.Version = &n
		l, err := s.files(ctx, m.table, q.Label, a)
		if err == nil {
			s.readUnder(q.Snapshot)
			return l, func(ctx context.Context) (*listing, error) { return s.files(ctx, m.table, q.Label, a) }, nil
		}
		if !fault.ClassOf(err).Permanent() || fault.ClassOf(err) == fault.Denied {
			return nil, nil, err
		}
		a.Version = nil // the history is not shared, or gone
	}
	l, err := s.files(ctx, m.table, q.Label, a)
	if err != nil {
		return nil, nil, err
	}
	if ok && l.version != n && q.Range.Unit != "" {
		return nil, nil, changed("the version of %s that the run was planned in cannot be read any more", m.table.what())
	}
	s.readUnder(snapshotOf(l.version))
	relist := func(ctx context.Context) (*listing, error) {
		again, err := s.files(ctx, m.table, q.Label, a)
		if err == nil && again.version != l.version {
			return nil, changed("%s was written while it was read, and its history is not shared", m.table.what())
		}
		return again, err
	}
	return l, relist, nil
}

func snapshotOf(version int64) string { return versionWord + strconv.FormatInt(version, 10) }

func versionOf(snapshot string) (int64, bool) {
	digits, ok := strings.CutPrefix(snapshot, versionWord)
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && err == nil && n >= 0
}

// filesOf answers the files that may have rows of q's range.
func (q *query) filesOf(in source.Query, l *listing, f *filter) ([]*listed, error) {
	if in.Range.Unit != "" {
		b, err := sqltext.ParseBucket(in.Range.Unit, grouping)
		if err != nil {
			return nil, err //nolint:wrapcheck // classified
		}
		return share(l.files, b), nil
	}
	if f == nil {
		return l.files, nil
	}
	name := q.names[f.axis.Index]
	return slices.DeleteFunc(slices.Clone(l.files), func(x *listed) bool { return f.none(extentOf(f.axis, name, x)) }), nil
}

// limited answers each for at most n rows; 0: all.
func limited(n int, each func(arrow.RecordBatch) bool) func(arrow.RecordBatch) bool {
	if n <= 0 {
		return each
	}
	left := int64(n)
	return func(b arrow.RecordBatch) bool {
		some := b.NewSlice(0, min(left, b.NumRows()))
		defer some.Release()
		left -= some.NumRows()
		return each(some) && left > 0
	}
}

// source answers what the table calls a selected column.
func (m model) source(as string) string {
	for _, c := range m.columns {
		if c.as == as {
			return c.name
		}
	}
	return as
}

// iteratorOf answers what the table calls the model's iterator.
func (m model) iteratorOf(in resource.DataModel) string { return m.source(in.Iterator.Column) }

// reading is one read of some files.
type reading struct {
	s      *Source
	q      *query
	links  *links
	files  []*listed
	filter *filter // nil: all rows
}

// run calls each with the batches of the files until it answers false, and ends what it began. A batch is each's for the
// call only.
func (r reading) run(ctx context.Context, each func(arrow.RecordBatch) bool) error {
	return r.byFile(ctx, func(_ *listed, b arrow.RecordBatch) (bool, error) { return each(b), nil })
}

// rowsOf is a batch of a file's rows.
type rowsOf struct {
	file *listed
	rows arrow.RecordBatch
}

// byFile is run that says which file a batch is of. An error of each ends it.
func (r reading) byFile(ctx context.Context, each func(*listed, arrow.RecordBatch) (bool, error)) error {
	if err := ctx.Err(); err != nil {
		return fault.As(err)
	}
	life, cancel := context.WithCancel(ctx)
	defer cancel()
	work, inner := errgroup.WithContext(life)
	batches, room, next := make(chan rowsOf), semaphore.NewWeighted(r.s.settings.MaxInFlight), new(atomic.Int64)
	for range min(r.s.settings.Parallel, len(r.files)) {
		work.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(r.files)); i = next.Add(1) - 1 {
				if err := r.file(inner, r.files[i], room, batches); err != nil {
					return err
				}
			}
			return nil
		})
	}
	var failed, own error
	go func() {
		failed = work.Wait()
		close(batches)
	}()
	stopped := false
	for b := range batches {
		if !stopped {
			var more bool
			if more, own = each(b.file, b.rows); !more || own != nil {
				stopped = true
				cancel()
			}
		}
		b.rows.Release()
	}
	switch {
	case stopped:
		return own
	case ctx.Err() != nil:
		return fault.As(ctx.Err())
	}
	return failed
}

// file reads one file, a row group at a time.
func (r reading) file(ctx context.Context, f *listed, room *semaphore.Weighted, to chan<- rowsOf) error {
	open, err := r.links.open(ctx, f)
	if err != nil {
		return err
	}
	groups, err := open.groups(r.q.names, r.s.settings.MaxReply)
	if err != nil {
		return err
	}
	for _, g := range groups {
		weight := min(g.bytes, r.s.settings.MaxInFlight)
		if err := room.Acquire(ctx, weight); err != nil {
			return fault.As(err)
		}
		err := r.group(ctx, g, to)
		room.Release(weight)
		if err != nil {
			return err
		}
	}
	return nil
}

func (r reading) group(ctx context.Context, g group, to chan<- rowsOf) error {
	parts, err := r.links.download(ctx, g)
	if err != nil {
		return err
	}
	defer parts.free(r.s.settings.Allocator)
	whole := r.filter == nil || r.filter.all(extentOf(r.filter.axis, r.q.names[r.filter.axis.Index], g.of.file))
	return r.s.decodeGroup(ctx, g, parts, func(b arrow.RecordBatch, n int64) (bool, error) {
		fitted, err := r.q.fit(r.s.settings.Allocator, g.of.file, b, n)
		if err != nil {
			return false, err
		}
		if !whole {
			all := fitted
			fitted, err = r.filter.cut(ctx, r.s.settings.Allocator, all)
			all.Release()
			if err != nil || fitted == nil {
				return err == nil, err
			}
		}
		select {
		case to <- rowsOf{g.of.file, fitted}:
			return true, nil
		case <-ctx.Done():
			fitted.Release()
			return false, fault.As(ctx.Err())
		}
	})
}
