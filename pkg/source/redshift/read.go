package redshift

import (
	"context"
	"errors"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
	"millrace.dev/pkg/window"
)

// Describe answers the schema of q's rows; the warehouse plans the query and reads none.
func (s *Source) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	x, err := s.begin(ctx, q.Label)
	if err != nil {
		return nil, err
	}
	defer x.close(ctx)
	d, err := x.describe(ctx, q)
	if err != nil {
		return nil, err
	}
	return d.schema, nil
}

// Read answers the rows of q in batches of at most 16,384, in no order: those of a plan's files, where its range names
// some; else through a cursor, as they are now.
func (s *Source) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		if err := s.read(ctx, q, func(b arrow.RecordBatch) bool { return yield(b, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// read stops without an error when each answers false.
func (s *Source) read(ctx context.Context, q source.Query, each func(arrow.RecordBatch) bool) error {
	x, err := s.begin(ctx, q.Label)
	if err != nil {
		return err
	}
	defer x.close(ctx)
	d, err := x.describe(ctx, q)
	if err != nil {
		return err
	}
	if q.Range.Unit != "" && s.address.Unloads() {
		x.close(ctx) // the files outlast it
		return s.readShare(ctx, d, q, each)
	}
	where, err := d.slice(q)
	if err != nil {
		return err
	}
	return x.fetch(ctx, d, d.text(where, q.Limit), each)
}

// readShare reads a share of the files that q's plan unloaded.
func (s *Source) readShare(ctx context.Context, d *query, q source.Query, each func(arrow.RecordBatch) bool) error {
	p, err := parseShare(q.Range.Unit)
	if err != nil {
		return err
	}
	snap, err := parseSnapshot(q.Snapshot)
	if err != nil {
		return err
	}
	u := unloaded{place: snap.Place}
	err = s.manifest(ctx, &u, snap.Rows)
	switch {
	case errors.Is(err, errGone):
		return changed("the files of the run were removed from the bucket")
	case err != nil:
		return err
	}
	left := q.Limit
	return s.readFiles(ctx, d, p.of(u.files), func(b arrow.RecordBatch) bool {
		if q.Limit == 0 {
			return each(b)
		}
		b = b.NewSlice(0, min(int64(left), b.NumRows()))
		defer b.Release()
		left -= int(b.NumRows())
		return each(b) && left > 0
	})
}

// readFiles reads unloaded files, whose columns are d's, until each answers false.
func (s *Source) readFiles(ctx context.Context, d *query, files []file, each func(arrow.RecordBatch) bool) error {
	return s.download(ctx, files, func(f file, data []byte) (bool, error) {
		return d.decode(ctx, s.settings, data, f.rows, each)
	})
}

// through reads a statement, whose columns are d's: where there is a bucket, by files of its own, which are removed then;
// else through a cursor. Nothing else is read in the transaction.
func (x *session) through(ctx context.Context, label string, d *query, sql string, each func(arrow.RecordBatch) bool) error {
	if !x.s.address.Unloads() {
		return x.fetch(ctx, d, sql, each)
	}
	u, err := x.unload(ctx, label, sql)
	if err == nil {
		x.close(ctx) // the files outlast it
		err = x.s.readFiles(ctx, d, u.files, each)
	}
	return x.s.abandon(ctx, u.place, err)
}

// hash names the warehouse's hash of texts.
const hash = "FNV of Redshift"

// slice answers the condition of q's range.
func (q *query) slice(of source.Query) (string, error) {
	switch {
	case of.Range.IsAll():
		return "", nil
	case of.Range.Unit != "":
		b, err := sqltext.ParseBucket(of.Range.Unit, hash)
		if err != nil {
			return "", err //nolint:wrapcheck // classified
		}
		return bucket(b, q.keysHash(of.Model.KeyColumns)), nil
	}
	a, err := window.NewAxis(of.Model.Iterator, q.schema)
	if err != nil {
		return "", err //nolint:wrapcheck // classified by window
	}
	return q.where(a, of.Range)
}

// bucket answers the condition of a bucket of a hash.
func bucket(b sqltext.Bucket, sum string) string {
	return " WHERE MOD(" + sum + " & " + strconv.FormatInt(math.MaxInt64, 10) + ", " + strconv.Itoa(b.Of) + ") = " + strconv.Itoa(b.Index)
}

// where answers the condition of a range on the iterator.
func (q *query) where(a window.Axis, r source.Range) (string, error) {
	name := sqltext.Quote(a.Column)
	if r.Nulls {
		return " WHERE " + name + " IS NULL", nil
	}
	high := "<"
	if r.HighClosed {
		high = "<="
	}
	var terms []string
	for _, end := range []struct{ value, operator string }{{r.Low, ">="}, {r.High, high}} {
		if end.value == "" {
			continue
		}
		v, err := a.Parse(end.value)
		if err != nil {
			return "", err //nolint:wrapcheck // classified by window
		}
		c, err := q.constant(a, v)
		if err != nil {
			return "", err
		}
		terms = append(terms, name+" "+end.operator+" "+c)
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), nil
}

// constant answers a value of the iterator as SQL of its type. DECLARE and UNLOAD take no parameters; so it is printed, but
// anew from what was parsed as a number, date or time: digits, and what stands between them.
func (q *query) constant(a window.Axis, v window.Value) (string, error) {
	text := v.SQL()
	if strings.Trim(text, "0123456789-+:.TZ BC") != "" {
		return "", fault.New(fault.Internal, fault.ReasonInternal, "a value of the iterator is neither number nor time")
	}
	text = strings.Replace(text, "T", " ", 1)
	return "CAST('" + text + "' AS " + q.columns[a.Index].own + ")", nil
}
