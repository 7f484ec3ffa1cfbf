package extractor

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/drift"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/source"
)

// comparison is how the warehouse found out what has changed in a mirror's rows.
type comparison struct {
	state   source.State // the rows as the run found them
	since   source.State // what they were compared with; empty: everything is read
	lost    string       // why not with the base
	rows    int64        // of the query
	gone    int64        // keys
	terms   string       // fingerprint of what decides what a row becomes, its values apart
	columns []drift.Column
	added   []string // of the columns: they did not count in since
	notice  string   // what the owner should know of what the warehouse keeps
}

// in answers q as it was asked when the comparison was made.
func (c *comparison) in(q source.ChangeQuery) source.ChangeQuery {
	q.Since, q.Added = c.since, c.added
	for _, x := range c.columns {
		if !slices.Contains(q.Model.KeyColumns, x.Name) && !slices.Contains(c.added, x.Name) {
			q.Compared = append(q.Compared, x.Name)
		}
	}
	return q
}

// isPartial says whether the run reads what has changed, and not everything.
func (p *plan) isPartial() bool { return p.comparison != nil && p.comparison.since != "" }

// compares says whether the warehouse finds out what has changed.
func compares(snap resource.Snapshot) bool {
	return snap.Sync.Mode == resource.Mirror && snap.Sync.MirrorEngine.Compares()
}

// compare plans a run by the changes since the base, where the lease has one that still fits; else by everything, as the
// warehouse keeps it from now on.
func (s *Service) compare(ctx context.Context, l *lease, snap resource.Snapshot, src source.Source, q source.Query, schema *arrow.Schema) (source.Plan, *comparison, error) {
	r, err := changeReader(src, snap)
	if err != nil {
		return source.Plan{}, nil, err
	}
	c := &comparison{terms: termsOf(snap), columns: counted(snap, schema, q.Model.KeyColumns)}
	cq := changeQuery(l, snap.Sync.MirrorEngine, q)
	if b := l.base; b != nil && l.replayOf.IsZero() && c.terms != "" && c.terms == b.terms && holdsAll(c.columns, b.columns) {
		cq.Since = b.state
	}
	for _, x := range c.columns {
		switch {
		case slices.Contains(q.Model.KeyColumns, x.Name):
		case cq.Since != "" && !slices.Contains(l.base.columns, x):
			c.added = append(c.added, x.Name)
		}
	}
	c.since = cq.Since
	cq = c.in(cq)
	killpoint.Reach("extractor.compare.before")
	got, err := r.Changes(ctx, cq, s.settings.MaxParts)
	if err != nil {
		return source.Plan{}, nil, err //nolint:wrapcheck // classified by the driver
	}
	killpoint.Reach("extractor.compare.after")
	c.state, c.since, c.lost, c.rows, c.gone, c.notice = got.State, got.Since, got.Lost, got.Rows, got.Gone, got.Notice
	return source.Plan{
		Snapshot: string(got.State), SnapshotTime: got.Time, EstimatedRows: got.Changed, Counted: true, Parts: got.Parts, Replan: true,
	}, c, nil
}

func changeReader(src source.Source, snap resource.Snapshot) (source.ChangeReader, error) {
	r, ok := source.As[source.ChangeReader](src)
	if !ok {
		return nil, fault.New(fault.Precondition, fault.ReasonDriverMissing,
			"the driver of %s does not find out what has changed; give the sync mirror_engine: row_index", snap.Connection.Provider())
	}
	return r, nil
}

// changeQuery answers q as a query of its sync's changes.
func changeQuery(l *lease, e resource.MirrorEngine, q source.Query) source.ChangeQuery {
	return source.ChangeQuery{
		Query: q, Engine: e, Owner: ownerOf(l.uid), Attempt: source.Attempt{Run: l.runNo, Epoch: l.epoch},
	}
}

// ownerOf answers whose the states of a sync are.
func ownerOf(sync id.Sync) string { return strings.ReplaceAll(sync.String(), "-", "")[8:] }

// termsOf answers a fingerprint of what decides what a row becomes, and of the engine whose states go together.
func termsOf(snap resource.Snapshot) string {
	text := snap.WorkText()
	if text == "" {
		return ""
	}
	if e := snap.Sync.MirrorEngine; e != resource.Diff {
		text = string(e) + " " + text
	}
	return mapping.Version + " " + text
}

// counted answers the columns in which a row must differ to be read again: all that are read but those that the mapping
// ignores, the key columns among them.
func counted(snap resource.Snapshot, schema *arrow.Schema, keys []string) []drift.Column {
	ignored := map[string]bool{}
	if snap.Mapping != nil {
		ignoredBy(snap.Mapping.Rules, ignored)
	}
	return slices.DeleteFunc(columnsOf(schema), func(c drift.Column) bool {
		return ignored[c.Name] && !slices.Contains(keys, c.Name)
	})
}

func ignoredBy(rules []resource.Rule, into map[string]bool) {
	for i := range rules {
		if rules[i].Ignore != "" {
			into[rules[i].Ignore] = true
		}
		ignoredBy(rules[i].Rules, into)
	}
}

// holdsAll says whether all columns that counted still do, as what they were. Without one of them, any row may be
// another.
func holdsAll(now, then []drift.Column) bool {
	for _, c := range then {
		if !slices.Contains(now, c) {
			return false
		}
	}
	return true
}

// rowsOf answers what a part reads.
func (p *part) rowsOf(ctx context.Context, src source.Source, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	c := p.lease.plan.comparison
	if c == nil {
		return src.Read(ctx, q)
	}
	r, ok := source.As[source.ChangeReader](src)
	if !ok {
		return func(yield func(arrow.RecordBatch, error) bool) { yield(nil, errColumns()) }
	}
	return r.ReadChanges(ctx, c.in(changeQuery(p.lease, p.engine, q)), c.state, q.Range)
}

// gone answers the keys that the warehouse found gone, as the platform knows them.
func (s *Service) gone(ctx context.Context, l *lease, snap resource.Snapshot) iter.Seq2[[]id.Row, error] {
	return func(yield func([]id.Row, error) bool) {
		src, err := s.open(ctx, snap.Connection)
		if err != nil {
			yield(nil, err)
			return
		}
		defer s.release(ctx, src)
		r, err := changeReader(src, snap)
		if err != nil {
			yield(nil, err)
			return
		}
		c := l.plan.comparison
		q := queryOf(l, snap)
		q.Model.KeyColumns = l.plan.keys
		cq := c.in(changeQuery(l, snap.Sync.MirrorEngine, q))
		n := int64(0)
		for b, err := range r.ReadGone(ctx, cq, c.state) {
			var keys []id.Row
			if err == nil {
				keys, err = keysOf(b, l.plan.keys)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			n += b.NumRows()
			if !yield(keys, nil) {
				return
			}
		}
		if n != c.gone {
			yield(nil, fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the warehouse found %d keys gone and now names %d; the run is planned again", c.gone, n))
		}
	}
}

// keysOf hashes key columns as those of rows are hashed.
func keysOf(b arrow.RecordBatch, columns []string) ([]id.Row, error) {
	h, err := row.NewHasher(b.Schema(), columns)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by row
	}
	keys, _ := h.Hash(b)
	return keys, nil
}

// dropBase frees what a run was compared with once that run is done: its own state is the base then. Who dies before is
// made up for by the next plan.
func (s *Service) dropBase(ctx context.Context, snap resource.Snapshot, since source.State) {
	d, err := s.driver(snap.Connection)
	if err != nil {
		return
	}
	k, ok := d.(source.StateKeeper)
	if !ok {
		return
	}
	plain, err := s.keys.OpenConnection(snap.Connection)
	if err == nil {
		killpoint.Reach("extractor.drop.before")
		err = k.Drop(ctx, plain, since)
		killpoint.Reach("extractor.drop.after")
	}
	if err != nil {
		s.log.WarnContext(ctx, "the snapshot that a mirror needs no more is still there; its next run drops it", "error", err)
	}
}
