package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/killpoint"
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
		killpoint.Reach("postgres.fence.before")
		return err
	})
	killpoint.Reach("postgres.fence.after")
	if err != nil {
		return nil, err
	}
	return out, nil
}

// gate is what a commit goes through before it writes: the fence of its part, held shared from here on, the fences that
// Look saw, and the batch key.
type gate struct {
	fence    int64 // of the batch's part
	fences   map[profile.RunPart]uint32
	first    bool // the batch key was not there; it is written
	overlaps bool // another fragment of the same batch that covers some of its rows was applied
}

// passGate asks all of that in one round. A part has a fence from its first commit on, so that there is always a row to
// hold; another delivery of the same batch that is just being committed is waited for.
func passGate(ctx context.Context, c *pgconn.PgConn, o record.Origin, r profile.Result) (gate, error) {
	g := gate{fences: map[profile.RunPart]uint32{}}
	part := []param{uuid(r.Batch.Run), int8of(int64(r.Batch.Part))}
	fields := countFields(&r.Counts)
	counts := newElements(len(fields), 8)
	for _, f := range fields {
		counts.int8(*f)
	}
	err := round(ctx, c,
		query{
			sql:    `INSERT INTO millrace_store.fences (run, part, epoch) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING`,
			params: part,
		},
		query{
			sql:    `SELECT epoch FROM millrace_store.fences WHERE run = $1 AND part = $2 FOR SHARE`,
			params: part,
			each:   func(v [][]byte) { g.fence = getInt8(v[0]) },
		},
		fencesOf(o, g.fences),
		query{
			sql: `INSERT INTO millrace_store.batches
					(run, part, epoch, seq, fragment, first_row, row_count, last, counts, digest)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING part`,
			params: append(batchKey(r.Batch), int8of(r.FirstRow), int8of(r.Rows), boolean(r.Last), counts.int8s(), uuid(r.Digest.Bytes())),
			each:   func([][]byte) { g.first = true },
		},
		query{
			sql: `SELECT part FROM millrace_store.batches
				WHERE run = $1 AND part = $2 AND epoch = $3 AND seq = $4 AND fragment <> $5
					AND first_row < $6 AND first_row + row_count > $7 LIMIT 1`,
			params: append(batchKey(r.Batch), int8of(r.FirstRow+r.Rows), int8of(r.FirstRow)),
			each:   func([][]byte) { g.overlaps = true },
		})
	return g, err
}

// fencesOf asks for the fences of a run and of those that it retries. A fence at 0 is none.
func fencesOf(o record.Origin, into map[profile.RunPart]uint32) query {
	numbers := map[id.Run]int64{o.Batch.Run: o.RunNo}
	runs := newElements(1+len(o.Retried), 16)
	runs.bytes(o.Batch.Run[:])
	for _, r := range o.Retried {
		numbers[r.Run] = r.RunNo
		runs.bytes(r.Run[:])
	}
	return query{
		sql: `SELECT run, part, epoch FROM millrace_store.fences WHERE run = ANY($1) AND epoch > 0`,
		each: func(v [][]byte) {
			into[profile.RunPart{RunNo: numbers[id.Run(v[0])], Part: uint32(getInt8(v[1]))}] = uint32(getInt8(v[2])) //nolint:gosec // written from uint32
		},
		params: []param{runs.uuids()},
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
		&c.LateRows, &c.Collapsed, &c.Unattributed, &c.NullIterator, &c.Merges, &c.Blocked,
	}
}

// getBatch answers the result kept under a batch key.
func getBatch(ctx context.Context, c *pgconn.PgConn, b id.Batch) (out profile.Result, err error) {
	_, err = exec(ctx, c, selectResults+` WHERE run = $1 AND part = $2 AND epoch = $3 AND seq = $4 AND fragment = $5`,
		func(v [][]byte) { out = readResult(b.Run, v) }, batchKey(b)...)
	return out, err
}
