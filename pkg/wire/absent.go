package wire

import (
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
)

// kindAbsent is a bit beside the kind of an envelope: it holds keys of the row index that a mirror run did not read.
const kindAbsent = 0x80

// EncodeAbsent answers the envelope of keys that a mirror run did not read. It is an envelope of records to DecodeRecords.
func EncodeAbsent(o record.Origin, kind record.Kind, keys []id.Row) ([]byte, error) {
	rows := make([]record.Filtered, len(keys))
	for i, k := range keys {
		rows[i] = record.Filtered{Row: int32(i), Key: k} //nolint:gosec // as many as rows of a batch
	}
	return encode(kindAbsent|kindOf(kind), o, filteredRecord(rows))
}

func decodeAbsent(sections [][]byte, max int64) (record.Origin, []id.Row, error) {
	o, err := origin(sections[0])
	if err != nil {
		return o, nil, err
	}
	if len(sections) != 2 {
		return o, nil, bad("is not a batch of keys")
	}
	rows, err := decodeFiltered(sections[1], max)
	if err != nil {
		return o, nil, err
	}
	keys := make([]id.Row, len(rows))
	for i, r := range rows {
		keys[i] = r.Key
	}
	return o, keys, nil
}
