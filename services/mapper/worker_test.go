package mapper

import (
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/telemetry"
	"millrace.dev/pkg/wire"
)

func TestRowsBecomeRecordsAndRejectsOfTheSameBatch(t *testing.T) {
	w := newWorld(t)
	ctx, span := w.tracer.Tracer("extractor").Start(t.Context(), "read batch")
	w.send(ctx, w.origin(0, 3, 1<<20), people(person{1, "30", 5}, person{2, "old", 5}, person{3, "50", 5}), telemetry.Inject(ctx))
	span.End()

	o, b, d := w.next()
	require.Equal(t, w.origin(0, 3, 1<<20), o)
	require.Equal(t, o.Batch.String(), d.ID)
	require.Equal(t, int64(2), b.Record.NumRows())
	require.Len(t, b.Rejects, 1)
	require.Equal(t, "2", b.Rejects[0].KeyValues)
	require.Equal(t, "age", b.Rejects[0].Column)
	require.NotContains(t, b.Rejects[0].Reason, "old")
	require.JSONEq(t, `{"user_identities":{"customer_id":"1"},"user_attributes":`+
		`{"$age":30,`+notes(noise(1, 5))+`}}`, string(record.AppendRecord(nil, b, 0)))

	require.Contains(t, d.Header["traceparent"], span.SpanContext().TraceID().String(), "the batch's trace goes on")
}

func notes(text string) string {
	out := ""
	for i := range 10 {
		if i > 0 {
			out += ","
		}
		out += fmt.Sprintf("%q:%q", fmt.Sprintf("note_%d", i), text)
	}
	return out
}

func TestSpansOfABatchAreOneTrace(t *testing.T) {
	w := newWorld(t)
	ctx, span := w.tracer.Tracer("extractor").Start(t.Context(), "read batch")
	w.send(ctx, w.origin(0, 1, 1<<20), people(person{1, "30", 5}), telemetry.Inject(ctx))
	span.End()
	w.next()
	w.close()
	found := map[string]bool{}
	for _, s := range w.spans.GetSpans() {
		if s.SpanContext.TraceID() == span.SpanContext().TraceID() {
			found[s.Name] = true
		}
	}
	require.True(t, found[telemetry.SpanMap], "%v", found)
	require.True(t, found[telemetry.SpanPublish], "%v", found)
}

// TestABatchThatGrowsTenfoldArrivesInFragments maps 600 rows of 3 kB to records of 30 kB each.
func TestABatchThatGrowsTenfoldArrivesInFragments(t *testing.T) {
	w := newWorld(t)
	const rows, limit = 600, 512 << 10
	var ps []person
	for i := range rows {
		p := person{int64(i), "1", 700}
		if i%50 == 7 {
			p.age = "none"
		}
		ps = append(ps, p)
	}
	w.send(t.Context(), w.origin(4, rows, limit), people(ps...), nil)

	var at int64
	var digest row.Hash
	seen := map[int32]bool{}
	fragments := map[uint32]record.Origin{}
	for covered := int64(0); covered < rows; {
		o, b, _ := w.next()
		require.Equal(t, o.Batch.Whole(), w.origin(4, 0, 0).Batch)
		require.NotContains(t, fragments, o.Batch.Fragment)
		fragments[o.Batch.Fragment] = o
		require.Equal(t, o.Rows, b.Rows())
		covered += o.Rows
		for i := range int(b.Record.NumRows()) {
			n := b.Record.Column(record.PosRow).(*array.Int32).Value(i)
			require.False(t, seen[n])
			seen[n] = true
			require.GreaterOrEqual(t, int64(n), o.FirstRow)
			require.Less(t, int64(n), o.FirstRow+o.Rows)
		}
		for _, r := range b.Rejects {
			require.False(t, seen[r.Row])
			seen[r.Row] = true
			digest = digest.Add(r.Hash)
		}
		digest = digest.Add(row.Digest(b.Record.Column(record.PosHash).(*array.FixedSizeBinary)))
	}
	require.Greater(t, len(fragments), 5)
	for i := range uint32(len(fragments)) {
		o := fragments[i]
		require.Equal(t, at, o.FirstRow, "fragments follow one another")
		require.Equal(t, int(i) == len(fragments)-1, o.Last)
		at += o.Rows
	}
	require.Equal(t, row.Digest(sealed(t, people(ps...)).Record.Column(4).(*array.FixedSizeBinary)), digest)
}

func TestASecondDeliveryPublishesTheSameMessages(t *testing.T) {
	w := newWorld(t)
	var ps []person
	for i := range 40 {
		ps = append(ps, person{int64(i), "1", 300})
	}
	o := w.origin(0, 40, 32<<10)
	body, err := wire.EncodeRows(o, sealed(t, people(ps...)))
	require.NoError(t, err)
	d := bus.Delivery{Message: bus.Message{ID: o.Batch.String(), Body: body}, Attempt: 1}
	h := &worker{w.service}
	first := map[string][]byte{}
	require.NoError(t, h.Handle(t.Context(), d))
	for covered := int64(0); covered < 40; {
		o, _, m := w.next()
		first[m.ID] = m.Body
		covered += o.Rows
	}
	require.Greater(t, len(first), 1)

	require.NoError(t, h.Handle(t.Context(), d))
	// The broker drops what it knows already; a batch of another name shows that nothing else came between.
	w.send(t.Context(), w.origin(1, 1, 1<<20), people(person{1, "1", 1}), nil)
	next, _, _ := w.next()
	require.Equal(t, uint32(1), next.Batch.Seq)

	cutAgain, err := cut(o, sealed(t, people(ps...)), mapped(t, ps))
	require.NoError(t, err)
	require.Len(t, cutAgain, len(first))
	for _, f := range cutAgain {
		require.Equal(t, first[f.batch.String()], f.body)
	}
	require.Equal(t, 1, w.peers.asked, "the compiled mapping is remembered")
}

func mapped(t *testing.T, ps []person) record.Batch {
	s := customers()
	rec := people(ps...)
	p, err := mapping.Compile(s.Mapping, s.DataModel, rec.Schema())
	require.NoError(t, err)
	return p.Apply(sealed(t, rec))
}

func TestARowAboveTheCapIsARejectAndItsNeighboursGoOn(t *testing.T) {
	ps := []person{{1, "1", 10}, {2, "1", 8000}, {3, "1", 10}, {4, "x", 30000}}
	o := (&world{run: id.NewRun()}).origin(0, 4, 16<<10)
	fragments, err := cut(o, sealed(t, people(ps...)), mapped(t, ps))
	require.NoError(t, err)
	var rows int64
	rules := map[int32]string{}
	for i, f := range fragments {
		require.LessOrEqual(t, len(f.body), 16<<10)
		o, b, err := wire.DecodeRecords(f.body, 1<<20)
		require.NoError(t, err)
		require.Equal(t, rows, o.FirstRow)
		require.Equal(t, i == len(fragments)-1, o.Last)
		require.Equal(t, o.Rows, b.Rows())
		rows += o.Rows
		for _, r := range b.Rejects {
			rules[r.Row] = r.Rule
			if r.Rule == "row_too_large" {
				require.Equal(t, "2", r.KeyValues)
				require.Equal(t, []int32{1}, b.Kept.At)
				require.Equal(t, noise(2, 8000), b.Kept.Rows.Record.Column(2).(*array.String).Value(0))
			}
		}
	}
	require.Equal(t, int64(4), rows)
	require.Equal(t, map[int32]string{1: "row_too_large", 3: "rules[1]"}, rules)
}

func TestABatchWithoutRowsIsOneMessage(t *testing.T) {
	fragments, err := cut((&world{run: id.NewRun()}).origin(0, 0, 1<<20), sealed(t, people()), mapped(t, nil))
	require.NoError(t, err)
	require.Len(t, fragments, 1)
	o, b, err := wire.DecodeRecords(fragments[0].body, 1<<20)
	require.NoError(t, err)
	require.True(t, o.Last)
	require.Zero(t, b.Rows())
}

func TestColumnsThatFitNoMessageAreAnError(t *testing.T) {
	_, err := cut((&world{run: id.NewRun()}).origin(0, 1, 500), sealed(t, people(person{1, "1", 1})), mapped(t, []person{{1, "1", 1}}))
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
}

func TestWhatCannotBeMappedIsReportedAsQuarantined(t *testing.T) {
	w := newWorld(t)
	bad := w.origin(9, 1, 1<<20)
	w.sendBody(t.Context(), bad.Batch.String(), []byte("no envelope"), nil)
	r := <-w.peers.quarantined
	require.Equal(t, w.run.String(), r.GetBatch().GetRun())
	require.Equal(t, uint32(9), r.GetBatch().GetSeq())
	require.Equal(t, "batch_quarantined", r.GetError().GetReason())
	require.NotEmpty(t, r.GetError().GetMessage())
}
