package sqltext_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/sqltext"
)

func TestCleanCutsWhatStandsBehindTheStatement(t *testing.T) {
	for in, want := range map[string]string{
		"SELECT 1":                        "SELECT 1",
		" SELECT 1 ; ;\n-- done":          " SELECT 1",
		"SELECT 1 -- one\n":               "SELECT 1",
		"SELECT ';' ; /* a /* b */ ; */":  "SELECT ';'",
		"SELECT 1 AS \"a;\"\"b\";":        "SELECT 1 AS \"a;\"\"b\"",
		"SELECT $$;'$$;":                  "SELECT $$;'$$",
		"SELECT $a$ $$ ; $a$ ;":           "SELECT $a$ $$ ; $a$",
		"SELECT E'\\'; --' ;":             "SELECT E'\\'; --'",
		"SELECT '\\' ; -- '":              "SELECT '\\'",
		"SELECT a$b$ FROM t;":             "SELECT a$b$ FROM t",
		"SELECT 1; DROP TABLE x;":         "SELECT 1; DROP TABLE x", // the engine counts the statements
		"SELECT 1；":                       "SELECT 1；",
		"-- head\nSELECT 1\n;\n/* end */": "-- head\nSELECT 1",
	} {
		got, err := sqltext.Clean(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
	}
}

func TestCleanRefuses(t *testing.T) {
	for in, what := range map[string]string{
		"":                                      "empty",
		" ; -- x":                               "empty",
		"SELECT '":                              "line 1",
		"SELECT 1\n/* ":                         "line 2",
		"SELECT $x$ 1 $y$":                      "not closed",
		"SELECT \x00":                           "NUL",
		"SELECT \xff":                           "UTF-8",
		strings.Repeat("x", 1+sqltext.MaxBytes): "1 MiB",
	} {
		_, err := sqltext.Clean(in)
		require.ErrorContains(t, err, what)
		require.Equal(t, fault.Invalid, fault.ClassOf(err))
		require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err))
	}
}

func TestTablesAreNames(t *testing.T) {
	for _, ok := range []string{"t", "main.t", `"my table"`, `db."a""b".t`, "größe", "_x$1"} {
		got, err := sqltext.Select(resource.DataModel{Table: ok})
		require.NoError(t, err)
		require.Equal(t, "SELECT * FROM "+ok, got)
	}
	for _, bad := range []string{"t; DROP TABLE x", "t x", "a.b.c.d", ".t", "t.", `"`, `""`, "1t", "f()", "'a.csv'", "t--"} {
		_, err := sqltext.Select(resource.DataModel{Table: bad})
		require.Error(t, err, bad)
	}
}

func TestSameNames(t *testing.T) {
	require.NoError(t, sqltext.SameNames([]string{"a", "b"}))
	err := sqltext.SameNames([]string{"Id", "a", "id", "a"})
	require.ErrorContains(t, err, `columns "Id" and "id" differ only in case`)
	require.ErrorContains(t, err, `column "a" is selected twice`)
}

func FuzzClean(f *testing.F) {
	f.Add("SELECT E'\\'' $a$ ; -- /* \n;")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := sqltext.Clean(s)
		if err != nil {
			return
		}
		require.True(t, strings.HasPrefix(s, got))
		again, err := sqltext.Clean(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
