//go:build cgo && duckdb_arrow

package sharing_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/sharing"
	"millrace.dev/pkg/source/sharing/sharingtest"
	"millrace.dev/pkg/source/sourcetest"
)

// feeds are servers that mirrors must come to the same on.
func feeds() map[string]sharingtest.Options {
	return map[string]sharingtest.Options{
		"a server of today": {PageFiles: 2}, "an old server": {NoEnd: true, NoRanges: true}, "without statistics": {NoStats: true}, "a file for each row": {FileRows: 1},
	}
}

func TestChanges(t *testing.T) {
	const versions = "a state is a version, of which nothing is kept that could be dropped; TestAFeedIsLost is of its own"
	exceptions := map[string]string{
		"NullsAndValuesOfAllTypes":    "it asks for an INTERVAL, which Delta Sharing does not carry; TestChangesOfAllTypes has the others",
		"Columns":                     "no feed tells what altering a table did to its rows; TestAFeedIsLost has it read everything",
		"UnconfirmedStatesAreDropped": versions, "TheBaseIsGone": versions, "Drop": versions, "Clear": versions,
	}
	for name, o := range feeds() {
		if o.FileRows > 0 {
			continue // tables of the suite would be thousands of files
		}
		t.Run(name, func(t *testing.T) {
			sourcetest.RunChanges(t, sourcetest.Harness{
				Driver: sharing.New(sharing.Settings{PartRows: 1000}), PartRows: 1000, Engine: resource.Native, Exceptions: exceptions,
				New: func(t *testing.T) sourcetest.Warehouse {
					p := sharingtest.Start(t, o)
					return sourcetest.Warehouse{Connection: p.Connection(), Exec: func(t *testing.T, sql string) { p.Exec(t, zoned(sql)) }}
				},
			})
		})
	}
}

// TestChangesOfAllTypes changes one value of each type to another, to NULL and back, and sees each of it: as a value that
// counts, and as the key.
func TestChangesOfAllTypes(t *testing.T) {
	for _, c := range []struct{ typ, a, b string }{
		{"BOOLEAN", "TRUE", "FALSE"}, {"TINYINT", "0", "-128"}, {"SMALLINT", "0", "1"}, {"INTEGER", "0", "1"}, {"BIGINT", "0", "-9223372036854775808"},
		{"FLOAT", "0", "0.5"}, {"DOUBLE", "'NaN'", "'-Infinity'"}, {"DECIMAL(20,8)", "0", "0.00000001"}, {"DECIMAL(38,0)", "0", "99999999999999999999999999999999999999"},
		{"VARCHAR", "''", "' '"}, {"BLOB", `'\x00'`, `'\x00\x00'`}, {"DATE", "'0001-01-01'", "'9999-12-31'"},
		{"TIMESTAMPTZ", "'2026-01-01 00:00:00+00'", "'2026-01-01 00:00:00.000001+00'"},
		{"BIGINT[]", "[1]", "[1, NULL]"}, {"STRUCT(a VARCHAR, b BIGINT)", "{'a': 'x', 'b': NULL}", "{'a': NULL, 'b': NULL}"}, {"MAP(VARCHAR, BIGINT)", "MAP {'x': 1}", "MAP {'x': NULL}"},
	} {
		t.Run(c.typ, func(t *testing.T) {
			a, b := "CAST("+c.a+" AS "+c.typ+")", "CAST("+c.b+" AS "+c.typ+")"
			p := sharingtest.Start(t, sharingtest.Options{})
			p.Exec(t, "CREATE TABLE v (id BIGINT, v "+c.typ+"); INSERT INTO v VALUES (1, "+a+"), (2, "+b+"), (3, NULL)")
			f := follow(t, p, "v", "v")
			f.next(t)
			p.Exec(t, "UPDATE v SET v = "+b+" WHERE id = 1; UPDATE v SET v = NULL WHERE id = 2; UPDATE v SET v = "+a+" WHERE id = 3")
			_, rows, _ := f.next(t)
			require.ElementsMatch(t, []string{"1", "2", "3"}, rows)
			p.Exec(t, "UPDATE v SET v = NULL")
			p.Exec(t, "UPDATE v SET v = CASE id WHEN 1 THEN "+b+" WHEN 3 THEN "+a+" END")
			_, rows, _ = f.next(t)
			require.Empty(t, rows, "there and back")

			p.Exec(t, "CREATE TABLE k (v "+c.typ+", id BIGINT); INSERT INTO k VALUES ("+a+", 1), ("+b+", 2)")
			f = follow(t, p, "k", "id")
			f.q.Model.KeyColumns = []string{"v"}
			f.next(t)
			p.Exec(t, "DELETE FROM k WHERE id = 1; UPDATE k SET id = 3 WHERE id = 2")
			_, rows, gone := f.next(t)
			require.Len(t, rows, 1)
			require.Len(t, gone, 1)
		})
	}
}
