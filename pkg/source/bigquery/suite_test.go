//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"context"
	"fmt"
	"iter"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery"
	"millrace.dev/pkg/source/bigquery/bigquerytest"
	"millrace.dev/pkg/source/bigquery/googlesql"
	"millrace.dev/pkg/source/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quick() bigquery.Settings {
	return bigquery.Settings{PartRows: 1000, Wait: time.Millisecond}
}

func TestConformance(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness{
		Driver:   speaker{bigquery.New(quick())},
		PartRows: 1000,
		New: func(t *testing.T) sourcetest.Warehouse {
			s := bigquerytest.Start(t)
			return sourcetest.Warehouse{Connection: s.Connection(t), Exec: func(t *testing.T, sql string) { s.Exec(t, sql) }}
		},
		Exceptions: map[string]string{
			"Types":          "BigQuery has no integers and floats of fewer than 64 bits, and decimals of two forms alone: TestTypes has each of its types",
			"Nanoseconds":    "BigQuery's timestamps have microseconds; those with picoseconds are refused: TestTypesThatAreRefused",
			"StopMidRead":    "a read begins when its query has ended, which the suite's endless one never does: TestAReadThatIsStoppedFreesItsStreams",
			"CancelMidRead":  "the same: TestACancelledReadEndsAndFreesItsStreams",
			"NamesAreQuoted": "BigQuery refuses most of the suite's names for columns: TestNamesAreQuoted has those that it takes",
			"SameNames":      "BigQuery refuses them itself, in other words: TestSameNamesAreRefused",
		},
	})
}

// speaker says the suite's SQL, which is of the dialect that PostgreSQL and DuckDB share, in BigQuery's.
type speaker struct{ source.Driver }

func (d speaker) Setup(c resource.Connection) (string, error) {
	return d.Driver.(source.Setup).Setup(c)
}

func (d speaker) Open(ctx context.Context, c resource.Connection) (source.Source, error) {
	s, err := d.Driver.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	return spoken{s.(*bigquery.Source)}, nil
}

type spoken struct{ *bigquery.Source }

func said(q source.Query) source.Query {
	q.Model.SQL = say(q.Model.SQL)
	return q
}

func (s spoken) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	return s.Source.Describe(ctx, said(q))
}

func (s spoken) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return s.Source.Read(ctx, said(q))
}

func (s spoken) Plan(ctx context.Context, q source.Query, want int) (source.Plan, error) {
	return s.Source.Plan(ctx, said(q), want)
}

func (s spoken) CheckKeys(ctx context.Context, q source.Query) (source.KeyFaults, error) {
	return s.Source.CheckKeys(ctx, said(q))
}

var (
	quoted  = regexp.MustCompile(`'(?:[^']|'')*'|"(?:[^"]|"")*"`)
	series  = regexp.MustCompile(`generate_series\((\w+), (\w+)\) AS (\w+)\((\w+)\)`)
	phrases = strings.NewReplacer("TIMESTAMPTZ", "TIMESTAMP", "AS TIMESTAMP)", "AS DATETIME)", "VARCHAR", "STRING", "DOUBLE PRECISION", "FLOAT64", "BIGINT", "INT64",
		" INTEGER)", " INT64)", "DECIMAL(9,2)", "NUMERIC(9, 2)", "DECIMAL(38,", "BIGNUMERIC(38,", "random()", "RAND()")
	json = regexp.MustCompile(`CAST\(('[^']*') AS JSON\)`)
)

func say(sql string) string {
	sql = json.ReplaceAllString(sql, "PARSE_JSON($1)")
	sql = series.ReplaceAllString(sql, "(SELECT $4 FROM UNNEST(GENERATE_ARRAY($1, $2)) AS $4) AS $3")
	sql = phrases.Replace(sql)
	return quoted.ReplaceAllStringFunc(sql, func(q string) string {
		inner := strings.ReplaceAll(q[1:len(q)-1], q[:1]+q[:1], q[:1])
		if q[0] == '"' {
			return googlesql.Quote(inner)
		}
		return text(inner)
	})
}

// text answers a literal of BigQuery's.
func text(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`).Replace(s) + "'"
}

func open(t testing.TB, s *bigquerytest.Server, settings bigquery.Settings) *bigquery.Source {
	t.Helper()
	return openAs(t, s.Connection(t), settings)
}

func openAs(t testing.TB, c resource.Connection, settings bigquery.Settings) *bigquery.Source {
	t.Helper()
	opened, err := bigquery.New(settings).Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	return opened.(*bigquery.Source)
}

func model(sql string) source.Query {
	return source.Query{Model: resource.DataModel{SQL: sql}, Label: "millrace:default/customers/20260101T000000Z"}
}

func numbers(n int) source.Query {
	return model(fmt.Sprintf("SELECT i, CONCAT('row ', CAST(i AS STRING)) AS name FROM UNNEST(GENERATE_ARRAY(1, %d)) AS i", n))
}

// values answers the first column of a read as text.
func values(ctx context.Context, s source.Source, q source.Query) ([]string, error) {
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
