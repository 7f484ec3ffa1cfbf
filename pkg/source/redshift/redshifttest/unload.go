package redshifttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// rowsAtOnce is how many rows a file takes at once.
const rowsAtOnce = 8192

var unloadText = regexp.MustCompile(`(?s)^UNLOAD \(\n'(.*)'\n\) TO '([^']*)' IAM_ROLE '([^']*)' FORMAT AS PARQUET MANIFEST VERBOSE MAXFILESIZE \d+ MB REGION '` + Region + `'$`) //nolint:gochecknoglobals // never changed

// runUnload answers the statement that was parsed.
func (x *session) runUnload() bool {
	sql := x.unload
	x.unload = ""
	x.client.Send(&pgproto3.ParseComplete{})
	x.client.Send(&pgproto3.BindComplete{})
	x.client.Send(&pgproto3.NoData{})
	m := unloadText.FindStringSubmatch(sql)
	f := x.p.call("unload", sql)
	switch {
	case f.Cut:
		return false
	case f.Code != "":
		return x.refuseStatement(f.Code, f.Text)
	case m == nil:
		return x.refuseStatement("42601", "syntax error in UNLOAD")
	case m[3] != Unloader:
		return x.refuseStatement("XX000", "User arn:aws:redshift is not authorized to assume IAM Role "+m[3])
	}
	bucket, place, _ := strings.Cut(strings.TrimPrefix(m[2], "s3://"), "/")
	if bucket != Bucket {
		return x.refuseStatement("XX000", "S3ServiceException: The specified bucket does not exist")
	}
	u := &unload{p: x.p, place: place}
	x.server.Send(&pgproto3.Query{String: said(strings.NewReplacer("''", "'", `\\`, `\`).Replace(m[1]), x.count)})
	if x.server.Flush() != nil {
		return false
	}
	return x.takeRows(u)
}

// refuseStatement fails a statement, and with it the transaction.
func (x *session) refuseStatement(code, text string) bool {
	x.client.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: code, Message: text})
	x.client.Send(&pgproto3.ReadyForQuery{TxStatus: 'E'})
	return x.client.Flush() == nil
}

// takeRows writes what PostgreSQL answers to files.
func (x *session) takeRows(u *unload) bool {
	defer u.release()
	failed := false
	for {
		m, err := x.server.Receive()
		if err != nil {
			return false
		}
		switch m := m.(type) {
		case *pgproto3.RowDescription:
			x.p.call("unloading", "") // it runs, and can be cancelled from here on
			err = u.describe(m, x.p.options.Slices)
		case *pgproto3.DataRow:
			err = u.add(m.Values)
		case *pgproto3.ErrorResponse:
			failed = true
			x.client.Send(m)
		case *pgproto3.ReadyForQuery:
			if !failed {
				x.count, err = u.end()
				x.client.Send(&pgproto3.CommandComplete{CommandTag: []byte("UNLOAD")})
			}
			x.client.Send(m)
			return err == nil && x.client.Flush() == nil
		}
		if err != nil {
			return false
		}
	}
}

// unload is a running UNLOAD: one file of each slice.
type unload struct {
	p      *Peer
	place  string
	schema *arrow.Schema
	files  []*part
	rows   int64
}

// part is one file in the making.
type part struct {
	out     bytes.Buffer
	writer  *pqarrow.FileWriter
	builder *array.RecordBuilder
	rows    int64
	pending int
}

func (u *unload) describe(m *pgproto3.RowDescription, slices int) error {
	fields := make([]arrow.Field, len(m.Fields))
	for i, f := range m.Fields {
		fields[i] = arrow.Field{Name: string(f.Name), Type: typeOf(f), Nullable: true}
	}
	u.schema = arrow.NewSchema(fields, nil)
	for range slices {
		f := &part{builder: array.NewRecordBuilder(memory.DefaultAllocator, u.schema)}
		var err error
		f.writer, err = pqarrow.NewFileWriter(u.schema, &f.out, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy)), pqarrow.NewArrowWriterProperties())
		if err != nil {
			return err //nolint:wrapcheck // a test's
		}
		u.files = append(u.files, f)
	}
	return nil
}

// typeOf answers what UNLOAD writes a type as.
func typeOf(f pgproto3.FieldDescription) arrow.DataType {
	switch f.DataTypeOID {
	case pgtype.BoolOID:
		return arrow.FixedWidthTypes.Boolean
	case pgtype.Int2OID, pgtype.Int4OID:
		return arrow.PrimitiveTypes.Int32
	case pgtype.Int8OID, pgtype.OIDOID:
		return arrow.PrimitiveTypes.Int64
	case pgtype.Float4OID:
		return arrow.PrimitiveTypes.Float32
	case pgtype.Float8OID:
		return arrow.PrimitiveTypes.Float64
	case pgtype.DateOID:
		return arrow.FixedWidthTypes.Date32
	case pgtype.TimestampOID, pgtype.TimestamptzOID:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	case pgtype.NumericOID:
		if f.TypeModifier >= 4 {
			return &arrow.Decimal128Type{Precision: (f.TypeModifier - 4) >> 16, Scale: (f.TypeModifier - 4) & 0xffff}
		}
	case bytea, pgtype.JSONOID, pgtype.JSONBOID:
		return arrow.BinaryTypes.Binary
	}
	return arrow.BinaryTypes.String
}

func (u *unload) add(values [][]byte) error {
	f := u.files[int(u.rows)%len(u.files)]
	u.rows++
	for i, v := range values {
		if err := appendText(f.builder.Field(i), v); err != nil {
			return err
		}
	}
	if f.pending++; f.pending >= rowsAtOnce {
		return f.flush()
	}
	return nil
}

// appendText appends a value as PostgreSQL writes it.
func appendText(b array.Builder, v []byte) error {
	if v == nil {
		b.AppendNull()
		return nil
	}
	switch b := b.(type) {
	case *array.BinaryBuilder:
		if rest, ok := bytes.CutPrefix(v, []byte(`\x`)); ok {
			raw := make([]byte, len(rest)/2)
			_, err := fmt.Sscanf(string(rest), "%x", &raw)
			if len(rest) == 0 {
				err = nil
			}
			b.Append(raw)
			return err //nolint:wrapcheck // a test's
		}
		b.Append(v)
		return nil
	case *array.StringBuilder:
		b.Append(string(v))
		return nil
	case *array.TimestampBuilder:
		at, err := time.Parse("2006-01-02 15:04:05.999999Z07", strings.Replace(string(v), "+00", "", 1)+"Z")
		b.Append(arrow.Timestamp(at.UnixMicro()))
		return err //nolint:wrapcheck // a test's
	}
	return b.AppendValueFromString(string(v)) //nolint:wrapcheck // a test's
}

func (f *part) flush() error {
	b := f.builder.NewRecordBatch()
	defer b.Release()
	f.rows += b.NumRows()
	f.pending = 0
	return f.writer.WriteBuffered(b) //nolint:wrapcheck // a test's
}

// end puts the files and their manifest into the bucket.
func (u *unload) end() (int64, error) {
	type meta struct {
		Length int64 `json:"content_length"`
		Rows   int64 `json:"record_count"`
	}
	type entry struct {
		URL  string `json:"url"`
		Meta meta   `json:"meta"`
	}
	var entries []entry
	for i, f := range u.files {
		if err := f.flush(); err != nil {
			return 0, err
		}
		if err := f.writer.Close(); err != nil {
			return 0, err //nolint:wrapcheck // a test's
		}
		if f.rows == 0 {
			continue
		}
		key := fmt.Sprintf("%s%04d_part_00.parquet", u.place, i)
		u.p.put(key, f.out.Bytes())
		entries = append(entries, entry{"s3://" + Bucket + "/" + key, meta{int64(f.out.Len()), f.rows}})
	}
	text, err := json.Marshal(map[string]any{"entries": entries})
	if err == nil && u.rows > 0 {
		u.p.put(u.place+"manifest", text)
	}
	return u.rows, err //nolint:wrapcheck // a test's
}

func (u *unload) release() {
	for _, f := range u.files {
		f.builder.Release()
	}
}
