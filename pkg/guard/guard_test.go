package guard_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/guard"
	"millrace.dev/pkg/resource"
)

// example is one case of the case file.
type example struct {
	guard  resource.Guard
	mode   resource.Mode
	kind   resource.RecordKind
	facts  guard.Facts
	limit  resource.RejectLimit
	failed int64
	rows   int64
	end    bool
	want   string
}

func TestCases(t *testing.T) {
	a, err := txtar.ParseFile("testdata/guard.txtar")
	require.NoError(t, err)
	for _, f := range a.Files {
		t.Run(f.Name, func(t *testing.T) {
			x := read(t, string(f.Data))
			var got []string
			for _, b := range guard.Judge(guard.Of(x.guard, x.mode, x.kind), x.facts) {
				require.NotEmpty(t, b.Message)
				got = append(got, b.Bound)
			}
			if guard.Rejects(x.limit, x.failed, x.rows, x.end) {
				got = append(got, "rejects")
			}
			require.Equal(t, x.want, strings.Join(got, " "))
		})
	}
}

func read(t *testing.T, text string) example {
	t.Helper()
	x := example{facts: guard.Facts{Nulls: map[string]int64{}}}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		scan := func(format string, to ...any) {
			_, err := fmt.Sscanf(value, format, to...)
			require.NoError(t, err, line)
		}
		switch name {
		case "guard":
			bound(t, value, &x.guard)
		case "mode":
			scan("%s %s", &x.mode, &x.kind)
		case "read":
			scan("%d", &x.facts.Read)
			x.facts.Rows = x.facts.Read
		case "rows":
			scan("%d", &x.facts.Rows)
		case "updated":
			scan("%d of %d known", &x.facts.Updated, &x.facts.Known)
		case "deleted":
			scan("%d of %d known", &x.facts.Deleted, &x.facts.Known)
		case "nulls":
			var column string
			var n int64
			scan("%s %d", &column, &n)
			x.facts.Nulls[column] = n
		case "average":
			scan("%g of %d runs", &x.facts.Average, &x.facts.Runs)
		case "reject limit":
			scan("%g of %d", &x.limit.Percent, &x.limit.Of)
		case "failed":
			scan("%d of %d", &x.failed, &x.rows)
		case "end":
			x.end = true
		case "want":
			x.want = value
		default:
			require.Fail(t, "no such line", line)
		}
	}
	return x
}

func bound(t *testing.T, value string, g *resource.Guard) {
	t.Helper()
	name, rest, _ := strings.Cut(value, " ")
	if name == "rows" {
		g.Rows = &resource.GuardRows{}
		_, err := fmt.Sscanf(rest, "%g", &g.Rows.MinPercentOfAverage)
		require.NoError(t, err)
		return
	}
	l := &resource.GuardLimit{}
	_, err := fmt.Sscanf(rest, "%g %d", &l.MaxPercent, &l.MinRows)
	require.NoError(t, err)
	*map[string]**resource.GuardLimit{"deletes": &g.Deletes, "updates": &g.Updates, "nulls": &g.Nulls}[name] = l
}

func TestAWritingRunIsJudgedByWhatOnlyGrows(t *testing.T) {
	limit := &resource.GuardLimit{MaxPercent: 10, MinRows: 1}
	g := resource.Guard{Updates: limit, Nulls: limit, Rows: &resource.GuardRows{MinPercentOfAverage: 50}}
	f := guard.Facts{Known: 100, Read: 5, Rows: 5, Nulls: map[string]int64{"a": 5}, Average: 100, Runs: 3}
	require.Empty(t, guard.Writing(g, f), "fewer rows than usual may still come")
	f.Updated = 11
	require.Len(t, guard.Writing(g, f), 1)
}
