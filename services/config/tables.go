package config

import (
	"context"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/sqldb"
)

// key names a resource of a workspace.
type key struct {
	kind resource.Kind
	id   string
}

func (k key) String() string { return string(k.kind) + " " + k.id }

func keyOf(r resource.Resource) key { return key{r.ResourceKind(), r.Head().ID} }

// isNotFound says whether a read found nothing.
func isNotFound(err error) bool { return fault.ClassOf(err) == fault.NotFound }

// load answers a resource with its revision; nil where there is none. Secrets are sealed; a sync has its status.
func load(ctx context.Context, q sqldb.Querier, w id.Workspace, k key) (resource.Resource, int64, error) {
	var body string
	var revision int64
	err := q.QueryRow(ctx, "SELECT body, revision FROM config_resources WHERE workspace = ? AND kind = ? AND id = ?", string(w), string(k.kind), k.id).
		Scan(&body, &revision)
	if isNotFound(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err //nolint:wrapcheck // classified by sqldb
	}
	r, err := decode(k.kind, body)
	if err != nil {
		return nil, 0, err
	}
	if s, ok := r.(*resource.Sync); ok {
		if err := loadStatus(ctx, q, s); err != nil {
			return nil, 0, err
		}
	}
	return r, revision, nil
}

// loadStatus fills in what stands in config_syncs.
func loadStatus(ctx context.Context, q sqldb.Querier, s *resource.Sync) error {
	var status string
	err := q.QueryRow(ctx, "SELECT version, status, status_reason, next_step FROM config_syncs WHERE uid = ?", s.UID).
		Scan(&s.Version, &status, &s.Reason, &s.NextStep)
	s.Status = resource.SyncStatus(status)
	return err //nolint:wrapcheck // classified by sqldb
}

// save writes a resource with its labels and references, as new or in place of what is there.
func save(ctx context.Context, tx *sqldb.Tx, w id.Workspace, r resource.Resource, revision int64) error {
	body, err := encode(r)
	if err != nil {
		return err
	}
	m, k := r.Head(), keyOf(r)
	_, err = tx.Exec(ctx, `INSERT INTO config_resources (workspace, kind, id, display_name, revision, create_time, update_time, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workspace, kind, id) DO UPDATE SET
		display_name = excluded.display_name, revision = excluded.revision, create_time = excluded.create_time,
		update_time = excluded.update_time, body = excluded.body`,
		string(w), string(k.kind), k.id, m.DisplayName, revision, sqldb.Micros(m.CreateTime), sqldb.Micros(m.UpdateTime), body)
	if err != nil {
		return err //nolint:wrapcheck // classified by sqldb
	}
	if err := dropLinks(ctx, tx, w, k); err != nil {
		return err
	}
	for label, value := range m.Labels {
		if _, err := tx.Exec(ctx, "INSERT INTO config_labels (workspace, kind, id, label, value) VALUES (?, ?, ?, ?, ?)",
			string(w), string(k.kind), k.id, label, value); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
	}
	for _, to := range references(r) {
		if _, err := tx.Exec(ctx, "INSERT INTO config_refs (workspace, kind, id, to_kind, to_id) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			string(w), string(k.kind), k.id, string(to.kind), to.id); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
	}
	return nil
}

// dropLinks removes a resource's labels and references.
func dropLinks(ctx context.Context, tx *sqldb.Tx, w id.Workspace, k key) error {
	for _, table := range []string{"config_labels", "config_refs"} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE workspace = ? AND kind = ? AND id = ?", string(w), string(k.kind), k.id); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
	}
	return nil
}

// erase removes a resource. A sync's snapshots stay.
func erase(ctx context.Context, tx *sqldb.Tx, w id.Workspace, k key) error {
	if err := dropLinks(ctx, tx, w, k); err != nil {
		return err
	}
	if k.kind == resource.KindSync {
		if _, err := tx.Exec(ctx, "DELETE FROM config_syncs WHERE workspace = ? AND id = ?", string(w), k.id); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
	}
	_, err := tx.Exec(ctx, "DELETE FROM config_resources WHERE workspace = ? AND kind = ? AND id = ?", string(w), string(k.kind), k.id)
	return err //nolint:wrapcheck // classified by sqldb
}

// references answers what a resource names, in the order of its fields. The built-in feed counts as one too.
func references(r resource.Resource) []key {
	switch r := r.(type) {
	case *resource.DataModel:
		return []key{{resource.KindConnection, r.Connection}}
	case *resource.Sync:
		out := []key{{resource.KindDataModel, r.DataModel}, {resource.KindFeed, r.FeedID()}}
		if r.Mapping != "" {
			out = append(out, key{resource.KindMapping, r.Mapping})
		}
		for _, after := range r.Schedule.After {
			out = append(out, key{resource.KindSync, after})
		}
		return out
	case *resource.Alert:
		var out []key
		for _, sync := range r.Syncs {
			out = append(out, key{resource.KindSync, sync})
		}
		return out
	default:
		return nil
	}
}

// keys answers the rows of a query that selects kind and id.
func keys(ctx context.Context, q sqldb.Querier, query string, args ...any) ([]key, error) {
	var out []key
	err := q.Query(ctx, func(row sqldb.Row) error {
		var kind, id string
		if err := row.Scan(&kind, &id); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
		out = append(out, key{resource.Kind(kind), id})
		return nil
	}, query, args...)
	return out, err //nolint:wrapcheck // classified by sqldb
}

// usersOf answers who refers to a resource, as stored.
func usersOf(ctx context.Context, q sqldb.Querier, w id.Workspace, k key) ([]key, error) {
	return keys(ctx, q, "SELECT kind, id FROM config_refs WHERE workspace = ? AND to_kind = ? AND to_id = ? ORDER BY kind, id", string(w), string(k.kind), k.id)
}

// namedAlike answers the resources of a kind with a display name, as stored.
func namedAlike(ctx context.Context, q sqldb.Querier, w id.Workspace, kind resource.Kind, name string) ([]key, error) {
	return keys(ctx, q, "SELECT kind, id FROM config_resources WHERE workspace = ? AND kind = ? AND display_name = ? ORDER BY id", string(w), string(kind), name)
}

// labelled answers the resources that carry a label, as stored.
func labelled(ctx context.Context, q sqldb.Querier, w id.Workspace, label, value string) ([]key, error) {
	return keys(ctx, q, "SELECT kind, id FROM config_labels WHERE workspace = ? AND label = ? AND value = ? ORDER BY kind, id", string(w), label, value)
}

// saveStatus writes what stands in config_syncs. activeSince is kept where it is zero.
func saveStatus(ctx context.Context, tx *sqldb.Tx, w id.Workspace, s *resource.Sync, activeSince time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO config_syncs (uid, workspace, id, version, status, status_reason, next_step, active_since)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uid) DO UPDATE SET version = excluded.version, status = excluded.status,
		status_reason = excluded.status_reason, next_step = excluded.next_step,
		active_since = CASE WHEN excluded.active_since = 0 THEN config_syncs.active_since ELSE excluded.active_since END`,
		s.UID, string(w), s.ID, s.Version, string(s.Status), s.Reason, s.NextStep, sqldb.Micros(activeSince))
	return err //nolint:wrapcheck // classified by sqldb
}

// saveSnapshot writes a new version of a sync's snapshot.
func saveSnapshot(ctx context.Context, tx *sqldb.Tx, w id.Workspace, s resource.Snapshot, now time.Time) error {
	body, err := encodeSnapshot(s)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO config_snapshots (uid, version, workspace, id, create_time, body) VALUES (?, ?, ?, ?, ?, ?)",
		s.Sync.UID, s.Version, string(w), s.Sync.ID, sqldb.Micros(now), body)
	return err //nolint:wrapcheck // classified by sqldb
}
