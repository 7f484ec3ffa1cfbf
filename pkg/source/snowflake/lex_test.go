package snowflake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

func TestStatementsAreCutByTheRulesOfSnowflake(t *testing.T) {
	for in, want := range map[string]string{
		"SELECT 1 AS a;":                          "SELECT 1 AS a",
		"SELECT 'it\\'s' AS a ; -- it's\n;":       "SELECT 'it\\'s' AS a",
		"// all\nSELECT $$;'--$$ AS a // ;":       "// all\nSELECT $$;'--$$ AS a",
		"WITH a AS (SELECT 1) SELECT * FROM a":    "WITH a AS (SELECT 1) SELECT * FROM a",
		"(SELECT 1 AS a)":                         "(SELECT 1 AS a)",
		"SELECT v:a.b::VARCHAR AS a FROM t /*;*/": "SELECT v:a.b::VARCHAR AS a FROM t",
	} {
		s, err := statementOf(resource.DataModel{SQL: in})
		require.NoError(t, err, in)
		require.Equal(t, want, s.text, in)
	}
	for in, want := range map[string]string{
		"SELECT 'a\\'":                    "not closed",
		"SELECT 1\n; DROP TABLE t":        "line 2: the query is more than one statement",
		"DELETE FROM t":                   "no SELECT",
		"CALL p()":                        "no SELECT",
		"SHOW TABLES ->> SELECT * FROM t": "no SELECT",
		"SELECT 1 ->> SELECT 2":           "chain of statements",
		"SELECT ? AS a":                   "parameters",
		"SELECT :1 AS a":                  "parameters",
		"SELECT 1) AS q; DROP TABLE t":    "not open",
	} {
		_, err := statementOf(resource.DataModel{SQL: in})
		require.ErrorContains(t, err, want, in)
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err), in)
	}
}

// Only names of tables get a time; what cannot have one makes the whole statement one that is read as it is.
func TestPinsStandBehindTableNames(t *testing.T) {
	const at = " AT(TIMESTAMP => '2026-01-02T03:04:05.000006000+00:00'::TIMESTAMP_TZ)"
	when := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	for in, want := range map[string]string{
		"SELECT * FROM t":     "SELECT * FROM t@",
		"SELECT a.x FROM t a": "SELECT a.x FROM t@ a",
		`SELECT 1 FROM d."s".t AS a, "u" b JOIN v ON a.x = b.x, w`:                                                         `SELECT 1 FROM d."s".t@ AS a, "u"@ b JOIN v@ ON a.x = b.x, w@`,
		"SELECT EXTRACT(YEAR FROM ts), TRIM(BOTH FROM x) FROM t WHERE a IS NOT DISTINCT FROM b AND c IN (SELECT c FROM u)": "SELECT EXTRACT(YEAR FROM ts), TRIM(BOTH FROM x) FROM t@ WHERE a IS NOT DISTINCT FROM b AND c IN (SELECT c FROM u@)",
		"WITH c AS (SELECT * FROM t), d(x) AS (SELECT 1 FROM c) SELECT f(a, b) FROM c, d, u GROUP BY a, b":                 "WITH c AS (SELECT * FROM t@), d(x) AS (SELECT 1 FROM c) SELECT f(a, b) FROM c, d, u@ GROUP BY a, b",
		"SELECT f.value FROM t, LATERAL FLATTEN(input => t.v) f":                                                           "SELECT f.value FROM t@, LATERAL FLATTEN(input => t.v) f",
		"SELECT 1 FROM (t JOIN u ON TRUE) LEFT JOIN (SELECT * FROM v) x ON TRUE":                                           "SELECT 1 FROM (t@ JOIN u@ ON TRUE) LEFT JOIN (SELECT * FROM v@) x ON TRUE",
		"SELECT 'FROM x' AS a -- FROM y\nFROM t UNION ALL SELECT a FROM u ORDER BY a, b":                                   "SELECT 'FROM x' AS a -- FROM y\nFROM t@ UNION ALL SELECT a FROM u@ ORDER BY a, b",
		"SELECT 1 AS a":                         "SELECT 1 AS a",
		"SELECT a FROM VALUES (1), (2) AS v(a)": "SELECT a FROM VALUES (1), (2) AS v(a)",
	} {
		s, err := statementOf(resource.DataModel{SQL: in})
		require.NoError(t, err, in)
		got, ok := s.pinned(when)
		require.True(t, ok, in)
		var b []byte
		for _, r := range []byte(want) {
			if r == '@' {
				b = append(b, at...)
				continue
			}
			b = append(b, r)
		}
		require.Equal(t, string(b), got)
	}
	for _, in := range []string{
		"SELECT * FROM @stage", "SELECT * FROM TABLE(RESULT_SCAN('x'))", "SELECT * FROM t AT(OFFSET => -60)", "SELECT * FROM f(1)",
		"SELECT * FROM information_schema.tables", "SELECT * FROM d.INFORMATION_SCHEMA.tables", "WITH t AS (SELECT * FROM t) SELECT * FROM t",
		"SELECT * FROM IDENTIFIER('t')", "SELECT * FROM $name",
	} {
		s, err := statementOf(resource.DataModel{SQL: in})
		require.NoError(t, err, in)
		_, ok := s.pinned(when)
		require.False(t, ok, in)
	}
}

func TestWhatVaries(t *testing.T) {
	for in, want := range map[string]bool{
		"SELECT a FROM t": false, "SELECT current_date AS d": true, "SELECT RANDOM() AS r": true, "SELECT random AS r FROM t": false,
		"SELECT s.nextval AS n": true, "SELECT * FROM t SAMPLE (10)": true, "SELECT 'SYSDATE()' AS a": false,
	} {
		s, err := statementOf(resource.DataModel{SQL: in})
		require.NoError(t, err)
		require.Equal(t, want, s.varies(), in)
	}
}

func FuzzStatements(f *testing.F) {
	for _, s := range []string{"SELECT 1", "WITH a AS (SELECT 1) SELECT * FROM a, b", "SELECT ((", "SELECT '\\", "FROM ) ( , JOIN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		s, err := statementOf(resource.DataModel{SQL: sql})
		if err != nil {
			require.Equal(t, fault.Invalid, fault.ClassOf(err))
			return
		}
		text, ok := s.pinned(time.Unix(0, 0))
		require.True(t, !ok || len(text) >= len(s.text))
		s.varies()
	})
}
