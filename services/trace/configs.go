package trace

import (
	"context"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/sqldb"
)

// create keeps a valid configuration, and answers it with the time of its creation.
func (s *Service) create(ctx context.Context, workspace string, c config) (config, error) {
	db, err := s.database()
	if err != nil {
		return c, err
	}
	c.CreateTime = time.Now().UTC().Truncate(time.Microsecond)
	body, err := encode(c)
	if err != nil {
		return c, err
	}
	err = db.Tx(ctx, func(tx *sqldb.Tx) error {
		var have int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM trace_configs WHERE workspace = ?", workspace).Scan(&have); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
		added, err := tx.Exec(ctx, "INSERT INTO trace_configs (workspace, id, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", workspace, c.ID, body)
		switch {
		case err != nil:
			return err //nolint:wrapcheck // classified by sqldb
		case added == 0:
			return fault.New(fault.Conflict, fault.ReasonAlreadyExists, "there is a trace configuration %s already; choose another id, or delete it first", c.ID)
		case have >= s.settings.MaxConfigs:
			return fault.New(fault.Throttled, fault.ReasonLimitExceeded,
				"the workspace has %d trace configurations, as many as it may have (max-configs); delete one first", have)
		}
		return nil
	})
	return c, err //nolint:wrapcheck // classified by sqldb
}

// remove forgets a configuration.
func (s *Service) remove(ctx context.Context, workspace, id string) error {
	db, err := s.database()
	if err != nil {
		return err
	}
	gone, err := db.Exec(ctx, "DELETE FROM trace_configs WHERE workspace = ? AND id = ?", workspace, id)
	if err == nil && gone == 0 {
		err = fault.New(fault.NotFound, fault.ReasonNotFound, "there is no trace configuration of that id in workspace %s", workspace)
	}
	return err //nolint:wrapcheck // classified by sqldb
}
