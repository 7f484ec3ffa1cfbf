package store

import (
	"context"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// Imports is what deleting an import asks of a store.
type Imports interface {
	// Imported answers row keys that some runs of a sync wrote last (profile.Import.Wrote), in ascending order.
	Imported(ctx context.Context, m profile.Import, after string, limit int) ([]id.Row, string, error)
}
