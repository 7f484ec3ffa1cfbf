package drift_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"millrace.dev/pkg/drift"
	"millrace.dev/pkg/resource"
)

func TestCases(t *testing.T) {
	a, err := txtar.ParseFile("testdata/drift.txtar")
	require.NoError(t, err)
	for _, f := range a.Files {
		t.Run(f.Name, func(t *testing.T) {
			var was, is []drift.Column
			terms := drift.Terms{Named: map[string]bool{}}
			var want, got []string
			for line := range strings.Lines(string(f.Data)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
				value = strings.TrimSpace(value)
				switch name {
				case "was":
					was = append(was, column(t, value))
				case "is":
					is = append(is, column(t, value))
				case "added":
					terms.Policy.Added = resource.DriftPolicy(value)
				case "named":
					terms.Named[value] = true
				case "approved":
					terms.Approved = true
				case "want":
					want = append(want, value)
				}
			}
			for _, v := range drift.Judge(drift.Compare(was, is), terms) {
				got = append(got, strings.Join([]string{v.Column, string(v.Kind), string(v.Action)}, " "))
				require.Equal(t, v.Action != drift.Mapped, v.Choices != "", "what stands as it is says what else could be done")
			}
			require.Equal(t, want, got)
		})
	}
}

// column reads name, the warehouse's type and the Arrow type, divided by bars.
func column(t *testing.T, text string) drift.Column {
	w := strings.Split(text, "|")
	require.Len(t, w, 3, text)
	return drift.Column{Name: strings.TrimSpace(w[0]), Type: strings.TrimSpace(w[1]), Arrow: strings.TrimSpace(w[2])}
}

func TestVerdictsSayWhatHoldsAndWhatIsLeftOut(t *testing.T) {
	was := []drift.Column{{"a", "INTEGER", "int32"}, {"b", "VARCHAR", "utf8"}}
	is := []drift.Column{{"a", "BIGINT", "int64"}, {"c", "DATE", "date32"}}
	vs := drift.Judge(drift.Compare(was, is), drift.Terms{})
	require.True(t, drift.Holds(vs))
	require.Equal(t, []string{"c"}, drift.Leaves(vs))
	require.Equal(t, drift.Change{Column: "a", Kind: drift.Widened, Was: "INTEGER", Is: "BIGINT"}, vs[0].Change)
	require.Equal(t, drift.Change{Column: "b", Kind: drift.Dropped, Was: "VARCHAR"}, vs[1].Change)
	require.Contains(t, vs[1].Choices, "AS b")
	require.False(t, drift.Holds(drift.Judge(drift.Compare(was, is), drift.Terms{Approved: true})))
}

// Whatever the types: a change one way is the opposite the other way, and nothing differs from itself.
func TestComparingIsAntisymmetric(t *testing.T) {
	types := []string{
		"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "decimal(10, 2)", "decimal(12, 2)",
		"decimal(12, 4)", "decimal(38, 0)", "decimal256(60, 2)", "date32", "timestamp[s]", "timestamp[us]", "timestamp[us, tz=UTC]", "utf8", "bool", "binary",
	}
	opposite := map[drift.Kind]drift.Kind{drift.Widened: drift.Narrowed, drift.Narrowed: drift.Widened, drift.Retyped: drift.Retyped}
	rapid.Check(t, func(t *rapid.T) {
		x, y := rapid.SampledFrom(types).Draw(t, "x"), rapid.SampledFrom(types).Draw(t, "y")
		a, b := []drift.Column{{"c", x, x}}, []drift.Column{{"c", y, y}}
		there, back := drift.Compare(a, b), drift.Compare(b, a)
		if x == y {
			require.Empty(t, there)
			return
		}
		require.Len(t, there, 1)
		require.Equal(t, opposite[there[0].Kind], back[0].Kind, "%s to %s", x, y)
	})
}
