//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// TestBigQueryItself looks whether Google's service answers as the peer does, where an account is given.
func TestBigQueryItself(t *testing.T) {
	key := os.Getenv("MILLRACE_TEST_BIGQUERY_KEY")
	if key == "" {
		t.Log("BigQuery itself was not reached: MILLRACE_TEST_BIGQUERY_KEY (a file), _PROJECT, _DATASET and _LOCATION name an account")
		return
	}
	text, err := os.ReadFile(key)
	require.NoError(t, err)
	s := openAs(t, resource.Connection{BigQuery: &resource.BigQuery{
		ProjectID: os.Getenv("MILLRACE_TEST_BIGQUERY_PROJECT"), DatasetID: os.Getenv("MILLRACE_TEST_BIGQUERY_DATASET"), Location: os.Getenv("MILLRACE_TEST_BIGQUERY_LOCATION"),
		ServiceAccountKey: resource.Secret{Plain: string(text)}, Credentials: resource.ByServiceAccountKey, StatementTimeout: time.Hour, MaximumBytesBilled: 100 << 20,
	}}, quick())
	for _, step := range s.Check(t.Context()) {
		require.True(t, step.OK, "%s: %s", step.Name, step.Message)
	}
	for sql, want := range map[string]string{
		"9223372036854775807": "9223372036854775807", "DATE '0001-01-01'": "0001-01-01", "DATETIME '9999-12-31 23:59:59.999999'": "9999-12-31T23:59:59.999999",
		"TIMESTAMP '0001-01-01 00:00:00+00'": "0001-01-01T00:00:00Z", "NUMERIC '-99999999999999999999999999999.999999999'": "-99999999999999999999999999999.999999999",
		"INTERVAL 3 DAY": "0-0 3 0:0:0", "RANGE<DATE> '[2026-01-01, UNBOUNDED)'": "[2026-01-01, UNBOUNDED)", "[STRUCT(1 AS a)]": `[{"a":1}]`, "JSON '[1]'": "[1]",
		"ST_GEOGFROMTEXT('POINT(1 2)')": "POINT(1 2)", "TIME '23:59:59.5'": "23:59:59.500", "CAST('NaN' AS FLOAT64)": "NaN",
	} {
		for b, err := range s.Read(t.Context(), model("SELECT "+sql+" AS v")) {
			require.NoError(t, err, sql)
			require.Equal(t, want, textOf(b.Column(0)), sql)
		}
	}
	q := numbers(100_000)
	q.Model.Iterator = resource.Iterator{Column: "i", Type: resource.IteratorInteger}
	plan, err := s.Plan(t.Context(), q, 4)
	require.NoError(t, err)
	require.Equal(t, "100000", plan.Watermark)
	rows := 0
	for _, r := range plan.Parts {
		q.Snapshot, q.Range = plan.Snapshot, r
		got, err := values(t.Context(), s, q)
		require.NoError(t, err)
		rows += len(got)
	}
	require.Equal(t, 100_000, rows)
	_, ok := source.As[source.Browser](s)
	require.True(t, ok)
}
