//go:build cgo && duckdb_arrow

package databricks_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/databricks"
	"millrace.dev/pkg/source/databricks/databrickstest"
	"millrace.dev/pkg/source/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exceptions are the tests of the suite that Databricks does not pass.
func exceptions() map[string]string {
	return map[string]string{
		"Nanoseconds": "Databricks' timestamps have microseconds",
		"PlansCount":  "a query's text has no snapshot to be counted in; a table has (TestATableIsReadInThePlansVersion)",
	}
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]databrickstest.Options{"within answers": {}, "by files": {Files: true, Padding: true}} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, sourcetest.Harness{
				Driver: spoken{databricks.New(databricks.Settings{PartRows: 1000})}, PartRows: 1000, Exceptions: exceptions(),
				New: func(t *testing.T) sourcetest.Warehouse {
					p := databrickstest.Start(t, o)
					return sourcetest.Warehouse{Connection: p.Connection(), Exec: func(t *testing.T, sql string) { p.Exec(t, sql) }}
				},
			})
		})
	}
}

// spoken opens sources that are asked in the suite's dialect and ask in Databricks'.
type spoken struct{ *databricks.Driver }

func (d spoken) Open(ctx context.Context, c resource.Connection) (source.Source, error) {
	s, err := d.Driver.Open(ctx, c)
	if err != nil {
		return nil, err //nolint:wrapcheck // under test
	}
	return speaker{s.(*databricks.Source)}, nil //nolint:forcetypeassert // the driver's own
}

type speaker struct{ *databricks.Source }

func said(q source.Query) source.Query {
	q.Model.SQL = speak(q.Model.SQL)
	return q
}

func (s speaker) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	return s.Source.Describe(ctx, said(q)) //nolint:wrapcheck // under test
}

func (s speaker) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return s.Source.Read(ctx, said(q))
}

func (s speaker) Plan(ctx context.Context, q source.Query, want int) (source.Plan, error) {
	return s.Source.Plan(ctx, said(q), want) //nolint:wrapcheck // under test
}

func (s speaker) CheckKeys(ctx context.Context, q source.Query) (source.KeyFaults, error) {
	return s.Source.CheckKeys(ctx, said(q)) //nolint:wrapcheck // under test
}

func (s speaker) Changes(ctx context.Context, q source.ChangeQuery, want int) (source.Changes, error) {
	q.Query = said(q.Query)
	return s.Source.Changes(ctx, q, want) //nolint:wrapcheck // under test
}

func (s speaker) ReadChanges(ctx context.Context, q source.ChangeQuery, c source.State, r source.Range) iter.Seq2[arrow.RecordBatch, error] {
	q.Query = said(q.Query)
	return s.Source.ReadChanges(ctx, q, c, r)
}

func (s speaker) ReadGone(ctx context.Context, q source.ChangeQuery, c source.State) iter.Seq2[arrow.RecordBatch, error] {
	q.Query = said(q.Query)
	return s.Source.ReadGone(ctx, q, c)
}

// speak answers the suite's SQL in Databricks' dialect: identifiers in backticks, strings with backslashes, its types.
func speak(sql string) string {
	var b strings.Builder
	for sql != "" {
		var n int
		switch c := sql[0]; {
		case c == '"' || c == '\'':
			text, length, ok := unquote(sql)
			if !ok {
				return b.String() + sql
			}
			n = length
			if c == '"' {
				b.WriteString("`" + strings.ReplaceAll(text, "`", "``") + "`")
			} else {
				b.WriteString("'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'")
			}
		case strings.HasPrefix(sql, "ARRAY["):
			n = strings.IndexByte(sql, ']') + 1
			b.WriteString("array(" + sql[len("ARRAY["):n-1] + ")")
		default:
			n = max(1, len(sql)-len(strings.TrimLeft(sql, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz0123456789")))
			b.WriteString(typeOf(sql[:n]))
		}
		sql = sql[n:]
	}
	return strings.ReplaceAll(b.String(), "DOUBLE PRECISION", "DOUBLE")
}

func unquote(s string) (text string, length int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != s[0] {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == s[0] {
			b.WriteByte(s[i])
			i++
			continue
		}
		return b.String(), i + 1, true
	}
	return "", 0, false
}

func typeOf(word string) string {
	switch word {
	case "TIMESTAMPTZ":
		return "TIMESTAMP"
	case "TIMESTAMP":
		return "TIMESTAMP_NTZ"
	case "BYTEA":
		return "BINARY"
	case "VARCHAR":
		return "STRING"
	case "random":
		return "rand"
	}
	return word
}

func open(t testing.TB, p *databrickstest.Peer) source.Source {
	t.Helper()
	return openWith(t, databricks.Settings{}, p.Connection())
}

func openWith(t testing.TB, s databricks.Settings, c resource.Connection) source.Source {
	t.Helper()
	got, err := databricks.New(s).Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, got.Close()) })
	return got
}

func model(sql string) source.Query {
	return source.Query{Model: resource.DataModel{SQL: sql}, Label: "millrace:test/sync/run"}
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
