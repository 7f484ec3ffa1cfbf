package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

// Resolve answers the profile that an identity is bound to, 0 where it is bound to none.
func (s *Store) Resolve(ctx context.Context, sc profile.Scope, typ, value string) (id.Profile, error) {
	key, _ := identityKey(nil, sc, typ, value)
	var p int64
	err := s.pool.QueryRow(ctx, `SELECT profile FROM millrace_store.identities WHERE key = $1`, key).Scan(&p)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, nil
	case err != nil:
		return 0, classify(ctx, "resolve an identity", err)
	}
	return id.Profile(p), nil
}

// Profile answers the document of a profile, nil where there is none.
func (s *Store) Profile(ctx context.Context, sc profile.Scope, p id.Profile) ([]byte, error) {
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return nil, err
	}
	var doc []byte
	err = s.pool.QueryRow(ctx, `SELECT doc FROM millrace_store.profiles WHERE scope = $1 AND profile = $2`,
		scope, int64(p)).Scan(&doc)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, classify(ctx, "read a profile", err)
	}
	return doc, nil
}

// Profiles answers profiles in the order of their ids.
func (s *Store) Profiles(ctx context.Context, sc profile.Scope, after string, limit int) ([]store.ProfileDoc, string, error) {
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return nil, "", err
	}
	from := int64(-1)
	if after != "" {
		if err := scan(after, &from); err != nil {
			return nil, "", err
		}
	}
	rows, err := s.pool.Query(ctx, `SELECT profile, doc FROM millrace_store.profiles
		WHERE scope = $1 AND profile > $2 AND survivor IS NULL ORDER BY profile LIMIT $3`, scope, from, limit)
	out, err := collect(ctx, rows, err, func(r pgx.CollectableRow) (store.ProfileDoc, error) {
		var p int64
		var d store.ProfileDoc
		err := r.Scan(&p, &d.Doc)
		d.Profile = id.Profile(p)
		return d, err
	})
	if err != nil || len(out) < limit {
		return out, "", err
	}
	return out, fmt.Sprint(int64(out[len(out)-1].Profile)), nil
}

// ProfileEvents answers the events of a profile, newest first.
func (s *Store) ProfileEvents(ctx context.Context, sc profile.Scope, p id.Profile, after string, limit int) ([]store.EventDoc, string, error) {
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return nil, "", err
	}
	args := []any{scope, int64(p), limit}
	sql := `SELECT profile, time, id, doc FROM millrace_store.events WHERE scope = $1 AND profile = $2`
	if after != "" {
		k, err := parseEventKey(after)
		if err != nil {
			return nil, "", err
		}
		sql += ` AND (time, id) < ($4, $5)`
		args = append(args, k.Time, [16]byte(k.ID))
	}
	rows, err := s.pool.Query(ctx, sql+` ORDER BY time DESC, id DESC LIMIT $3`, args...)
	return eventPage(ctx, rows, err, limit)
}

// SyncEvents answers the events that a sync brought in, in the order of time and id.
func (s *Store) SyncEvents(ctx context.Context, sc profile.Scope, f store.EventFilter, after string, limit int) ([]store.EventDoc, string, error) {
	scope, err := s.scopes.number(ctx, s.pool, sc, false)
	if err != nil || scope < 0 {
		return nil, "", err
	}
	sync, err := s.syncs.number(ctx, s.pool, f.Sync, false)
	if err != nil || sync < 0 {
		return nil, "", err
	}
	var b strings.Builder
	b.WriteString(`SELECT profile, time, id, doc FROM millrace_store.events WHERE sync = $1 AND scope = $2`)
	args := []any{sync, scope}
	where := func(cond string, vs ...any) {
		marks := make([]any, len(vs))
		for i, v := range vs {
			args = append(args, v)
			marks[i] = len(args)
		}
		fmt.Fprintf(&b, cond, marks...)
	}
	if f.RunNo != 0 {
		where(` AND run_no = $%d`, f.RunNo)
	}
	if !f.From.IsZero() {
		where(` AND time >= $%d`, f.From.UnixMilli())
	}
	if !f.Until.IsZero() {
		where(` AND time < $%d`, f.Until.UnixMilli())
	}
	if after != "" {
		k, err := parseEventKey(after)
		if err != nil {
			return nil, "", err
		}
		where(` AND (time, id, profile) > ($%d, $%d, $%d)`, k.Time, [16]byte(k.ID), int64(k.Profile))
	}
	where(` ORDER BY time, id, profile LIMIT $%d`, limit)
	rows, err := s.pool.Query(ctx, b.String(), args...)
	return eventPage(ctx, rows, err, limit)
}

func eventPage(ctx context.Context, rows pgx.Rows, err error, limit int) ([]store.EventDoc, string, error) {
	out, err := collect(ctx, rows, err, scanEvent)
	if err != nil || len(out) < limit {
		return out, "", err
	}
	k := out[len(out)-1].Key
	return out, fmt.Sprintf("%d %x %d", k.Time, k.ID[:], k.Profile), nil
}

func scanEvent(r pgx.CollectableRow) (store.EventDoc, error) {
	var p int64
	var at [16]byte
	var d store.EventDoc
	err := r.Scan(&p, &d.Key.Time, &at, &d.Doc)
	d.Key.Profile, d.Key.ID = id.Profile(p), at
	return d, err //nolint:wrapcheck // classified by collect
}

func parseEventKey(token string) (profile.EventKey, error) {
	var k profile.EventKey
	var at []byte
	if err := scanf(token, "%d %x %d", &k.Time, &at, &k.Profile); err != nil {
		return k, err
	}
	if len(at) != len(k.ID) {
		return k, badToken()
	}
	copy(k.ID[:], at)
	return k, nil
}

// Everything walks identities, profiles and events as they are at one instant.
func (s *Store) Everything(ctx context.Context) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			for _, walk := range []func(context.Context, pgx.Tx, func(store.Item) bool) (bool, error){walkIdentities, walkProfiles, walkEvents} {
				on, err := walk(ctx, tx, func(i store.Item) bool { return yield(i, nil) })
				if err != nil {
					return err
				}
				if !on {
					return errStopped
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(store.Item{}, classify(ctx, "walk the store", err))
		}
	}
}

// errStopped says that whoever walks has seen enough.
var errStopped = errors.New("stopped")

func walkIdentities(ctx context.Context, tx pgx.Tx, yield func(store.Item) bool) (bool, error) {
	rows, err := tx.Query(ctx, `SELECT s.workspace, s.environment, s.space, i.type, i.value, i.profile
		FROM millrace_store.identities i JOIN millrace_store.scopes s ON s.id = i.scope`)
	return walk(rows, err, func(r pgx.Rows) (store.Item, error) {
		var i store.Item
		var w profile.IdentityWrite
		var p int64
		var value []byte
		err := r.Scan(&i.Scope.Workspace, &i.Scope.Environment, &i.Scope.Space, &w.Type, &value, &p)
		w.Value, w.Profile = string(value), id.Profile(p)
		i.Identity = &w
		return i, err
	}, yield)
}

func walkProfiles(ctx context.Context, tx pgx.Tx, yield func(store.Item) bool) (bool, error) {
	rows, err := tx.Query(ctx, `SELECT s.workspace, s.environment, s.space, p.profile, p.doc
		FROM millrace_store.profiles p JOIN millrace_store.scopes s ON s.id = p.scope`)
	return walk(rows, err, func(r pgx.Rows) (store.Item, error) {
		var i store.Item
		var d store.ProfileDoc
		var p int64
		err := r.Scan(&i.Scope.Workspace, &i.Scope.Environment, &i.Scope.Space, &p, &d.Doc)
		d.Profile = id.Profile(p)
		i.Profile = &d
		return i, err
	}, yield)
}

func walkEvents(ctx context.Context, tx pgx.Tx, yield func(store.Item) bool) (bool, error) {
	rows, err := tx.Query(ctx, `SELECT s.workspace, s.environment, s.space, e.profile, e.time, e.id, e.doc
		FROM millrace_store.events e JOIN millrace_store.scopes s ON s.id = e.scope`)
	return walk(rows, err, func(r pgx.Rows) (store.Item, error) {
		var i store.Item
		var d store.EventDoc
		var p int64
		var at [16]byte
		err := r.Scan(&i.Scope.Workspace, &i.Scope.Environment, &i.Scope.Space, &p, &d.Key.Time, &at, &d.Doc)
		d.Key.Profile, d.Key.ID = id.Profile(p), at
		i.Event = &d
		return i, err
	}, yield)
}

// walk yields each row; it answers false when the receiver has seen enough.
func walk(rows pgx.Rows, err error, read func(pgx.Rows) (store.Item, error), yield func(store.Item) bool) (bool, error) {
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		i, err := read(rows)
		if err != nil {
			return false, err
		}
		if !yield(i) {
			return false, nil
		}
	}
	return true, rows.Err() //nolint:wrapcheck // classified by Everything
}

func collect[T any](ctx context.Context, rows pgx.Rows, err error, f pgx.RowToFunc[T]) ([]T, error) {
	if err != nil {
		return nil, classify(ctx, "read", err)
	}
	out, err := pgx.CollectRows(rows, f)
	if err != nil {
		return nil, classify(ctx, "read", err)
	}
	return out, nil
}

// scan reads the numbers of a page token.
func scan(token string, to ...any) error {
	return scanf(token, strings.TrimSuffix(strings.Repeat("%d ", len(to)), " "), to...)
}

func scanf(token, format string, to ...any) error {
	if _, err := fmt.Sscanf(token, format, to...); err != nil {
		return badToken()
	}
	return nil
}

func badToken() error {
	return &fault.Error{
		Class: fault.Invalid, Reason: fault.ReasonInvalidArgument, Field: "page_token",
		Message: "the page token is not one that this list answered; ask from the start",
	}
}
