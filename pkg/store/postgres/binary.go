package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// The hot path speaks PostgreSQL's binary formats itself: a batch is a few large arrays and COPY streams, built
// without an allocation per value.

// param is one parameter of a statement in binary form. A nil value is NULL.
type param struct {
	oid   uint32
	value []byte
}

func int4(v int32) param {
	return param{pgtype.Int4OID, binary.BigEndian.AppendUint32(nil, uint32(v))} //nolint:gosec // two's complement
}

func int8of(v int64) param {
	return param{pgtype.Int8OID, binary.BigEndian.AppendUint64(nil, uint64(v))} //nolint:gosec // two's complement
}

func boolean(v bool) param {
	b := []byte{0}
	if v {
		b[0] = 1
	}
	return param{pgtype.BoolOID, b}
}

func uuid(v [16]byte) param { return param{pgtype.UUIDOID, v[:]} }

// elements builds the binary form of a one-dimensional array without NULLs.
type elements struct {
	buf []byte
	n   int
}

const arrayHeader = 20

func newElements(n, size int) *elements {
	return &elements{buf: make([]byte, arrayHeader, arrayHeader+n*(4+size))}
}

func (a *elements) bytes(v []byte) {
	a.buf = append(appendLength(a.buf, len(v)), v...)
	a.n++
}

func (a *elements) int8(v int64) {
	a.buf = appendInt8(appendLength(a.buf, 8), v)
	a.n++
}

func (a *elements) int4(v int32) {
	a.buf = binary.BigEndian.AppendUint32(appendLength(a.buf, 4), uint32(v)) //nolint:gosec // two's complement
	a.n++
}

// param answers the array as a parameter of the array type that goes with the elements' type.
func (a *elements) param(arrayOID, elementOID uint32) param {
	if a.n == 0 {
		b := make([]byte, 12)
		binary.BigEndian.PutUint32(b[8:], elementOID)
		return param{arrayOID, b}
	}
	binary.BigEndian.PutUint32(a.buf[0:], 1) // dimensions
	binary.BigEndian.PutUint32(a.buf[4:], 0) // no NULLs
	binary.BigEndian.PutUint32(a.buf[8:], elementOID)
	binary.BigEndian.PutUint32(a.buf[12:], uint32(a.n)) //nolint:gosec // as many as rows of a batch
	binary.BigEndian.PutUint32(a.buf[16:], 1)           // lower bound
	return param{arrayOID, a.buf}
}

func (a *elements) uuids() param  { return a.param(pgtype.UUIDArrayOID, pgtype.UUIDOID) }
func (a *elements) byteas() param { return a.param(pgtype.ByteaArrayOID, pgtype.ByteaOID) }
func (a *elements) int8s() param  { return a.param(pgtype.Int8ArrayOID, pgtype.Int8OID) }
func (a *elements) int4s() param  { return a.param(pgtype.Int4ArrayOID, pgtype.Int4OID) }

func appendLength(b []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(min(n, math.MaxInt32))) //nolint:gosec // bounded on this line
}

func appendInt8(b []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(v)) //nolint:gosec // two's complement
}

// copied builds the binary form of COPY's rows.
type copied struct {
	buf     []byte
	columns uint16
	rows    int64
}

func newCopied(columns uint16, rows, size int) *copied {
	c := &copied{buf: make([]byte, 0, 32+rows*size), columns: columns}
	c.buf = append(c.buf, "PGCOPY\n\xff\r\n\x00"...)
	c.buf = append(c.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	return c
}

func (c *copied) row() {
	c.buf = binary.BigEndian.AppendUint16(c.buf, c.columns)
	c.rows++
}

func (c *copied) bytes(v []byte) { c.buf = append(appendLength(c.buf, len(v)), v...) }

func (c *copied) text(v string) { c.buf = append(appendLength(c.buf, len(v)), v...) }

func (c *copied) int8(v int64) { c.buf = appendInt8(appendLength(c.buf, 8), v) }

func (c *copied) int4(v int32) {
	c.buf = binary.BigEndian.AppendUint32(appendLength(c.buf, 4), uint32(v)) //nolint:gosec // two's complement
}

// send runs `COPY into FROM STDIN`. Nothing is sent where there are no rows.
func (c *copied) send(ctx context.Context, pc *pgconn.PgConn, into string) error {
	if c.rows == 0 {
		return nil
	}
	c.buf = binary.BigEndian.AppendUint16(c.buf, math.MaxUint16)
	_, err := pc.CopyFrom(ctx, bytes.NewReader(c.buf), "COPY "+into+" FROM STDIN BINARY")
	return err //nolint:wrapcheck // classified by with
}

// printable makes a text that PostgreSQL takes: UTF-8 without NUL.
func printable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// simple runs a statement that takes and gives nothing.
func simple(ctx context.Context, c *pgconn.PgConn, sql string) error {
	_, err := c.Exec(ctx, sql).ReadAll()
	return err //nolint:wrapcheck // classified by with
}

// exec runs one statement and answers how many rows it touched. Values handed to each are valid for that call only.
func exec(ctx context.Context, c *pgconn.PgConn, sql string, each func(v [][]byte), params ...param) (int64, error) {
	values, oids := split(params)
	return drain(c.ExecParams(ctx, sql, values, oids, binaryFormat(), binaryFormat()), each)
}

func split(params []param) (values [][]byte, oids []uint32) {
	for _, p := range params {
		values, oids = append(values, p.value), append(oids, p.oid)
	}
	return values, oids
}

func binaryFormat() []int16 { return []int16{1} }

// drain reads a result to its end.
func drain(r *pgconn.ResultReader, each func(v [][]byte)) (int64, error) {
	for r.NextRow() {
		if each != nil {
			each(r.Values())
		}
	}
	tag, err := r.Close()
	return tag.RowsAffected(), err //nolint:wrapcheck // classified by with
}

// query is one statement of a round.
type query struct {
	sql    string
	params []param
	each   func(v [][]byte)
}

// round sends all queries at once and reads their results in order.
func round(ctx context.Context, c *pgconn.PgConn, qs ...query) error {
	p := c.StartPipeline(ctx)
	for _, q := range qs {
		values, oids := split(q.params)
		p.SendQueryParams(q.sql, values, oids, binaryFormat(), binaryFormat())
	}
	err := p.Sync()
	for i := 0; err == nil && i < len(qs); i++ {
		var res any
		if res, err = p.GetResults(); err != nil {
			break
		}
		if r, ok := res.(*pgconn.ResultReader); ok {
			_, err = drain(r, qs[i].each)
		}
	}
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	return err //nolint:wrapcheck // classified by with
}

func getInt4(v []byte) int32 { return int32(binary.BigEndian.Uint32(v)) } //nolint:gosec // two's complement
func getInt8(v []byte) int64 { return int64(binary.BigEndian.Uint64(v)) } //nolint:gosec // two's complement
