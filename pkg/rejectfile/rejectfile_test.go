package rejectfile_test

import (
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/rejectfile"
)

func some() []*ingestionv1.ExportedReject {
	when := timestamppb.New(time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC))
	return []*ingestionv1.ExportedReject{
		{Reject: &ingestionv1.Reject{Batch: "r/1/1/0", KeyValues: []string{"1", "a"}, Stage: "map", Column: "age", Rule: "rules[1]", Reason: "is no number", CreateTime: when}, Row: []byte(`{"id":1,"age":"=1+1","note":null}`)},
		{Reject: &ingestionv1.Reject{Stage: "ingest", Reason: "lost"}},
		{Reject: &ingestionv1.Reject{Stage: "map", Reason: "another"}, Row: []byte(`{"tags":["x",2],"id":9007199254740993}`)},
	}
}

func sequence(all []*ingestionv1.ExportedReject, last error) iter.Seq2[*ingestionv1.ExportedReject, error] {
	return func(yield func(*ingestionv1.ExportedReject, error) bool) {
		for _, x := range all {
			if !yield(x, nil) {
				return
			}
		}
		if last != nil {
			yield(nil, last)
		}
	}
}

func TestLinesHaveRowsAsTheyAre(t *testing.T) {
	var b strings.Builder
	n, err := rejectfile.WriteLines(&b, sequence(some(), nil))
	require.NoError(t, err)
	require.Equal(t, 3, n)
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	require.Len(t, lines, 3)
	require.Contains(t, lines[0], `"reason":"is no number"`)
	require.True(t, strings.HasSuffix(lines[0], `,"row":{"id":1,"age":"=1+1","note":null}}`), lines[0])
	require.True(t, strings.HasSuffix(lines[1], `,"row":null}`), lines[1])
	require.True(t, strings.HasSuffix(lines[2], `"id":9007199254740993}}`), "no figure is rounded")
}

func TestCSVHasAColumnForEachOfTheRowsAndRunsNoFormula(t *testing.T) {
	var b strings.Builder
	n, err := rejectfile.WriteCSV(&b, func() iter.Seq2[*ingestionv1.ExportedReject, error] { return sequence(some(), nil) })
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Equal(t, `reject_batch,reject_key_values,reject_stage,reject_column,reject_rule,reject_reason,reject_time,id,age,note,tags
r/1/1/0,"1, a",map,age,rules[1],is no number,2026-11-28T09:00:00Z,1,'=1+1,,
,,ingest,,,lost,,,,,
,,map,,,another,,9007199254740993,,,"[""x"",2]"
`, b.String())
}

func TestAnExportThatBreaksOffIsAnError(t *testing.T) {
	lost := errors.New("lost")
	n, err := rejectfile.WriteLines(&strings.Builder{}, sequence(some()[:1], lost))
	require.ErrorIs(t, err, lost)
	require.Equal(t, 1, n)
	_, err = rejectfile.WriteCSV(&strings.Builder{}, func() iter.Seq2[*ingestionv1.ExportedReject, error] { return sequence(some()[:1], lost) })
	require.ErrorIs(t, err, lost)
}
