// Package wire is the form in which batches pass through the broker: an envelope that says where a batch comes from,
// and its Arrow data as LZ4-compressed IPC, with a checksum over all of it.
//
// Decoding takes bytes that a broker or a disk may have changed: a checksum comes first, then the data takes no more
// memory than its limit and every buffer is checked against what reads it. What does not fit is a classified error,
// never a panic. Decoded arrays live in Go's memory and need no Release.
package wire

import (
	"encoding/binary"
	"encoding/json"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/util"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// An envelope is: magic, version, kind (4 bytes), xxh3 of the rest (8 bytes), then sections, each a 4-byte big-endian
// length and that many bytes. The first section is the origin as JSON; the others are Arrow IPC streams of one batch,
// or empty.
const (
	magic       = "MR"
	version     = 2
	kindRows    = 1
	kindRecords = 1 // and the record.Kind more
	headLength  = 12
	maxSections = 5
	// maxCapacity bounds the room that is made ahead; envelopes above it grow.
	maxCapacity = 2 << 20
)

// EncodeRows answers the envelope of rows as read.
func EncodeRows(o record.Origin, b row.Batch) ([]byte, error) {
	return encode(kindRows, o, b.Record)
}

// EncodeRecords answers the envelope of records, with the rejects, filtered and kept rows of their batch.
func EncodeRecords(o record.Origin, b record.Batch) ([]byte, error) {
	return encode(kindOf(b.Kind), o, b.Record, rejectsRecord(b.Rejects), filteredRecord(b.Filtered), keptRecord(b.Kept))
}

// DecodeRows reads what EncodeRows wrote, taking at most max bytes of memory for its data. Invalid
// BATCH_QUARANTINED for anything else.
func DecodeRows(data []byte, max int64) (o record.Origin, b row.Batch, err error) {
	kind, sections, err := open(data)
	if err != nil {
		return o, b, err
	}
	if kind != kindRows || len(sections) != 2 {
		return o, b, bad("is not a batch of rows")
	}
	if o, err = origin(sections[0]); err != nil {
		return o, b, err
	}
	rec, err := decode(sections[1], max)
	if err != nil {
		return o, b, err
	}
	b = row.Batch{Record: rec}
	if err := checkRows(b); err != nil {
		return o, row.Batch{}, err
	}
	return o, b, nil
}

// DecodeRecords reads what EncodeRecords wrote, taking at most max bytes of memory for its data. Invalid
// BATCH_QUARANTINED for anything else.
func DecodeRecords(data []byte, max int64) (o record.Origin, b record.Batch, err error) {
	kind, sections, err := open(data)
	if err != nil {
		return o, b, err
	}
	b.Kind = record.Kind(kind&^kindAbsent - kindRecords)
	switch {
	case !b.Kind.Valid():
		return o, record.Batch{}, bad("is not a batch of records")
	case kind&kindAbsent != 0:
		o, b.Absent, err = decodeAbsent(sections, max)
		return o, b, err
	case len(sections) != maxSections:
		return o, record.Batch{}, bad("is not a batch of records")
	}
	if o, err = origin(sections[0]); err != nil {
		return o, b, err
	}
	if b.Record, err = decode(sections[1], max); err != nil {
		return o, record.Batch{}, err
	}
	if err := checkRecords(b.Record); err != nil {
		return o, record.Batch{}, err
	}
	if b.Rejects, err = decodeRejects(sections[2], max); err != nil {
		return o, record.Batch{}, err
	}
	if b.Filtered, err = decodeFiltered(sections[3], max); err != nil {
		return o, record.Batch{}, err
	}
	if b.Kept, err = decodeKept(sections[4], max); err != nil {
		return o, record.Batch{}, err
	}
	return o, b, nil
}

// kindOf answers how an envelope names what its records are.
func kindOf(k record.Kind) byte {
	return kindRecords + byte(k)
}

// PeekOrigin reads only where an envelope comes from, for reports about batches that cannot be decoded. The checksum
// is not looked at.
func PeekOrigin(data []byte) (record.Origin, error) {
	if len(data) < headLength {
		return record.Origin{}, bad("is too short")
	}
	s, _, ok := section(data[headLength:])
	if !ok {
		return record.Origin{}, bad("has no origin")
	}
	return origin(s)
}

func encode(kind byte, o record.Origin, records ...arrow.RecordBatch) ([]byte, error) {
	head, err := json.Marshal(toHeader(o))
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "encode the origin of a batch: %w", err)
	}
	out := make([]byte, headLength, capacity(len(head), records))
	copy(out, magic)
	out[2], out[3] = version, kind
	out = binary.BigEndian.AppendUint32(out, uint32(len(head)))
	out = append(out, head...)
	for _, r := range records {
		at := len(out)
		out = append(out, 0, 0, 0, 0)
		if out, err = appendIPC(out, r); err != nil {
			return nil, err
		}
		binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4))
	}
	binary.BigEndian.PutUint64(out[4:], xxh3.Hash(out[headLength:]))
	return out, nil
}

// capacity answers room for an envelope: what LZ4 leaves of such batches, seldom more than three quarters.
func capacity(head int, records []arrow.RecordBatch) int {
	n := int64(headLength + head + 4<<10)
	for _, r := range records {
		if r != nil {
			n += util.TotalRecordSize(r) * 3 / 4
		}
	}
	return int(min(n, maxCapacity))
}

// open checks an envelope's head and checksum and answers its sections.
func open(data []byte) (byte, [][]byte, error) {
	switch {
	case len(data) < headLength || string(data[:2]) != magic:
		return 0, nil, bad("has no envelope")
	case data[2] != version:
		return 0, nil, bad("has an envelope of another version")
	case binary.BigEndian.Uint64(data[4:]) != xxh3.Hash(data[headLength:]):
		return 0, nil, bad("does not match its checksum")
	}
	var sections [][]byte
	for rest := data[headLength:]; len(rest) > 0; {
		s, r, ok := section(rest)
		if !ok || len(sections) == maxSections {
			return 0, nil, bad("has a section that is cut off")
		}
		sections, rest = append(sections, s), r
	}
	if len(sections) == 0 {
		return 0, nil, bad("has no sections")
	}
	return data[3], sections, nil
}

func section(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// bad is the error of an envelope that cannot be read. It holds nothing of its content.
func bad(what string) error {
	return fault.New(fault.Invalid, fault.ReasonBatchQuarantined, "the batch %s", what)
}
