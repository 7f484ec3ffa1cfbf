//go:build cgo && duckdb_arrow

package sharing_test

import (
	"context"
	"iter"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sharing"
	"millrace.dev/pkg/source/sharing/sharingtest"
	"millrace.dev/pkg/source/sourcetest"
	"millrace.dev/pkg/source/sqltext"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exceptions are the tests of the suite that a share does not pass. The first are of timestamps without a zone, which Delta
// Sharing does not carry: what they hold is held of instants by the tests that are named.
func exceptions() map[string]string {
	return map[string]string{
		"Describe":                "it asks for a TIMESTAMP without a zone (TestATableAndItsColumnsAreDescribed)",
		"Types":                   "it asks for TIMESTAMP, TIME and UUID, which Delta Sharing does not carry (TestTypes)",
		"Ranges":                  "it asks for a TIMESTAMP without a zone (TestRangesAreExact)",
		"Nanoseconds":             "Delta's timestamps have microseconds",
		"Plan":                    "it plans by a TIMESTAMP without a zone (TestPlansByInstants)",
		"PlanOfNothing":           "it plans by a TIMESTAMP without a zone (TestPlansByInstants)",
		"IteratorsAreLossless":    "it plans by a TIMESTAMP without a zone (TestIteratorsAreLossless)",
		"NestedColumnsAreJSON":    "Delta Sharing has no type for JSON (TestTypes has arrays, maps and structs)",
		"StopMidRead":             "no table is endless (TestAReadStopsWithItsReader)",
		"CancelMidRead":           "no table is endless (TestAReadStopsWithItsReader)",
		"CancelBeforeTheFirstRow": "no table is endless (TestAReadStopsWithItsReader)",
		"FaultMidRead":            "a row that is stored cannot fail (TestABrokenFileIsNoEnd)",
		"SameNames":               "no model joins (TestColumnsHaveDifferentNames)",
		"PlansCount":              "no model calls a function (TestPlansCount)",
		"Tables":                  "views are not shared (TestTablesAreListed)",
		"Keys":                    "a share counts nothing, and keys of all rows do not fit in memory: the run finds them (TestKeysAreNotCounted)",
	}
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]sharingtest.Options{
		"a server of today":  {PageFiles: 2},
		"an old server":      {NoHistory: true, NoEnd: true, NoRanges: true},
		"without statistics": {NoStats: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := &spoken{Driver: sharing.New(sharing.Settings{PartRows: 1000})}
			sourcetest.Run(t, sourcetest.Harness{
				Driver: d, PartRows: 1000, Exceptions: except(exceptions(), o),
				New: func(t *testing.T) sourcetest.Warehouse {
					p := sharingtest.Start(t, o)
					c := p.Connection()
					d.peers.Store(c.DeltaSharing.Profile.Plain, teller{t, p})
					return sourcetest.Warehouse{Connection: c, Exec: func(t *testing.T, sql string) { p.Exec(t, zoned(sql)) }}
				},
			})
		})
	}
}

// except adds what holds of one kind of server.
func except(all map[string]string, o sharingtest.Options) map[string]string {
	if o.NoStats {
		all["PartsCoverTheWindowOnce"] = "without statistics a window is one part, for each part would read every file (TestPartsFollowFiles)"
	}
	return all
}

// spoken opens sources that are asked in SQL: what a query selects is made a table of the share first, and that is read.
type spoken struct {
	*sharing.Driver
	peers sync.Map
}

type teller struct {
	t *testing.T
	p *sharingtest.Peer
}

func (d *spoken) Open(ctx context.Context, c resource.Connection) (source.Source, error) {
	s, err := d.Driver.Open(ctx, c)
	if err != nil {
		return nil, err //nolint:wrapcheck // under test
	}
	to, _ := d.peers.Load(c.DeltaSharing.Profile.Plain)
	return speaker{s.(*sharing.Source), to.(teller)}, nil //nolint:forcetypeassert // the driver's own
}

type speaker struct {
	*sharing.Source
	to teller
}

// said answers q over a table, where the driver does not read its query as it is and the engine of the peer does.
func (s speaker) said(q source.Query) source.Query {
	text, err := sqltext.Clean(q.Model.SQL)
	if q.Model.Table != "" || err != nil || strings.Contains(quotes.ReplaceAllString(text, ""), ";") {
		return q
	}
	if _, err := s.Source.Describe(s.to.t.Context(), q); err == nil {
		return q
	}
	if name, err := s.to.p.Materialize(s.to.t, zoned(text)); err == nil {
		q.Model.SQL, q.Model.Table = "", name
	}
	return q
}

func (s speaker) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	return s.Source.Describe(ctx, s.said(q)) //nolint:wrapcheck // under test
}

func (s speaker) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return s.Source.Read(ctx, s.said(q))
}

func (s speaker) Plan(ctx context.Context, q source.Query, want int) (source.Plan, error) {
	return s.Source.Plan(ctx, s.said(q), want) //nolint:wrapcheck // under test
}

var quotes = regexp.MustCompile(`"[^"]*"|'[^']*'`) //nolint:gochecknoglobals // compiled once, never changed

var zoneless = regexp.MustCompile(`\bTIMESTAMP\b`) //nolint:gochecknoglobals // compiled once, never changed

// zoned answers the suite's SQL with instants in the place of wall-clock times.
func zoned(sql string) string { return zoneless.ReplaceAllString(sql, "TIMESTAMPTZ") }

func open(t testing.TB, p *sharingtest.Peer) source.Source {
	t.Helper()
	return openWith(t, sharing.Settings{}, p.Connection())
}

func openWith(t testing.TB, s sharing.Settings, c resource.Connection) source.Source {
	t.Helper()
	got, err := sharing.New(s).Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, got.Close()) })
	return got
}

func table(name string) source.Query {
	return source.Query{Model: resource.DataModel{Table: name}, Label: "millrace:test/sync/run"}
}

func by(name, column string, typ resource.IteratorType, r source.Range) source.Query {
	q := table(name)
	q.Model.Iterator, q.Range = resource.Iterator{Column: column, Type: typ}, r
	return q
}

func values(t testing.TB, s source.Source, q source.Query) []string {
	t.Helper()
	out, err := read(t.Context(), s, q)
	require.NoError(t, err)
	return out
}

// read answers the first column's values.
func read(ctx context.Context, s source.Source, q source.Query) ([]string, error) {
	var out []string
	for b, err := range s.Read(ctx, q) {
		if err != nil {
			return out, err
		}
		for i := range int(b.NumRows()) {
			out = append(out, strings.Clone(b.Column(0).ValueStr(i)))
		}
	}
	return out, nil
}

func planOf(t testing.TB, s source.Source, q source.Query, want int) source.Plan {
	t.Helper()
	p, ok := source.As[source.Planner](s)
	require.True(t, ok)
	got, err := p.Plan(t.Context(), q, want)
	require.NoError(t, err)
	return got
}

// readPlan answers the values of a plan's parts.
func readPlan(t testing.TB, s source.Source, q source.Query, p source.Plan) []string {
	t.Helper()
	var out []string
	for _, r := range p.Parts {
		q.Snapshot, q.Range = p.Snapshot, r
		out = append(out, values(t, s, q)...)
	}
	return out
}
