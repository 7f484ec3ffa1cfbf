package mapper

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/stretchr/testify/require"

	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/wire"
)

func stream(t *testing.T, s *arrow.Schema, batches ...arrow.RecordBatch) []byte {
	var b bytes.Buffer
	w := ipc.NewWriter(&b, ipc.WithSchema(s))
	for _, r := range batches {
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestAMappingIsValidatedAgainstASchema(t *testing.T) {
	w := newWorld(t)
	s := customers()
	schema := stream(t, people().Schema())
	ok, err := w.client.ValidateMapping(t.Context(), &mapperv1.ValidateMappingRequest{
		Mapping: resourcepb.ToMapping(*s.Mapping), DataModel: resourcepb.ToDataModel(s.DataModel), ArrowSchema: schema,
	})
	require.NoError(t, err)
	require.Equal(t, []string{"id"}, ok.GetKeyColumns())
	require.Equal(t, []string{"user_identities.customer_id", "user_attributes.$age"}, ok.GetFields()[:2])

	s.Mapping.Rules = []resource.Rule{{Column: "nope", To: "user_attributes.a.b"}, {Column: "note", To: "user_identities.mail"}}
	_, err = w.client.ValidateMapping(t.Context(), &mapperv1.ValidateMappingRequest{
		Mapping: resourcepb.ToMapping(*s.Mapping), DataModel: resourcepb.ToDataModel(s.DataModel), ArrowSchema: schema,
	})
	e := fault.As(err)
	require.Equal(t, fault.ReasonMappingInvalid, e.Reason)
	require.Len(t, e.Violations, 4, "%v", err) // the column, the identity, the columns left over, no identity at all

	byName, err := w.client.ValidateMapping(t.Context(), &mapperv1.ValidateMappingRequest{
		DataModel:   resourcepb.ToDataModel(s.DataModel),
		ArrowSchema: stream(t, arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "email", Type: arrow.BinaryTypes.String}}, nil)),
	})
	require.NoError(t, err)
	require.Equal(t, []string{"user_attributes.id", "user_identities.email"}, byName.GetFields())
}

func TestAPreviewAnswersEachRowInItsOrder(t *testing.T) {
	w := newWorld(t)
	s := customers()
	r, err := w.client.PreviewMapping(t.Context(), &mapperv1.PreviewMappingRequest{
		Mapping: resourcepb.ToMapping(*s.Mapping), DataModel: resourcepb.ToDataModel(s.DataModel),
		Arrow: stream(t, people().Schema(), people(person{1, "30", 3}, person{2, "x", 3}), people(person{3, "40", 3})),
	})
	require.NoError(t, err)
	require.Len(t, r.GetRows(), 3)
	require.Equal(t, "1", r.GetRows()[0].GetRecord().AsMap()["user_identities"].(map[string]any)["customer_id"])
	require.Nil(t, r.GetRows()[1].GetRecord())
	require.Equal(t, "rules[1]", r.GetRows()[1].GetRejects()[0].GetRule())
	require.InDelta(t, 40, r.GetRows()[2].GetRecord().AsMap()["user_attributes"].(map[string]any)["$age"], 0)
	o, b, err := wire.DecodeRecords(r.GetRecords(), 1<<20)
	require.NoError(t, err)
	require.Equal(t, int64(3), b.Rows())
	require.False(t, o.Batch.Run.IsZero())
}

func TestRequestsThatAreNoArrowAreRefused(t *testing.T) {
	w := newWorld(t)
	whole := stream(t, people().Schema(), people(person{1, "30", 3}))
	for _, data := range [][]byte{nil, []byte("junk"), whole[:len(whole)/2], bytes.Repeat([]byte{0xff}, 100)} {
		_, err := w.client.PreviewMapping(t.Context(), &mapperv1.PreviewMappingRequest{Arrow: data})
		require.Equal(t, fault.Invalid, fault.ClassOf(err), "%v", err)
	}
	var many []person
	for i := range 101 {
		many = append(many, person{int64(i), "1", 1})
	}
	_, err := w.client.PreviewMapping(t.Context(), &mapperv1.PreviewMappingRequest{Arrow: stream(t, people().Schema(), people(many...))})
	require.ErrorContains(t, err, "has more than 100 rows")
}

// A schema of a few bytes that claims 2^30 columns takes little memory.
func TestTheNumberOfColumnsOfAStreamIsNotBelieved(t *testing.T) {
	const columns = 77 // stands nowhere else in the schema
	fields := make([]arrow.Field, columns)
	for i := range fields {
		fields[i] = arrow.Field{Name: "c", Type: arrow.BinaryTypes.String}
	}
	data := stream(t, arrow.NewSchema(fields, nil))
	found := 0
	for at := 8; at+4 <= len(data); at += 4 {
		if binary.LittleEndian.Uint32(data[at:]) == columns {
			binary.LittleEndian.PutUint32(data[at:], 1<<30)
			found++
		}
	}
	require.Equal(t, 1, found)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := readStream(data, "arrow_schema", 0)
	runtime.ReadMemStats(&after)
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	require.ErrorContains(t, err, "arrow_schema is no Arrow IPC stream")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}
