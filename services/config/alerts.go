package config

import (
	"context"
	"strings"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/sqldb"
)

// alerts answers the alerts of a workspace, or of all where none is named, at most n from behind a place on.
func (s *Service) alerts(ctx context.Context, w id.Workspace, after string, n int) ([]*resource.Alert, error) {
	workspace, name, _ := strings.Cut(after, separator)
	var out []*resource.Alert
	err := s.db.Query(ctx, func(row sqldb.Row) error {
		var body string
		if err := row.Scan(&body); err != nil {
			return err
		}
		r, err := decode(resource.KindAlert, body)
		if err != nil {
			return err
		}
		if a, ok := r.(*resource.Alert); ok {
			out = append(out, a)
		}
		return nil
	}, `SELECT body FROM config_resources WHERE kind = ? AND (? = '' OR workspace = ?) AND (workspace > ? OR (workspace = ? AND id > ?))
		ORDER BY workspace, id LIMIT ?`, string(resource.KindAlert), string(w), string(w), workspace, workspace, name, n)
	return out, err
}

// placeOf answers where an alert stands among those of all workspaces.
func placeOf(a *resource.Alert) string { return string(a.Workspace) + separator + a.ID }
