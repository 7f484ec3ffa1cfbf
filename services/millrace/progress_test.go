package millrace

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

func TestALineFitsTheTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &schedulerv1.Run{
			Sync: rapid.StringN(0, 64, -1).Draw(t, "sync"), RunNo: rapid.Int64Min(0).Draw(t, "run_no"),
			State:        schedulerv1.RunState(rapid.Int32Range(0, 9).Draw(t, "state")),
			IngestedRows: rapid.Int64Range(0, 1e15).Draw(t, "ingested"), EstimatedRows: rapid.Int64Range(0, 1e15).Draw(t, "estimated"),
		}
		rate, width := rapid.Float64Range(0, 1e9).Draw(t, "rate"), rapid.IntRange(0, 200).Draw(t, "width")
		line := bar(r, rate, width)
		require.LessOrEqual(t, utf8.RuneCountInString(line), width)
		require.NotContains(t, line, "\n")
		require.NotContains(t, plainLine(r, rate), "\n")
	})
}

func TestANoteStandsOnALineOfItsOwn(t *testing.T) {
	var out bytes.Buffer
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := newProgress(IO{Err: &out, Width: func() int { return 80 }, Now: func() time.Time { return at }})
	p.show(&schedulerv1.Run{Sync: "s", RunNo: 1, State: schedulerv1.RunState_RUN_STATE_QUEUED})
	p.note("gone")
	p.show(&schedulerv1.Run{Sync: "s", RunNo: 1, State: schedulerv1.RunState_RUN_STATE_SUCCEEDED})
	p.end()
	p.end()
	require.Equal(t, "\rs #1  queued      0 rows\ngone\n\rs #1  succeeded   100%  0 rows\n", out.String())
	require.Equal(t, 3, strings.Count(out.String(), "\n"))
}
