package config

import (
	"context"
	"fmt"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/sqldb"
)

// snapshotOf answers a sync as it was at a version, 0 being the newest. The sync is named by its uid, in any workspace
// unless w names one, or by its id. By uid, a sync that was deleted is found too.
func (s *Service) snapshotOf(ctx context.Context, w id.Workspace, name string, version int64) (resource.Snapshot, error) {
	uid, err := s.uidOf(ctx, w, name)
	if err != nil {
		return resource.Snapshot{}, err
	}
	var body string
	if version == 0 {
		err = s.db.QueryRow(ctx, "SELECT body FROM config_snapshots WHERE uid = ? ORDER BY version DESC LIMIT 1", uid).Scan(&body)
	} else {
		err = s.db.QueryRow(ctx, "SELECT body FROM config_snapshots WHERE uid = ? AND version = ?", uid, version).Scan(&body)
	}
	if isNotFound(err) {
		return resource.Snapshot{}, fault.New(fault.NotFound, fault.ReasonNotFound, "sync %s has no version %d; leave the version out for the newest", name, version)
	}
	if err != nil {
		return resource.Snapshot{}, fmt.Errorf("read the snapshot of sync %s: %w", name, err)
	}
	snap, err := decodeSnapshot(body)
	if err != nil || version != 0 {
		return snap, err
	}
	return s.withState(ctx, uid, snap)
}

// withState answers the newest version of a sync with the state that it is in, which makes no version: a draft that was
// activated since is none. A sync that was deleted stays as it was.
func (s *Service) withState(ctx context.Context, uid string, snap resource.Snapshot) (resource.Snapshot, error) {
	var body string
	err := s.db.QueryRow(ctx, `SELECT r.body FROM config_syncs s JOIN config_resources r ON r.workspace = s.workspace AND r.kind = 'Sync' AND r.id = s.id
		WHERE s.uid = ?`, uid).Scan(&body)
	if isNotFound(err) {
		return snap, nil
	}
	if err != nil {
		return resource.Snapshot{}, fmt.Errorf("read the state of sync %s: %w", uid, err)
	}
	r, err := decode(resource.KindSync, body)
	if err != nil {
		return resource.Snapshot{}, err
	}
	if now, ok := r.(*resource.Sync); ok {
		snap.Sync.State = now.State
	}
	return snap, nil
}

// uidOf answers the uid of a sync that is named by its uid or its id.
func (s *Service) uidOf(ctx context.Context, w id.Workspace, name string) (string, error) {
	var uid string
	if parsed, err := id.ParseSync(name); err == nil {
		err := s.db.QueryRow(ctx, "SELECT uid FROM config_snapshots WHERE uid = ? AND (workspace = ? OR ? = '') LIMIT 1", parsed.String(), string(w), string(w)).Scan(&uid)
		if !isNotFound(err) {
			return uid, err //nolint:wrapcheck // classified by sqldb
		}
	}
	err := s.db.QueryRow(ctx, "SELECT uid FROM config_syncs WHERE workspace = ? AND id = ?", string(w.Or()), name).Scan(&uid)
	if isNotFound(err) {
		return "", notFound(key{resource.KindSync, name})
	}
	return uid, err //nolint:wrapcheck // classified by sqldb
}

// current answers a sync with what it is made of now. NotFound where there is no such sync.
func (s *Service) current(ctx context.Context, w id.Workspace, sync string) (resource.Snapshot, error) {
	var out resource.Snapshot
	k := key{resource.KindSync, sync}
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		snap, whole, err := assemble(ctx, k, func(ctx context.Context, k key) (resource.Resource, error) {
			r, _, err := load(ctx, tx, w, k)
			return r, err
		})
		if err == nil && !whole {
			err = notFound(k)
		}
		out = snap
		return err
	})
	return out, err //nolint:wrapcheck // classified where it was born
}

// scheduled is what the scheduler must know of a sync.
type scheduled struct {
	sync        *resource.Sync
	activeSince time.Time
	connection  string // its id
}

// schedules answers the syncs of all workspaces in the order of their uids, at most n from after a uid on.
func (s *Service) schedules(ctx context.Context, after string, n int) ([]scheduled, error) {
	var out []scheduled
	err := s.db.Query(ctx, func(row sqldb.Row) error {
		var body, status, connection string
		var since, version int64
		if err := row.Scan(&body, &version, &status, &since, &connection); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
		r, err := decode(resource.KindSync, body)
		if err != nil {
			return err
		}
		if sync, ok := r.(*resource.Sync); ok {
			sync.Version, sync.Status = version, resource.SyncStatus(status)
			out = append(out, scheduled{sync, sqldb.Time(since), connection})
		}
		return nil
	}, `SELECT r.body, s.version, s.status, s.active_since, COALESCE((SELECT c.to_id FROM config_refs m
			JOIN config_refs c ON c.workspace = m.workspace AND c.kind = 'DataModel' AND c.id = m.to_id AND c.to_kind = 'Connection'
			WHERE m.workspace = s.workspace AND m.kind = 'Sync' AND m.id = s.id AND m.to_kind = 'DataModel'), '')
		FROM config_syncs s
		JOIN config_resources r ON r.workspace = s.workspace AND r.kind = 'Sync' AND r.id = s.id
		WHERE s.uid > ? ORDER BY s.uid LIMIT ?`, after, n)
	return out, err //nolint:wrapcheck // classified by sqldb
}

// setStatus writes what the scheduler sees of a sync. It makes no new version and no new etag.
func (s *Service) setStatus(ctx context.Context, w id.Workspace, sync string, status resource.SyncStatus, reason, next string) error {
	n, err := s.db.Exec(ctx, "UPDATE config_syncs SET status = ?, status_reason = ?, next_step = ? WHERE workspace = ? AND id = ?",
		string(status), reason, next, string(w), sync)
	if err != nil {
		return fmt.Errorf("write the status of sync %s: %w", sync, err)
	}
	if n == 0 {
		return notFound(key{resource.KindSync, sync})
	}
	return nil
}
