//go:build cgo && duckdb_arrow

package snowflaketest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/duckdb/duckdb-go/v2"
)

// wireColumn is a column as answers describe it.
type wireColumn struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Precision int64  `json:"precision"`
	Scale     int64  `json:"scale"`
	Length    int64  `json:"length"`
	Nullable  bool   `json:"nullable"`

	read string // the expression that reads it from DuckDB
}

// wireColumn answers a column of a type of DuckDB as Snowflake would describe it.
func (s *Server) wireColumn(name, duck string) wireColumn {
	c := wireColumn{Name: name, Nullable: true, read: quoteName(name)}
	scale := int64(s.options.TimestampScale)
	text := func(kind string) {
		c.Type, c.Length, c.read = kind, 16777216, "CAST("+c.read+" AS VARCHAR)"
	}
	switch {
	case duck == "TINYINT", duck == "SMALLINT", duck == "INTEGER", duck == "BIGINT", duck == "UTINYINT", duck == "USMALLINT", duck == "UINTEGER":
		c.Type, c.Precision, c.read = "fixed", 38, "CAST("+c.read+" AS BIGINT)"
	case duck == "HUGEINT", duck == "UBIGINT":
		c.Type, c.Precision, c.read = "fixed", 38, "CAST("+c.read+" AS DECIMAL(38,0))"
	case strings.HasPrefix(duck, "DECIMAL("):
		p, sc, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(duck, "DECIMAL("), ")"), ",")
		c.Type = "fixed"
		c.Precision, _ = strconv.ParseInt(p, 10, 64)
		c.Scale, _ = strconv.ParseInt(sc, 10, 64)
	case duck == "FLOAT", duck == "DOUBLE":
		c.Type, c.read = "real", "CAST("+c.read+" AS DOUBLE)"
	case duck == "BOOLEAN":
		c.Type = "boolean"
	case duck == "BLOB":
		c.Type, c.Length = "binary", 8388608
	case duck == "DATE":
		c.Type = "date"
	case duck == "TIME":
		c.Type, c.Scale = "time", 6
	case duck == "TIMESTAMP":
		c.Type, c.Scale = "timestamp_ntz", scale
	case duck == "TIMESTAMP_S", duck == "TIMESTAMP_MS":
		c.Type, c.Scale, c.read = "timestamp_ntz", map[string]int64{"TIMESTAMP_S": 0, "TIMESTAMP_MS": 3}[duck], "CAST("+c.read+" AS TIMESTAMP)"
	case duck == "TIMESTAMP_NS":
		c.Type, c.Scale = "timestamp_ntz", 9
	case duck == "TIMESTAMP WITH TIME ZONE":
		c.Type, c.Scale = "timestamp_ltz", scale
	case duck == "JSON":
		text("variant")
	case strings.HasSuffix(duck, "]"):
		c.read = "to_json(" + c.read + ")"
		text("array")
	case strings.HasPrefix(duck, "STRUCT("), strings.HasPrefix(duck, "MAP("):
		c.read = "to_json(" + c.read + ")"
		text("object")
	default:
		text("text")
	}
	return c
}

// fill runs a SELECT and answers its rows: the first in the answer, the others in chunks.
func (s *Server) fill(ctx context.Context, conn *duckdb.Conn, j *job, text string, columns []wireColumn, data map[string]any) error {
	reads := make([]string, len(columns))
	for i, c := range columns {
		reads[i] = c.read + " AS c" + strconv.Itoa(i)
	}
	view, err := duckdb.NewArrowFromConn(conn)
	if err != nil {
		return err //nolint:wrapcheck // numbered by the caller
	}
	rows, err := view.QueryContext(ctx, "SELECT "+strings.Join(reads, ", ")+" FROM (\n"+text+"\n) AS q")
	if err != nil {
		return err //nolint:wrapcheck // numbered by the caller
	}
	defer rows.Release()
	out := chunker{s: s, j: j, columns: columns, most: s.options.InlineRows}
	defer out.clear()
	for rows.Next() {
		if err := out.add(rows.RecordBatch()); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // numbered by the caller
		}
	}
	if err := rows.Err(); err != nil {
		return err //nolint:wrapcheck // numbered by the caller
	}
	if err := out.flush(); err != nil {
		return err
	}
	data["rowsetBase64"], data["chunks"], data["total"], data["returned"] = out.inline, out.chunks, out.total, out.total
	data["qrmk"], data["chunkHeaders"] = qrmk, map[string]string{"x-peer-customer-key": qrmk}
	return nil
}

// chunker gathers batches to chunks.
type chunker struct {
	s       *Server
	j       *job
	columns []wireColumn
	most    int
	held    []arrow.RecordBatch
	rows    int
	total   int
	inline  string
	chunks  []map[string]any
	begun   bool
}

func (k *chunker) clear() {
	for _, b := range k.held {
		b.Release()
	}
	k.held, k.rows = nil, 0
}

func (k *chunker) add(b arrow.RecordBatch) error {
	for from := int64(0); from < b.NumRows(); {
		n := min(b.NumRows()-from, int64(k.most-k.rows))
		k.held = append(k.held, b.NewSlice(from, from+n))
		k.rows += int(n)
		from += n
		if k.rows >= k.most {
			if err := k.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes what was gathered as a chunk; the first one is the answer's own, even where it is empty.
func (k *chunker) flush() error {
	if k.rows == 0 && k.begun {
		return nil
	}
	data, err := k.encode()
	if err != nil {
		return err
	}
	k.total += k.rows
	if !k.begun {
		k.begun, k.inline, k.most = true, inline(data), k.s.options.ChunkRows
		k.clear()
		return nil
	}
	size := len(data)
	if k.s.options.Gzip {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		if _, err := z.Write(data); err != nil {
			return err //nolint:wrapcheck // into memory
		}
		if err := z.Close(); err != nil {
			return err //nolint:wrapcheck // into memory
		}
		data = buf.Bytes()
	}
	k.s.mu.Lock()
	name := k.s.name(k.j.query + "-chunk")
	k.s.chunks[name] = filepath.Join(k.s.dir, name)
	k.s.mu.Unlock()
	if err := os.WriteFile(filepath.Join(k.s.dir, name), data, 0o600); err != nil {
		return fmt.Errorf("write a chunk: %w", err)
	}
	k.chunks = append(k.chunks, map[string]any{"url": k.s.http.URL + "/chunks/" + name, "rowCount": k.rows, "uncompressedSize": size, "compressedSize": len(data)})
	k.clear()
	return nil
}

// encode answers an Arrow stream of what was gathered, in Snowflake's form.
func (k *chunker) encode() ([]byte, error) {
	fields := make([]arrow.Field, len(k.columns))
	forms := make([]form, len(k.columns))
	for i, c := range k.columns {
		forms[i] = k.formOf(i, c)
		fields[i] = arrow.Field{Name: c.Name, Type: forms[i].typ, Nullable: true, Metadata: arrow.MetadataFrom(map[string]string{
			"logicalType": strings.ToUpper(c.Type), "precision": strconv.FormatInt(c.Precision, 10), "scale": strconv.FormatInt(c.Scale, 10),
		})}
	}
	schema := arrow.NewSchema(fields, nil)
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(schema))
	for _, b := range k.held {
		columns := make([]arrow.Array, len(forms))
		for i, f := range forms {
			columns[i] = f.convert(b.Column(i))
		}
		out := array.NewRecordBatch(schema, columns, b.NumRows())
		err := w.Write(out)
		out.Release()
		for _, c := range columns {
			c.Release()
		}
		if err != nil {
			return nil, fmt.Errorf("encode a chunk: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encode a chunk: %w", err)
	}
	return buf.Bytes(), nil
}

// form is how a chunk writes a column.
type form struct {
	typ     arrow.DataType
	convert func(arrow.Array) arrow.Array
}

func asIs(t arrow.DataType) form {
	return form{typ: t, convert: func(a arrow.Array) arrow.Array { a.Retain(); return a }}
}

//nolint:gochecknoglobals // never changed
var instants = arrow.StructOf(arrow.Field{Name: "epoch", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "fraction", Type: arrow.PrimitiveTypes.Int32, Nullable: true})

// formOf answers how this chunk writes a column: whole numbers as narrow as they are.
func (k *chunker) formOf(i int, c wireColumn) form {
	switch c.Type {
	case "fixed":
		return k.numbers(i, c)
	case "real":
		return asIs(arrow.PrimitiveTypes.Float64)
	case "boolean":
		return asIs(arrow.FixedWidthTypes.Boolean)
	case "binary":
		return asIs(arrow.BinaryTypes.Binary)
	case "date":
		return asIs(arrow.FixedWidthTypes.Date32)
	case "time":
		return form{arrow.PrimitiveTypes.Int64, func(a arrow.Array) arrow.Array {
			return counts(a, func(i int) int64 { return int64(a.(*array.Time64).Value(i)) })
		}}
	case "timestamp_ntz", "timestamp_ltz":
		if c.Scale > 6 {
			return form{instants, epochs}
		}
		per := int64(1)
		for range 6 - c.Scale {
			per *= 10
		}
		return form{arrow.PrimitiveTypes.Int64, func(a arrow.Array) arrow.Array {
			return counts(a, func(i int) int64 { return int64(a.(*array.Timestamp).Value(i)) / per })
		}}
	}
	return asIs(arrow.BinaryTypes.String)
}

func counts(a arrow.Array, at func(int) int64) arrow.Array {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		b.Append(at(i))
	}
	return b.NewArray()
}

// epochs answers timestamps as seconds and nanoseconds.
func epochs(a arrow.Array) arrow.Array {
	in := a.(*array.Timestamp)
	per := int64(1_000_000)
	if in.DataType().(*arrow.TimestampType).Unit == arrow.Nanosecond {
		per = 1_000_000_000
	}
	b := array.NewStructBuilder(memory.DefaultAllocator, instants)
	defer b.Release()
	for i := range in.Len() {
		if in.IsNull(i) {
			b.AppendNull()
			continue
		}
		v := int64(in.Value(i))
		sec, frac := v/per, v%per
		if frac < 0 {
			sec, frac = sec-1, frac+per
		}
		b.Append(true)
		b.FieldBuilder(0).(*array.Int64Builder).Append(sec)
		b.FieldBuilder(1).(*array.Int32Builder).Append(int32(frac * (1_000_000_000 / per))) //nolint:gosec // below 1e9
	}
	return b.NewArray()
}

// numbers answers whole numbers of 8 to 64 bits, or of 128 where they need it.
func (k *chunker) numbers(i int, c wireColumn) form {
	value := func(a arrow.Array, at int) int64 {
		switch a := a.(type) {
		case *array.Int64:
			return a.Value(at)
		case *array.Decimal128:
			return int64(a.Value(at).LowBits()) //nolint:gosec // up to 18 digits
		}
		return 0
	}
	low, high := int64(0), int64(0)
	for _, b := range k.held {
		a := b.Column(i)
		if a.DataType().ID() == arrow.DECIMAL128 && c.Precision > 18 {
			return asIs(a.DataType())
		}
		for at := range a.Len() {
			if a.IsValid(at) {
				low, high = min(low, value(a, at)), max(high, value(a, at))
			}
		}
	}
	switch {
	case low >= -1<<7 && high < 1<<7:
		return form{arrow.PrimitiveTypes.Int8, func(a arrow.Array) arrow.Array {
			b := array.NewInt8Builder(memory.DefaultAllocator)
			defer b.Release()
			for at := range a.Len() {
				if a.IsNull(at) {
					b.AppendNull()
					continue
				}
				b.Append(int8(value(a, at))) //nolint:gosec // as narrow as they are
			}
			return b.NewArray()
		}}
	case low >= -1<<31 && high < 1<<31:
		return form{arrow.PrimitiveTypes.Int32, func(a arrow.Array) arrow.Array {
			b := array.NewInt32Builder(memory.DefaultAllocator)
			defer b.Release()
			for at := range a.Len() {
				if a.IsNull(at) {
					b.AppendNull()
					continue
				}
				b.Append(int32(value(a, at))) //nolint:gosec // as narrow as they are
			}
			return b.NewArray()
		}}
	}
	return form{arrow.PrimitiveTypes.Int64, func(a arrow.Array) arrow.Array { return counts(a, func(at int) int64 { return value(a, at) }) }}
}
