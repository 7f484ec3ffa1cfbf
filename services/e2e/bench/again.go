//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// runIncremental measures what a run costs that finds 1 % of the users touched, all with one row time, and a run after
// it that reads exactly those again, because a window is closed at both ends, and must write nothing for them.
func runIncremental(ctx context.Context, b bench, w workload, n int64) ([]figures, error) {
	return b.in(ctx, w.letter, n, nil, func(s *scene) ([]figures, error) {
		load, err := s.loadUsers(ctx, b, usersDocuments, loaded)
		if err != nil {
			return nil, err
		}
		if err := execute(ctx, s.source, "UPDATE users SET ltv = ltv + 1, visits = 1000, updated_at = TIMESTAMP '2026-01-01' WHERE customer_id % 100 = 7"); err != nil {
			return nil, err
		}
		touched := n / 100
		sample := fmt.Sprintf("customer_id %% %d IN (7, 8)", step(n))
		verify := func() (verified, error) { return verifyUsers(ctx, s.system, n, sample, duckUsers(s.source)) }
		second, err := s.measured(ctx, s.id, "users", account{read: touched + 1, updated: touched, unchanged: 1}, verify)
		if err != nil {
			return nil, err
		}
		third, err := s.measured(ctx, s.id+"-unchanged", "users", account{read: touched, unchanged: touched}, func() (verified, error) {
			v, err := verify()
			if err == nil && v.digest != second.Verified.digest {
				err = errors.New("a run over unchanged rows has changed the store") //nolint:err113 // for people
			}
			return v, err
		})
		if err != nil {
			return nil, err
		}
		if perRow := third.Written * (1 << 20) / float64(touched); perRow > 1 && touched >= 10_000 {
			return nil, fmt.Errorf("%s: %.1f bytes were written for each unchanged row", third.ID, perRow) //nolint:err113 // for people
		}
		return []figures{load, second, third}, nil
	})
}

// runMirror measures the second run of a mirror that finds 0.5 % of the rows updated, 0.3 % inserted and 0.2 % deleted.
// With the engine diff rows that have not changed are not read.
func runMirror(engine string) func(context.Context, bench, workload, int64) ([]figures, error) {
	documents := strings.Replace(usersDocuments, "mode: incremental\n", "mode: mirror\nmirror_engine: "+engine+"\n", 1)
	return func(ctx context.Context, b bench, w workload, n int64) ([]figures, error) {
		return b.in(ctx, w.letter+"-"+engine, n, nil, func(s *scene) ([]figures, error) {
			load, err := s.loadUsers(ctx, b, documents, loaded)
			if err != nil {
				return nil, err
			}
			updated, inserted, deleted := n/200, n*3/1000, n/500
			err = execute(ctx, s.source,
				"UPDATE users SET ltv = ltv + 1, visits = 1000, updated_at = TIMESTAMP '2026-01-01' WHERE customer_id % 200 = 7",
				"DELETE FROM users WHERE customer_id % 500 = 10",
				fmt.Sprintf("INSERT INTO users SELECT * REPLACE (customer_id + %d AS customer_id, 'new' || customer_id || '@example.com' AS email, TIMESTAMP '2026-01-01' AS updated_at) FROM users WHERE customer_id %% 1000 IN (1, 2, 3)", n))
			if err != nil {
				return nil, err
			}
			left := n + inserted - deleted
			want := account{read: left, created: inserted, updated: updated, unchanged: n - updated - deleted, deleted: deleted}
			if engine == "diff" {
				want.read, want.unchanged = inserted+updated, 0
			}
			sample := fmt.Sprintf("customer_id %% %d IN (1, 3, 7, 8)", step(n))
			second, err := s.measured(ctx, s.id, "users", want, func() (verified, error) {
				v, err := verifyUsers(ctx, s.system, left, sample, duckUsers(s.source))
				if err != nil {
					return v, err
				}
				return v, s.gone(ctx, n, 10)
			})
			if err != nil {
				return nil, err
			}
			return []figures{load, second}, nil
		})
	}
}

// loaded verifies nothing of a load: what it left is compared with the source after the run that follows it.
func loaded() (verified, error) { return verified{}, nil }

// verifyLoad compares what a load left with the source.
func (s *scene) verifyLoad(ctx context.Context) (verified, error) {
	return verifyUsers(ctx, s.system, s.n, fmt.Sprintf("customer_id %% %d = 7", step(s.n)), duckUsers(s.source))
}

// loadUsers makes the source and measures the first run over it.
func (s *scene) loadUsers(ctx context.Context, b bench, documents string, verify func() (verified, error)) (figures, error) {
	if err := makeUsers(ctx, s.source, s.n, b.options.seed); err != nil {
		return figures{}, err
	}
	if err := s.apply(ctx, duckdbConnection(s.source)+documents); err != nil {
		return figures{}, err
	}
	return s.measured(ctx, s.id+"-load", "users", account{read: s.n, created: s.n}, verify)
}
