package profile

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/record"
)

// KeysOf answers what must be looked up to decide on b. Identity columns are in the order of r's priority; unusable
// values are NULL. Arrays alias those of b.
func KeysOf(b record.Batch, o record.Origin, s Scope, r Rules) Keys {
	k := Keys{Scope: s, Origin: o}
	if b.Absent != nil {
		return keysOfAbsent(k, b.Absent)
	}
	if b.Record == nil {
		return k
	}
	k.Rows = fixed16(b, record.PosKey)
	k.RecordHashes = fixed16(b, record.PosRecordHash)
	ids, ok := b.Record.Column(record.PosIdentities).(*array.Struct)
	if !ok {
		return k
	}
	t := ids.DataType().(*arrow.StructType) //nolint:forcetypeassert // a struct array has a struct type
	names := make([]string, t.NumFields())
	at := make(map[string]int, t.NumFields())
	for f := range names {
		names[f] = t.Field(f).Name
		at[names[f]] = f
	}
	for _, name := range identity.Order(names, r.Priority) {
		if col, ok := ids.Field(at[name]).(*array.String); ok {
			values, blocked := usable(col, ids, &r.Identities, name == identity.MPID)
			k.Identities, k.Blocked = append(k.Identities, IdentityColumn{name, values}), k.Blocked+blocked
		}
	}
	return k
}

// Len answers how many positions k has.
func (k Keys) Len() int {
	if k.Rows == nil {
		return 0
	}
	return k.Rows.Len()
}

func fixed16(b record.Batch, pos int) *array.FixedSizeBinary {
	return b.Record.Column(pos).(*array.FixedSizeBinary) //nolint:forcetypeassert // the form of a batch is checked by wire
}

// usable answers col with NULL for values that name nobody, and how many of these are blocked; col itself where all of its
// values are usable.
func usable(col *array.String, parent *array.Struct, p *identity.Policy, mpid bool) (*array.String, int64) {
	var valid []byte // made when the first value falls
	blocked := int64(0)
	n := col.Len()
	for i := range n {
		if col.IsNull(i) {
			continue
		}
		if v := col.Value(i); !parent.IsNull(i) && p.Usable(v) && (!mpid || IsMPID(v)) {
			continue
		}
		if !parent.IsNull(i) && p.Blocks(col.Value(i)) {
			blocked++
		}
		if valid == nil {
			valid = make([]byte, bitutil.BytesForBits(int64(n)))
			for j := range n {
				bitutil.SetBitTo(valid, j, col.IsValid(j))
			}
		}
		bitutil.ClearBit(valid, i)
	}
	if valid == nil {
		return col, 0
	}
	d := col.Data()
	// The offsets buffer is cut to the array's own, so that the new validity begins at bit 0.
	offsets := memory.NewBufferBytes(d.Buffers()[1].Bytes()[4*d.Offset():])
	data := array.NewData(d.DataType(), n, []*memory.Buffer{memory.NewBufferBytes(valid), offsets, d.Buffers()[2]}, nil, array.UnknownNullCount, 0)
	defer data.Release()
	return array.NewStringData(data), blocked
}

// IsMPID says whether v is the text of a profile id.
func IsMPID(v string) bool {
	p, err := id.ParseProfile(v)
	return err == nil && p.String() == v
}

// Derive answers the n-th choice of an id for the profile whose first identity is (typ, value): a positive 63-bit
// number. Equal arguments give equal ids for ever.
func Derive(s Scope, typ, value string, n int) id.Profile {
	var fixed [256]byte
	b := append(fixed[:0], s.Workspace...)
	b = append(b, 0)
	b = append(b, s.Environment...)
	b = append(b, 0)
	if s.Space != "" {
		b = append(append(b, s.Space...), 0)
	}
	b = append(b, typ...)
	b = append(b, 0)
	b = append(b, value...)
	h := xxh3.HashSeed(b, uint64(n)) & math.MaxInt64 //nolint:gosec // n is small and not negative
	if h == 0 {
		h = 1
	}
	return id.Profile(h)
}

// EventIDOf answers the id of the event that a row is.
func EventIDOf(s id.Sync, k id.Row) EventID {
	var b [32]byte
	copy(b[:16], s[:])
	copy(b[16:], k[:])
	return EventID(xxh3.Hash128(b[:]).Bytes())
}
