package mapper

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/wire"
)

// ofMapping answers the mapping of a request; nil, by name, where there is none.
func ofMapping(m *configv1.Mapping) *resource.Mapping {
	if m == nil {
		return nil
	}
	out := resourcepb.OfMapping(m)
	return &out
}

// maxPiece bounds the memory that one column's values may claim, which may have been compressed.
const maxPiece = 64 << 20

// readStream reads an Arrow IPC stream of at most `most` rows: its schema, and its rows as one batch.
func readStream(data []byte, field string, most int64) (s *arrow.Schema, rec arrow.RecordBatch, err error) {
	defer func() {
		if p := recover(); p != nil { // the reader panics on some bytes that are no stream
			s, rec, err = nil, nil, badStream(field, fmt.Errorf("%v", p)) //nolint:err113 // only wrapped
		}
	}()
	if len(data) == 0 {
		return nil, nil, badStream(field, io.ErrUnexpectedEOF)
	}
	limit := int64(len(data))
	r, err := wire.Reader(bytes.NewReader(data), memory.NewGoAllocator(), wire.Limits{Metadata: limit, Body: limit, Piece: maxPiece})
	if err != nil {
		return nil, nil, badStream(field, err)
	}
	defer r.Release()
	var batches []arrow.RecordBatch
	rows := int64(0)
	for r.Next() {
		b := r.RecordBatch()
		b.Retain()
		batches = append(batches, b)
		if rows += b.NumRows(); rows > most {
			return nil, nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{
				Field: field, Message: fmt.Sprintf("has more than %d rows", most), Fix: "send fewer",
			}})
		}
	}
	if err := r.Err(); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, badStream(field, err)
	}
	rec, err = together(r.Schema(), batches, rows)
	if err != nil {
		return nil, nil, badStream(field, err)
	}
	return r.Schema(), rec, nil
}

func badStream(field string, cause error) error {
	e := fault.New(fault.Invalid, fault.ReasonInvalidArgument, "%s is no Arrow IPC stream; send one", field)
	e.Field, e.Err = field, cause
	return e
}

// together answers one batch of the rows of several.
func together(s *arrow.Schema, batches []arrow.RecordBatch, rows int64) (arrow.RecordBatch, error) {
	cols := make([]arrow.Array, s.NumFields())
	for i, f := range s.Fields() {
		parts := make([]arrow.Array, len(batches))
		for k, b := range batches {
			parts[k] = b.Column(i)
		}
		if len(parts) == 0 {
			cols[i] = array.MakeArrayOfNull(memory.DefaultAllocator, f.Type, 0)
			continue
		}
		col, err := array.Concatenate(parts, memory.DefaultAllocator)
		if err != nil {
			return nil, fmt.Errorf("join column %s: %w", f.Name, err)
		}
		cols[i] = col
	}
	return array.NewRecordBatch(s, cols, rows), nil
}

// toRows answers what became of each of n rows, in their order.
func toRows(b record.Batch, n int) ([]*mapperv1.MappedRow, error) {
	out := make([]*mapperv1.MappedRow, n)
	for i := range out {
		out[i] = &mapperv1.MappedRow{}
	}
	at := b.Record.Column(record.PosRow).(*array.Int32) //nolint:forcetypeassert // by record.Batch
	var buf []byte
	for i := range int(b.Record.NumRows()) {
		buf = record.AppendRecord(buf[:0], b, i)
		s := &structpb.Struct{}
		if err := protojson.Unmarshal(buf, s); err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "render a record: %w", err)
		}
		out[at.Value(i)].Record = s
	}
	for _, r := range b.Rejects {
		out[r.Row].Rejects = append(out[r.Row].Rejects, &mapperv1.RejectReason{Column: r.Column, Rule: r.Rule, Reason: r.Reason})
	}
	return out, nil
}
