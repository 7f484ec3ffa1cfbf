package postgres

import (
	"context"
	"encoding/hex"

	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// importPage is how many entries are looked at in one query for those that an import wrote.
const importPage = 10_000

// Imported answers row keys that some runs of a sync wrote last.
func (s *Store) Imported(ctx context.Context, m profile.Import, after string, limit int) ([]id.Row, string, error) {
	sync, err := s.syncs.number(ctx, s.pool, m.Sync, false)
	if err != nil {
		return nil, "", err
	}
	var from [16]byte
	if b, err := hex.DecodeString(after); err != nil || after != "" && len(b) != len(from) {
		return nil, "", badToken()
	} else {
		copy(from[:], b)
	}
	compare := ">="
	if after != "" {
		compare = ">"
	}
	var out []id.Row
	for {
		seen, bad := 0, false
		err := s.with(ctx, "read", func(c *pgconn.PgConn) error {
			_, err := exec(ctx, c, `SELECT key, entry FROM millrace_store.row_index
				WHERE sync = $1 AND key `+compare+` $2 ORDER BY key LIMIT $3`, func(v [][]byte) {
				seen++
				e, ok := readEntry(v[1])
				bad = bad || !ok
				if len(out) <= limit && m.Wrote(e) {
					out = append(out, id.Row(v[0]))
				}
				copy(from[:], v[0])
			}, int4(sync), uuid(from), int4(importPage))
			return err
		})
		switch compare = ">"; {
		case err != nil:
			return nil, "", err
		case bad:
			return nil, "", fault.New(fault.Internal, fault.ReasonInternal, "store: read: an entry of the row index can not be read")
		case len(out) > limit:
			return out[:limit], hex.EncodeToString(out[limit-1][:]), nil
		case seen < importPage:
			return out, "", nil
		}
	}
}

// entriesGone removes entries of the row index, those that are as they were looked up.
func (w writing) entriesGone() error {
	gone := w.e.EntriesGone
	if len(gone) == 0 {
		return nil
	}
	keys, revs := newElements(0, 16), newElements(0, 4)
	var rev int32
	at := 0
	for _, r := range rank(len(gone), func(i int) uint64 { return leading(gone[i][:]) }) {
		rev, at = w.saw.rev(gone[r.at], at)
		keys.bytes(gone[r.at][:])
		revs.int4(rev)
	}
	n, err := exec(w.ctx, w.c, `DELETE FROM millrace_store.row_index r USING unnest($2::uuid[], $3::integer[]) AS u(k, v)
		WHERE r.sync = $1 AND r.key = u.k AND r.rev = u.v`, nil, int4(w.sync), keys.uuids(), revs.int4s())
	if err == nil && n != int64(keys.n) {
		return changed("commit", nil)
	}
	return err
}
