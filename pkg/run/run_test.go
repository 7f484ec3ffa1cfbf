package run_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/run"
)

// transitions reads lines of the form `state + event -> state`.
func transitions(t *testing.T, file string) map[[2]string]string {
	t.Helper()
	a, err := txtar.ParseFile("testdata/states.txtar")
	require.NoError(t, err)
	out := map[[2]string]string{}
	for _, f := range a.Files {
		if f.Name != file {
			continue
		}
		for line := range strings.Lines(string(f.Data)) {
			w := strings.Fields(line)
			require.Len(t, w, 5, line)
			out[[2]string{w[0], w[2]}] = w[4]
		}
	}
	require.NotEmpty(t, out)
	return out
}

func TestRunsFollowTheTable(t *testing.T) {
	want := transitions(t, "runs")
	for _, s := range run.States() {
		for _, e := range run.Events() {
			to, err := run.Next(s, e)
			listed, ok := want[[2]string{string(s), string(e)}]
			if !ok {
				require.Equal(t, fault.ReasonRunState, fault.ReasonOf(err), "%s + %s", s, e)
				require.Equal(t, s, to)
				continue
			}
			require.NoError(t, err, "%s + %s", s, e)
			require.Equal(t, run.State(listed), to, "%s + %s", s, e)
			delete(want, [2]string{string(s), string(e)})
		}
	}
	require.Empty(t, want, "the table names what does not exist")
}

func TestPartsFollowTheTable(t *testing.T) {
	want := transitions(t, "parts")
	for _, s := range run.PartStates() {
		for _, e := range run.PartEvents() {
			to, err := run.NextPart(s, e)
			listed, ok := want[[2]string{string(s), string(e)}]
			if !ok {
				require.Equal(t, fault.ReasonRunState, fault.ReasonOf(err), "%s + %s", s, e)
				require.Equal(t, s, to)
				continue
			}
			require.NoError(t, err, "%s + %s", s, e)
			require.Equal(t, run.PartState(listed), to, "%s + %s", s, e)
			delete(want, [2]string{string(s), string(e)})
		}
	}
	require.Empty(t, want, "the table names what does not exist")
}

func TestAClosedRunStaysAsItIs(t *testing.T) {
	for _, s := range run.States() {
		for _, e := range run.Events() {
			if to, err := run.Next(s, e); s.Closed() {
				require.Error(t, err)
				require.Equal(t, s, to)
			}
		}
		require.Equal(t, s.Done(), s == run.Succeeded || s == run.PartiallySucceeded)
	}
}
