package rpc_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

func TestARunInTheFormOfTheDocumentation(t *testing.T) {
	run := &schedulerv1.Run{
		Id: "r<1>", RunNo: 1 << 60, State: schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED, Lane: schedulerv1.Lane_LANE_LIVE,
		Counts: &schedulerv1.Counts{Read: 3}, StartTime: timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
	}
	b, err := rpc.MarshalJSON(run)
	require.NoError(t, err)
	again, err := rpc.MarshalJSON(run)
	require.NoError(t, err)
	require.Equal(t, string(b), string(again), "the same bytes each time")

	var m map[string]any
	require.NoError(t, json.Unmarshal(b, &m))
	require.Equal(t, "r<1>", m["id"])
	require.Contains(t, string(b), `"r<1>"`, "nothing is escaped without need")
	require.Equal(t, "1152921504606846976", m["run_no"])
	require.Equal(t, "partially_succeeded", m["state"])
	require.Equal(t, "live", m["lane"])
	require.Equal(t, "2026-01-02T03:04:05Z", m["start_time"])
	require.NotContains(t, m, "end_time", "what is unset is left out")
	counts := m["counts"].(map[string]any) //nolint:forcetypeassert // the test fails
	require.Equal(t, "3", counts["read"])
	require.Equal(t, "0", counts["created"], "zeros are there")

	var back schedulerv1.Run
	require.NoError(t, rpc.UnmarshalJSON(b, &back))
	require.True(t, proto.Equal(run, &back))
}

func TestEveryMessageThereAndBack(t *testing.T) {
	s, err := structpb.NewStruct(map[string]any{"b": 1.5, "a": []any{"x", nil, true}})
	require.NoError(t, err)
	for _, m := range []proto.Message{
		&configv1.CreateSyncRequest{Sync: &configv1.Sync{Meta: &configv1.Meta{Id: "s"}, Mode: configv1.Mode_MODE_INCREMENTAL}},
		&configv1.UpdateSyncRequest{UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name", "schedule.cron"}}},
		s,
		&descriptorpb.UninterpretedOption{DoubleValue: proto.Float64(math.Inf(-1)), StringValue: []byte{0, 255}, NegativeIntValue: proto.Int64(-5), PositiveIntValue: proto.Uint64(math.MaxUint64)},
		&descriptorpb.FieldOptions{Ctype: descriptorpb.FieldOptions_CORD.Enum(), Packed: proto.Bool(false)},
	} {
		b, err := rpc.MarshalJSON(m)
		require.NoError(t, err)
		require.True(t, json.Valid(b), string(b))
		back := m.ProtoReflect().New().Interface()
		require.NoError(t, rpc.UnmarshalJSON(b, back), string(b))
		require.True(t, proto.Equal(m, back), string(b))
	}
	b, err := rpc.MarshalJSON(&configv1.UpdateSyncRequest{UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name", "schedule.cron"}}})
	require.NoError(t, err)
	require.Contains(t, string(b), `"display_name,schedule.cron"`)
}

func TestTheNamesOfEnumsAreReadToo(t *testing.T) {
	for _, text := range []string{`{"state":"succeeded"}`, `{"state":"RUN_STATE_SUCCEEDED"}`, `{"state":5}`, `{"state":"Succeeded"}`} {
		var r schedulerv1.Run
		require.NoError(t, rpc.UnmarshalJSON([]byte(text), &r))
		require.Equal(t, schedulerv1.RunState_RUN_STATE_SUCCEEDED, r.GetState())
	}
}

func TestWhatJSONCanNotBeIsToldAsInvalid(t *testing.T) {
	for _, text := range []string{``, `{`, `[]`, `{"nope":1}`, `{"state":"nope"}`, `{"run_no":"x"}`, `{} {}`} {
		err := rpc.UnmarshalJSON([]byte(text), &schedulerv1.Run{})
		require.Equal(t, fault.Invalid, fault.ClassOf(err), text)
	}
	require.ErrorContains(t, rpc.UnmarshalJSON([]byte(`{"nope":1}`), &schedulerv1.Run{}), `"nope"`)
}

func FuzzUnmarshalJSON(f *testing.F) {
	f.Add([]byte(`{"state":"succeeded","counts":{"read":"3"},"start_time":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r schedulerv1.Run
		if rpc.UnmarshalJSON(data, &r) != nil {
			return
		}
		b, err := rpc.MarshalJSON(&r)
		require.NoError(t, err)
		var back schedulerv1.Run
		require.NoError(t, rpc.UnmarshalJSON(b, &back))
		again, err := rpc.MarshalJSON(&back)
		require.NoError(t, err)
		require.Equal(t, string(b), string(again))
	})
}
