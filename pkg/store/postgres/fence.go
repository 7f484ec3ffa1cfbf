package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// Fence raises the fence of a part. Commits hold the fence's row shared until they are durable, so that Fence's answer
// has every batch that got in before it, and none gets in after it.
func (s *Store) Fence(ctx context.Context, p id.Part, epoch uint32) ([]profile.Result, error) {
	var out []profile.Result
	err := s.tx(ctx, "fence", func(c *pgconn.PgConn) error {
		_, err := exec(ctx, c, `INSERT INTO millrace_store.fences AS f (run, part, epoch) VALUES ($1, $2, $3)
			ON CONFLICT (run, part) DO UPDATE SET epoch = greatest(f.epoch, EXCLUDED.epoch)`,
			nil, uuid(p.Run), int8of(int64(p.Part)), int8of(int64(epoch)))
		if err != nil {
			return err
		}
		_, err = exec(ctx, c, selectResults+` WHERE run = $1 AND part = $2 ORDER BY epoch, seq, fragment`,
			func(v [][]byte) { out = append(out, readResult(p.Run, v)) }, uuid(p.Run), int8of(int64(p.Part)))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// underFence takes the part's fence shared and says whether the batch is below it. A part has a fence from its first
// commit on, so that there is always a row to hold.
func underFence(ctx context.Context, c *pgconn.PgConn, b id.Batch) (bool, error) {
	part := []param{uuid(b.Run), int8of(int64(b.Part))}
	for {
		fence := int64(-1)
		_, err := exec(ctx, c, `SELECT epoch FROM millrace_store.fences WHERE run = $1 AND part = $2 FOR SHARE`,
			func(v [][]byte) { fence = getInt8(v[0]) }, part...)
		if err != nil {
			return false, err
		}
		if fence >= 0 {
			return int64(b.Epoch) < fence, nil
		}
		n, err := exec(ctx, c, `INSERT INTO millrace_store.fences (run, part, epoch) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING`, nil, part...)
		if err != nil {
			return false, err
		}
		if n == 1 {
			return false, nil
		}
	}
}

const selectResults = `SELECT part, epoch, seq, fragment, first_row, row_count, last, counts, digest FROM millrace_store.batches`

// readResult reads a row of selectResults.
func readResult(run id.Run, v [][]byte) profile.Result {
	r := profile.Result{
		Batch: id.Batch{
			Run: run, Part: uint32(getInt8(v[0])), Epoch: uint32(getInt8(v[1])), //nolint:gosec // written from uint32
			Seq: uint32(getInt8(v[2])), Fragment: uint32(getInt8(v[3])), //nolint:gosec // written from uint32
		},
		FirstRow: getInt8(v[4]), Rows: getInt8(v[5]), Last: v[6][0] != 0, Digest: row.FromBytes(v[8]),
	}
	counts := v[7]
	if len(counts) < arrayHeader {
		return r
	}
	counts = counts[arrayHeader:]
	for _, f := range countFields(&r.Counts) {
		if len(counts) < 12 {
			break
		}
		*f = getInt8(counts[4:])
		counts = counts[12:]
	}
	return r
}

// countFields lists the counts in the order in which a batch's row keeps them.
func countFields(c *record.Counts) []*int64 {
	return []*int64{
		&c.Read, &c.Filtered, &c.Rejected, &c.Mapped, &c.Absent,
		&c.Created, &c.Updated, &c.Unchanged, &c.Deleted, &c.Protected, &c.Refused,
		&c.LateRows, &c.Collapsed, &c.Unattributed, &c.NullIterator,
	}
}

// putBatch writes the batch key with its result. It answers false where it is there already; another delivery that is
// just being committed is waited for.
func putBatch(ctx context.Context, c *pgconn.PgConn, r profile.Result) (bool, error) {
	counts := newElements(15, 8)
	for _, f := range countFields(&r.Counts) {
		counts.int8(*f)
	}
	n, err := exec(ctx, c, `INSERT INTO millrace_store.batches
			(run, part, epoch, seq, fragment, first_row, row_count, last, counts, digest)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`, nil,
		append(batchKey(r.Batch), int8of(r.FirstRow), int8of(r.Rows), boolean(r.Last), counts.int8s(), uuid(r.Digest.Bytes()))...)
	return n == 1, err
}

// getBatch answers the result kept under a batch key.
func getBatch(ctx context.Context, c *pgconn.PgConn, b id.Batch) (out profile.Result, err error) {
	_, err = exec(ctx, c, selectResults+` WHERE run = $1 AND part = $2 AND epoch = $3 AND seq = $4 AND fragment = $5`,
		func(v [][]byte) { out = readResult(b.Run, v) }, batchKey(b)...)
	return out, err
}

// overlaps says whether another fragment of the same batch that covers some of r's rows was applied.
func overlaps(ctx context.Context, c *pgconn.PgConn, r profile.Result) (bool, error) {
	n, err := exec(ctx, c, `SELECT fragment FROM millrace_store.batches
		WHERE run = $1 AND part = $2 AND epoch = $3 AND seq = $4 AND fragment <> $5
			AND first_row < $6 AND first_row + row_count > $7 LIMIT 1`,
		nil, append(batchKey(r.Batch), int8of(r.FirstRow+r.Rows), int8of(r.FirstRow))...)
	return n > 0, err
}
