package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/store"
)

// rejects puts the rejects and, beside them, the rows that are kept of them.
func (w writing) rejects() error {
	o := w.e.Keys.Origin
	rows := newCopied(17, len(w.e.Rejects), 400)
	for n, r := range w.e.Rejects {
		hash := r.Hash.Bytes()
		rows.row()
		rows.bytes(o.Batch.Run[:])
		rows.int8(int64(o.Batch.Part))
		rows.int8(int64(o.Batch.Epoch))
		rows.int8(int64(o.Batch.Seq))
		rows.int8(int64(o.Batch.Fragment))
		rows.int8(int64(r.Row))
		rows.int8(int64(n))
		rows.bytes(r.Key[:])
		rows.bytes(hash[:])
		rows.text(r.KeyValues)
		rows.text(printable(r.Column))
		rows.text(printable(string(r.Stage)))
		rows.text(printable(r.Rule))
		rows.text(printable(r.Reason))
		rows.text(string(o.Workspace))
		rows.bytes(o.Sync[:])
		rows.text(o.SyncID)
	}
	if err := rows.send(w.ctx, w.c, `millrace_store.rejects (run, part, epoch, seq, fragment, row, n, key, hash, key_values,
		column_name, stage, rule, reason, workspace, sync, sync_id)`); err != nil || len(w.e.Kept) == 0 {
		return err
	}
	kept := newCopied(6, 1, len(w.e.Kept)+100)
	kept.row()
	kept.bytes(o.Batch.Run[:])
	kept.int8(int64(o.Batch.Part))
	kept.int8(int64(o.Batch.Epoch))
	kept.int8(int64(o.Batch.Seq))
	kept.int8(int64(o.Batch.Fragment))
	kept.bytes(w.e.Kept)
	return kept.send(w.ctx, w.c, `millrace_store.kept_rows (run, part, epoch, seq, fragment, sealed)`)
}

// Rejects answers the rejects of a run in the order of batches and rows, of each part those of its newest epoch.
func (s *Store) Rejects(ctx context.Context, run id.Run, after string, limit int) ([]store.StoredReject, string, error) {
	at := [6]int64{-1, -1, -1, -1, -1, -1}
	if after != "" {
		if err := scan(after, &at[0], &at[1], &at[2], &at[3], &at[4], &at[5]); err != nil {
			return nil, "", err
		}
	}
	rows, err := s.pool.Query(ctx, `SELECT part, epoch, seq, fragment, row, key, hash, key_values, column_name, stage, rule, reason,
			workspace, sync, sync_id, create_time, n
		FROM millrace_store.rejects AS r WHERE run = $1 AND (part, epoch, seq, fragment, row, n) > ($2, $3, $4, $5, $6, $7)
			AND epoch = (SELECT max(b.epoch) FROM millrace_store.batches AS b WHERE b.run = r.run AND b.part = r.part)
		ORDER BY part, epoch, seq, fragment, row, n LIMIT $8`, [16]byte(run), at[0], at[1], at[2], at[3], at[4], at[5], limit)
	var n int64 // of the last one
	out, err := collect(ctx, rows, err, func(r pgx.CollectableRow) (store.StoredReject, error) { return scanReject(run, r, &n) })
	if err != nil || len(out) < limit {
		return out, "", err
	}
	x := out[len(out)-1]
	return out, fmt.Sprint(x.Batch.Part, x.Batch.Epoch, x.Batch.Seq, x.Batch.Fragment, x.Reject.Row, n), nil
}

// scanReject reads a reject; what follows the columns of its own is read into more.
func scanReject(run id.Run, r pgx.CollectableRow, more ...any) (store.StoredReject, error) {
	x := store.StoredReject{Batch: id.Batch{Run: run}}
	var key, hash, sync [16]byte
	var keyValues []byte
	var stage, workspace string
	var at time.Time
	err := r.Scan(append([]any{
		&x.Batch.Part, &x.Batch.Epoch, &x.Batch.Seq, &x.Batch.Fragment, &x.Reject.Row, &key, &hash, &keyValues,
		&x.Reject.Column, &stage, &x.Reject.Rule, &x.Reject.Reason, &workspace, &sync, &x.Origin.SyncID, &at,
	}, more...)...)
	x.Reject.Key, x.Reject.Hash, x.Reject.KeyValues = key, row.FromBytes(hash[:]), string(keyValues)
	x.Reject.Stage = record.Stage(stage)
	x.Origin.Workspace, x.Origin.Sync, x.Time = id.Workspace(workspace), sync, at.UTC()
	return x, err //nolint:wrapcheck // classified by collect
}

// CountRejects counts the rejects of a run by what they have in common.
func (s *Store) CountRejects(ctx context.Context, run id.Run, limit int) ([]store.RejectCount, error) {
	rows, err := s.pool.Query(ctx, `SELECT stage, column_name, rule, reason, count(*), (sum(count(*)) OVER ())::bigint
		FROM millrace_store.rejects AS r WHERE run = $1
			AND epoch = (SELECT max(b.epoch) FROM millrace_store.batches AS b WHERE b.run = r.run AND b.part = r.part)
		GROUP BY stage, column_name, rule, reason ORDER BY count(*) DESC LIMIT $2`, [16]byte(run), limit)
	var rest int64
	out, err := collect(ctx, rows, err, func(r pgx.CollectableRow) (x store.RejectCount, err error) {
		err = r.Scan(&x.Stage, &x.Column, &x.Rule, &x.Reason, &x.Rejects, &rest)
		return x, err //nolint:wrapcheck // classified by collect
	})
	if err != nil {
		return nil, err
	}
	for _, x := range out {
		rest -= x.Rejects
	}
	return store.Ranked(out, rest), nil
}

// Kept answers the rows that were kept of the rejects of a batch.
func (s *Store) Kept(ctx context.Context, b id.Batch) (sealed []byte, err error) {
	err = s.pool.QueryRow(ctx, `SELECT sealed FROM millrace_store.kept_rows
		WHERE run = $1 AND part = $2 AND epoch = $3 AND seq = $4 AND fragment = $5`,
		[16]byte(b.Run), int64(b.Part), int64(b.Epoch), int64(b.Seq), int64(b.Fragment)).Scan(&sealed)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, classify(ctx, "read kept rows", err)
	}
	return sealed, nil
}

// Expire removes rejects, oldest first. Processes that expire at once leave each other's alone.
func (s *Store) Expire(ctx context.Context, before time.Time, limit int) (int, error) {
	var n int
	err := s.pool.QueryRow(ctx, `WITH old AS (
			DELETE FROM millrace_store.rejects WHERE ctid = ANY (ARRAY (SELECT ctid FROM millrace_store.rejects
				WHERE create_time < $1 ORDER BY create_time LIMIT $2 FOR UPDATE SKIP LOCKED))
			RETURNING run, part, epoch, seq, fragment),
		rows AS (DELETE FROM millrace_store.kept_rows AS k USING old AS o
			WHERE (k.run, k.part, k.epoch, k.seq, k.fragment) = (o.run, o.part, o.epoch, o.seq, o.fragment))
		SELECT count(*) FROM old`, before, limit).Scan(&n)
	if err != nil {
		return 0, classify(ctx, "expire rejects", err)
	}
	return n, nil
}
