package run_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/run"
)

func TestSources(t *testing.T) {
	a, err := txtar.ParseFile("testdata/source.txtar")
	require.NoError(t, err)
	for _, f := range a.Files {
		t.Run(f.Name, func(t *testing.T) {
			var (
				s    run.Source
				read int64
				want string
			)
			for line := range strings.Lines(string(f.Data)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
				value = strings.TrimSpace(value)
				switch {
				case name == "planned":
					s.Snapshot = value
				case name == "counted" && value != "-":
					n := number(t, value)
					s.Counted = &n
				case name == "under":
					for _, under := range strings.Fields(value) {
						s = s.Under(strings.TrimPrefix(under, "-"))
					}
				case name == "read":
					read = number(t, value)
				case name == "want":
					want = value
				}
			}
			got := []string{"snapshots " + strings.Join(s.Read(), " ")}
			if rows := s.Rows(); rows != nil {
				got = append(got, fmt.Sprintf("%d rows", *rows))
			}
			for _, gap := range s.Gaps(read) {
				what, _, _ := strings.Cut(gap, ";")
				got = append(got, what)
			}
			require.Equal(t, want, strings.Join(got, "; "))
		})
	}
}

func TestARunThatLacksARowOfItsSourceIsNotBalanced(t *testing.T) {
	n := int64(3)
	a := run.Account{Rows: 2, Read: hash(3), Accounted: hash(3), Counts: record.Counts{Read: 2, Mapped: 2, Created: 2}}
	require.True(t, a.Balanced())
	c := run.Certify(run.Succeeded, a, run.Source{Snapshot: "s1", Counted: &n, Snapshots: []string{"s1"}})
	require.False(t, c.Balanced)
	require.Equal(t, &n, c.SourceRows)
}
