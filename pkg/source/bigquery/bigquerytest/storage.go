//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/duckdb/duckdb-go/v2"
	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// session is a read session: a result, cut into streams.
type session struct {
	job     *job
	bounds  []int64 // of the streams' rows
	lz4     bool
	expired bool
}

// reader serves the Storage Read API.
type reader struct {
	storagepb.UnimplementedBigQueryReadServer
	s *Server
}

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := s.admit(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := s.admit(ss.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, ss)
}

// admit wants a good token, and the header by which Google routes calls.
func (s *Server) admit(ctx context.Context, _ string) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if h := md.Get("authorization"); len(h) != 1 || !s.known(h[0]) {
		return status.Error(codes.Unauthenticated, "Request had invalid authentication credentials.")
	}
	if len(md.Get("x-goog-request-params")) == 0 {
		return status.Error(codes.InvalidArgument, "no routing header")
	}
	return nil
}

// CreateReadSession cuts a result into streams.
func (r *reader) CreateReadSession(ctx context.Context, req *storagepb.CreateReadSessionRequest) (*storagepb.ReadSession, error) {
	r.s.note(Call{Method: "CreateReadSession"})
	if f := r.s.fault("CreateReadSession"); f != nil {
		if f.Hang {
			<-ctx.Done()
		}
		return nil, status.Error(f.Code, "a fault of the test's")
	}
	in := req.GetReadSession()
	if in.GetDataFormat() != storagepb.DataFormat_ARROW || req.GetParent() != "projects/"+Project {
		return nil, status.Error(codes.InvalidArgument, "the peer gives Arrow, and to its own project")
	}
	j := r.s.jobOf(in.GetTable())
	if j == nil || isNarrowed(in) {
		var err error
		if j, err = r.s.selected(ctx, in); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
	}
	if j == nil {
		return nil, status.Error(codes.NotFound, "Not found: Table "+in.GetTable())
	}
	n := int64(max(1, req.GetMaxStreamCount()))
	x := &session{job: j, lz4: in.GetReadOptions().GetArrowSerializationOptions().GetBufferCompression() == storagepb.ArrowSerializationOptions_LZ4_FRAME}
	if j.rows == 0 {
		n = 0
	}
	for i := range n + 1 {
		x.bounds = append(x.bounds, i*j.rows/max(1, n))
	}
	name := fmt.Sprintf("projects/%s/locations/%s/sessions/S%d", Project, strings.ToLower(location), r.s.next())
	schema, err := serializedSchema(j.fields)
	if err != nil {
		return nil, err
	}
	out := &storagepb.ReadSession{
		Name: name, ExpireTime: timestamppb.New(time.Now().Add(6 * time.Hour)), DataFormat: storagepb.DataFormat_ARROW, Table: in.GetTable(),
		Schema: &storagepb.ReadSession_ArrowSchema{ArrowSchema: &storagepb.ArrowSchema{SerializedSchema: schema}}, EstimatedRowCount: j.rows,
	}
	for i := range n {
		out.Streams = append(out.Streams, &storagepb.ReadStream{Name: name + "/streams/T" + strconv.FormatInt(i, 10)})
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.sessions[name] = x
	return out, nil
}

// resultsFor is how long results are kept.
const resultsFor = 24 * time.Hour

// jobOf answers the job whose result a table is, nil for others and for those that have expired.
func (s *Server) jobOf(table string) *job {
	id, ok := strings.CutPrefix(table, "projects/"+Project+"/datasets/"+hidden+"/tables/")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		if ok && j.table == id && j.ended() && j.err == nil && s.now().Sub(j.start) < resultsFor {
			return j
		}
	}
	return nil
}

// ReadRows sends the rows of a stream from an offset on.
func (r *reader) ReadRows(req *storagepb.ReadRowsRequest, out storagepb.BigQueryRead_ReadRowsServer) error {
	r.s.note(Call{Method: "ReadRows", Offset: req.GetOffset()})
	f := r.s.fault("ReadRows")
	name, id, _ := strings.Cut(req.GetReadStream(), "/streams/T")
	r.s.mu.Lock()
	x, batch := r.s.sessions[name], r.s.batch
	expired := x != nil && x.expired
	r.s.mu.Unlock()
	i, err := strconv.Atoi(id)
	switch {
	case x == nil || err != nil || i < 0 || i+1 >= len(x.bounds):
		return status.Error(codes.NotFound, "Not found: "+req.GetReadStream())
	case expired:
		return status.Error(codes.FailedPrecondition, "there was an error operating on '"+req.GetReadStream()+"': session expired")
	}
	low, high := x.bounds[i]+req.GetOffset(), x.bounds[i+1]
	if req.GetOffset() < 0 || low > high {
		return status.Error(codes.OutOfRange, "the offset is beyond the stream")
	}
	return r.s.send(x, low, high, batch, f, out)
}

// send sends rows [low, high), `batch` in a message, unless a fault says otherwise.
func (s *Server) send(x *session, low, high, batch int64, f *Fault, out storagepb.BigQueryRead_ReadRowsServer) error {
	schema, err := serializedSchema(x.job.fields)
	if err != nil {
		return err
	}
	c, err := s.db.Conn(out.Context())
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it goes back to the pool
	sent := 0
	return c.Raw(func(raw any) error {
		a, err := duckdb.NewArrowFromConn(raw.(driver.Conn))
		if err != nil {
			return err
		}
		for at := low; at < high || sent == 0; at += batch {
			if f != nil && sent >= f.After {
				return f.stream(schema, out)
			}
			data, n, err := rows(out.Context(), a, x, at, min(high, at+batch))
			if err != nil {
				return err
			}
			m := &storagepb.ReadRowsResponse{RowCount: n, Rows: &storagepb.ReadRowsResponse_ArrowRecordBatch{ArrowRecordBatch: &storagepb.ArrowRecordBatch{SerializedRecordBatch: data}}}
			if sent == 0 { // as BigQuery does
				m.Schema = &storagepb.ReadRowsResponse_ArrowSchema{ArrowSchema: &storagepb.ArrowSchema{SerializedSchema: schema}}
			}
			if err := out.Send(m); err != nil {
				return err
			}
			sent++
		}
		return nil
	})
}

// stream does what a fault says in the place of the next message.
func (f *Fault) stream(schema []byte, out storagepb.BigQueryRead_ReadRowsServer) error {
	if f.Hang {
		<-out.Context().Done()
		return out.Context().Err()
	}
	if f.Garbage != nil {
		return out.Send(&storagepb.ReadRowsResponse{
			Schema: &storagepb.ReadRowsResponse_ArrowSchema{ArrowSchema: &storagepb.ArrowSchema{SerializedSchema: schema}},
			Rows:   &storagepb.ReadRowsResponse_ArrowRecordBatch{ArrowRecordBatch: &storagepb.ArrowRecordBatch{SerializedRecordBatch: f.Garbage}},
		})
	}
	return status.Error(f.Code, "a fault of the test's")
}

// rows answers rows of a result as one serialized batch.
func rows(ctx context.Context, a *duckdb.Arrow, x *session, low, high int64) ([]byte, int64, error) {
	sql := fmt.Sprintf("SELECT %s FROM %s.%s WHERE rowid >= %d AND rowid < %d ORDER BY rowid", list(x.job.fields), hidden, x.job.table, low, high)
	rr, err := a.QueryContext(ctx, sql)
	if err != nil {
		return nil, 0, err
	}
	defer rr.Release()
	var parts []arrow.RecordBatch
	defer func() {
		for _, p := range parts {
			p.Release()
		}
	}()
	for rr.Next() {
		b, err := converted(x.job.fields, rr.RecordBatch())
		if err != nil {
			return nil, 0, err
		}
		parts = append(parts, b)
	}
	if err := rr.Err(); err != nil {
		return nil, 0, err
	}
	whole, err := joined(x.job.fields, parts)
	if err != nil {
		return nil, 0, err
	}
	defer whole.Release()
	data, err := serializedBatch(whole, x.lz4)
	return data, whole.NumRows(), err
}

// arrowSchema answers the schema that BigQuery sends for fields.
func arrowSchema(fields []*bq.TableFieldSchema) *arrow.Schema {
	out := make([]arrow.Field, len(fields))
	for i, f := range fields {
		out[i] = arrow.Field{Name: f.Name, Nullable: true, Type: arrowType(f)}
	}
	return arrow.NewSchema(out, nil)
}

func arrowType(f *bq.TableFieldSchema) arrow.DataType {
	switch f.Type {
	case "INTEGER":
		return arrow.PrimitiveTypes.Int64
	case "FLOAT":
		return arrow.PrimitiveTypes.Float64
	case "BOOLEAN":
		return arrow.FixedWidthTypes.Boolean
	case "BYTES":
		return arrow.BinaryTypes.Binary
	case "DATE":
		return arrow.FixedWidthTypes.Date32
	case "DATETIME":
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case "TIMESTAMP":
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	case "NUMERIC":
		return &arrow.Decimal128Type{Precision: 38, Scale: 9}
	case "BIGNUMERIC":
		return &arrow.Decimal256Type{Precision: 76, Scale: 38}
	}
	return arrow.BinaryTypes.String
}

// converted answers a batch of DuckDB's in BigQuery's types.
func converted(fields []*bq.TableFieldSchema, b arrow.RecordBatch) (arrow.RecordBatch, error) {
	schema := arrowSchema(fields)
	columns := make([]arrow.Array, len(fields))
	for i, f := range fields {
		col := b.Column(i)
		switch {
		case f.Type == "BIGNUMERIC":
			c, err := bigNumerics(col)
			if err != nil {
				return nil, err
			}
			columns[i] = c
		case !arrow.TypeEqual(col.DataType(), schema.Field(i).Type):
			return nil, fmt.Errorf("DuckDB gives %s for %s", col.DataType(), schema.Field(i).Type)
		default:
			col.Retain()
			columns[i] = col
		}
	}
	out := array.NewRecordBatch(schema, columns, b.NumRows())
	for _, c := range columns {
		c.Release()
	}
	return out, nil
}

// bigNumerics reads texts as decimals of 38 places.
func bigNumerics(col arrow.Array) (arrow.Array, error) {
	const scale = 38
	b := array.NewDecimal256Builder(memory.DefaultAllocator, &arrow.Decimal256Type{Precision: 76, Scale: scale})
	defer b.Release()
	for i := range col.Len() {
		if col.IsNull(i) {
			b.AppendNull()
			continue
		}
		whole, digits, _ := strings.Cut(col.ValueStr(i), ".")
		n, ok := new(big.Int).SetString(whole+digits+strings.Repeat("0", scale-len(digits)), 10)
		if !ok {
			return nil, errors.New("no number")
		}
		b.Append(decimal256.FromBigInt(n))
	}
	return b.NewArray(), nil
}

// joined answers parts as one batch.
func joined(fields []*bq.TableFieldSchema, parts []arrow.RecordBatch) (arrow.RecordBatch, error) {
	schema := arrowSchema(fields)
	if len(parts) == 0 {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer b.Release()
		return b.NewRecordBatch(), nil
	}
	columns := make([]arrow.Array, len(fields))
	n := int64(0)
	for _, p := range parts {
		n += p.NumRows()
	}
	for i := range fields {
		chunks := make([]arrow.Array, len(parts))
		for j, p := range parts {
			chunks[j] = p.Column(i)
		}
		c, err := array.Concatenate(chunks, memory.DefaultAllocator)
		if err != nil {
			return nil, err
		}
		columns[i] = c
	}
	out := array.NewRecordBatch(schema, columns, n)
	for _, c := range columns {
		c.Release()
	}
	return out, nil
}

func serializedSchema(fields []*bq.TableFieldSchema) ([]byte, error) {
	var buf bytes.Buffer
	p, err := ipc.GetSchemaPayload(arrowSchema(fields), memory.DefaultAllocator), error(nil)
	defer p.Release()
	if _, err = p.WritePayload(&buf); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func serializedBatch(b arrow.RecordBatch, lz4 bool) ([]byte, error) {
	options := []ipc.Option{}
	if lz4 {
		options = append(options, ipc.WithLZ4())
	}
	p, err := ipc.GetRecordBatchPayload(b, options...)
	if err != nil {
		return nil, err
	}
	defer p.Release()
	var buf bytes.Buffer
	if _, err := p.WritePayload(&buf); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
