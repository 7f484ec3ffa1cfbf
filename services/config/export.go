package config

import (
	"context"
	"fmt"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/document"
	"millrace.dev/pkg/sqldb"
)

// export answers a document for every resource of a workspace, in the order in which one refers to another. apply takes
// them back without a change.
func (s *Service) export(ctx context.Context, w id.Workspace) ([]document.File, error) {
	var out []document.File
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		out = nil
		for _, kind := range resource.Kinds() {
			ks, err := keys(ctx, tx, "SELECT kind, id FROM config_resources WHERE workspace = ? AND kind = ? ORDER BY id", string(w), string(kind))
			if err != nil {
				return err
			}
			for _, k := range ks {
				r, _, err := load(ctx, tx, w, k)
				if err != nil {
					return err
				}
				f, err := document.Write(r)
				if err != nil {
					return fmt.Errorf("write %s: %w", k, err)
				}
				out = append(out, f)
			}
		}
		return nil
	})
	return out, err //nolint:wrapcheck // classified where it was born
}
