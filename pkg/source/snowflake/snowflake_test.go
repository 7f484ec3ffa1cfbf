//go:build cgo && duckdb_arrow

package snowflake_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/snowflake"
	"millrace.dev/pkg/source/snowflake/snowflaketest"
	"millrace.dev/pkg/source/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	for name, o := range map[string]snowflaketest.Options{
		"answered at once":  {},
		"polled, in chunks": {Poll: true, Gzip: true, InlineRows: 1, ChunkRows: 3000},
	} {
		t.Run(name, func(t *testing.T) { conforms(t, o) })
	}
}

func conforms(t *testing.T, o snowflaketest.Options) {
	t.Helper()
	sourcetest.Run(t, sourcetest.Harness{
		Driver:   snowflake.New(snowflake.Settings{PartRows: 1000}),
		PartRows: 1000,
		New: func(t *testing.T) sourcetest.Warehouse {
			s := snowflaketest.New(t, o)
			c := s.Connection()
			c.Token, c.Timestamps = resource.Secret{Plain: "token"}, resource.Nanoseconds
			return sourcetest.Warehouse{
				Connection: resource.Connection{Snowflake: &c},
				Exec:       func(t *testing.T, sql string) { s.Exec(t, sql) },
			}
		},
		Type: func(t arrow.Type) arrow.Type {
			switch t {
			case arrow.INT16, arrow.INT32, arrow.INT64: // each is NUMBER(38,0)
				return arrow.DECIMAL128
			case arrow.FLOAT32:
				return arrow.FLOAT64
			}
			return t
		},
		Exceptions: map[string]string{
			"StopMidRead":   "Snowflake answers once a result is whole, so that an endless query has no first row; TestStopMidRead stops within a result that ends",
			"CancelMidRead": "Snowflake answers once a result is whole, so that an endless query has no first row; TestCancelMidRead cancels within a result that ends",
			"Tables":        "the suite's names are in small letters, which Snowflake's SQL wants quoted; TestTables lists names as Snowflake keeps them",
		},
	})
}

// open answers a source over a server, by a token.
func open(t testing.TB, s *snowflaketest.Server, change ...func(*resource.Snowflake)) source.Source {
	t.Helper()
	return openWith(t, snowflake.Settings{PartRows: 1000}, s, change...)
}

func openWith(t testing.TB, settings snowflake.Settings, s *snowflaketest.Server, change ...func(*resource.Snowflake)) source.Source {
	t.Helper()
	c := s.Connection()
	c.Token = resource.Secret{Plain: "token"}
	for _, f := range change {
		f(&c)
	}
	out, err := snowflake.New(settings).Open(t.Context(), resource.Connection{Snowflake: &c})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, out.Close()) })
	return out
}

func model(sql string) source.Query {
	return source.Query{Model: resource.DataModel{SQL: sql}, Label: "millrace:test/sync/run"}
}

// values answers the first column as text.
func values(t testing.TB, s source.Source, q source.Query) []string {
	t.Helper()
	var out []string
	for b, err := range s.Read(t.Context(), q) {
		require.NoError(t, err)
		for i := range int(b.NumRows()) {
			out = append(out, string([]byte(b.Column(0).ValueStr(i))))
		}
	}
	return out
}
