package rpc_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

// faultsOf answers the violations of a text that is no m, as line:column field.
func faultsOf(t *testing.T, text string, m proto.Message) []string {
	t.Helper()
	err := rpc.UnmarshalJSON([]byte(text), m)
	require.Error(t, err, text)
	f := fault.As(err)
	require.Equal(t, fault.Invalid, f.Class)
	out := make([]string, len(f.Violations))
	for i, v := range f.Violations {
		require.NotContains(t, v.String(), "secret", "no value is in an error")
		out[i] = fmt.Sprintf("%d:%d %s", v.Line, v.Column, v.Field)
	}
	return out
}

func TestEveryMistakeOfADocumentIsToldWithItsPlace(t *testing.T) {
	require.Equal(t, []string{
		"2:10 meta.id",
		"3:23 meta.labels.team",
		"5:13 colour",
		"6:12 mode",
		"7:25 schedule.cron",
		"7:48 schedule.on_demand",
		"8:12 from",
		"9:13 version",
		"10:36 guard.deletes.min_rows",
		"11:14 lookback",
	}, faultsOf(t, `{"meta": {
  "id":  7,
  "labels": {"team":  false}
 },
 "colour":  "secret",
 "mode":   "secret",
 "schedule": {"cron":   "secret", "on_demand": {}},
 "from":   "secret",
 "version": 9223372036854775808,
 "guard": {"deletes": {"min_rows": "secret"}},
 "lookback": ["secret"]
}`, &configv1.Sync{}))
}

func TestNoTextIsTakenThatMeansTwoThings(t *testing.T) {
	sync := func() proto.Message { return &configv1.Sync{} }
	require.Equal(t, []string{"1:16 "}, faultsOf(t, `{"delay":"1m", "delay":"secret"}`, sync()))
	require.Equal(t, []string{"1:36 dataModel"}, faultsOf(t, `{"data_model":"a",   "dataModel":  "secret"}`, sync()))
	require.Equal(t, []string{"1:44 schedule.on_demand"}, faultsOf(t, `{"schedule":{"every":{}, "on_demand":      {}}}`, sync()))
	require.Equal(t, []string{"1:4 "}, faultsOf(t, `{} {}`, sync()))
	require.Equal(t, []string{"1:11 "}, faultsOf(t, "{\"delay\":\"\xff\"}", sync()))
}

func TestWhatADocumentCostsIsBounded(t *testing.T) {
	require.Len(t, faultsOf(t, strings.Repeat("[", 1_000_000), &configv1.Mapping{}), 1)
	require.Len(t, faultsOf(t, `{"rules":[`+strings.Repeat(`{},`, 200_000)+`{}]}`, &configv1.Mapping{}), 1)
	require.Len(t, faultsOf(t, `{"rules":[`+strings.Repeat(`{"a":1},`, 1000)+`{}]}`, &configv1.Mapping{}), 100)
	long := strings.Repeat("x", 10_000)
	err := rpc.UnmarshalJSON([]byte(`{"`+long+`":1}`), &configv1.Mapping{})
	require.Less(t, len(err.Error()), 1000, "also of names that the caller made up")
}

func TestNumbersAreTakenInTheirRange(t *testing.T) {
	for text, want := range map[string]int64{
		`{"run_no":"9223372036854775807"}`: 1<<63 - 1, `{"run_no":-9223372036854775808}`: -1 << 63, `{"run_no":1.2e1}`: 12, `{"run_no":"12.0"}`: 12, `{"run_no":null}`: 0,
	} {
		var r schedulerv1.Run
		require.NoError(t, rpc.UnmarshalJSON([]byte(text), &r), text)
		require.Equal(t, want, r.GetRunNo(), text)
	}
	for _, text := range []string{`9223372036854775808`, `"-9223372036854775809"`, `1.5`, `"x"`, `""`, `true`, `1e999999999`, `"0x10"`, `"1_000"`} {
		require.Equal(t, []string{"1:11 run_no"}, faultsOf(t, `{"run_no":`+text+`}`, &schedulerv1.Run{}))
	}
	for _, text := range []string{`-1`, `4294967296`} {
		require.Equal(t, []string{"1:9 part"}, faultsOf(t, `{"part":`+text+`}`, &schedulerv1.Part{}))
	}
	for _, text := range []string{`"x"`, `1e400`, `""`, `{}`} {
		require.Equal(t, []string{"1:12 percent"}, faultsOf(t, `{"percent":`+text+`}`, &configv1.RejectLimit{}))
	}
	for _, text := range []string{`1`, `"1.5"`, `"NaN"`, `"-Infinity"`, `1e-3`} {
		require.NoError(t, rpc.UnmarshalJSON([]byte(`{"percent":`+text+`}`), &configv1.RejectLimit{}), text)
	}
}

func TestNullIsAValueOnlyWhereOneIsAskedFor(t *testing.T) {
	var r configv1.Rule
	require.NoError(t, rpc.UnmarshalJSON([]byte(`{"static":null,"to":null,"rules":null}`), &r))
	require.NotNil(t, r.GetStatic(), "a static NULL")
	require.Empty(t, r.GetRules())
	require.Equal(t, []string{"1:12 rules[0]"}, faultsOf(t, `{"rules": [null]}`, &configv1.Mapping{}))
	b, err := rpc.PlainJSON([]byte(`{"lookback":null,"dataModel":"x"}`), (&configv1.Sync{}).ProtoReflect().Descriptor())
	require.NoError(t, err)
	require.JSONEq(t, `{"lookback":null,"data_model":"x"}`, string(b))
}

func TestBytesAndWellKnownMessagesAreJudgedInPlace(t *testing.T) {
	for _, text := range []string{`"AAE="`, `"AAE"`, `"_-8="`, `""`} {
		require.NoError(t, rpc.UnmarshalJSON([]byte(`{"row":`+text+`}`), &ingestionv1.ExportedReject{}), text)
	}
	require.Equal(t, []string{"1:8 row"}, faultsOf(t, `{"row":"secret!"}`, &ingestionv1.ExportedReject{}))
	require.Equal(t, []string{"1:16 update_mask"}, faultsOf(t, `{"update_mask":["secret"]}`, &configv1.UpdateSyncRequest{}))
	require.Equal(t, []string{"1:13 row"}, faultsOf(t, `  {"row":   "secret"}`, &configv1.PreviewedRow{}))
	var o descriptorpb.FieldOptions
	require.NoError(t, rpc.UnmarshalJSON([]byte(`{"ctype":"cord"}`), &o), "google.protobuf has messages without a form of their own")
}
