package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/sqldb"
)

// resyncs gives a run up whose rows have other keys than those that the platform knows of its sync: none of them would be
// recognised. A resync takes them as they are.
func (s *Service) resyncs(ctx context.Context, tx *sqldb.Tx, r runRow, keys []string) (bool, error) {
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil || r.Facts.Resync || r.Facts.ReplayOf != "" || y.Facts.IndexRows == 0 || len(y.Facts.Keys) == 0 || slices.Equal(y.Facts.Keys, keys) {
		return false, err
	}
	return true, s.giveUp(ctx, tx, r.ID, issue{
		Reason: fault.ReasonResyncRequired.Word(),
		Message: fmt.Sprintf("the key columns were %s and are %s now, so that none of the %d rows that are known would be recognised",
			keyText(y.Facts.Keys), keyText(keys), y.Facts.IndexRows),
	}, true)
}

func keyText(columns []string) string {
	if len(columns) == 0 {
		return "none"
	}
	return strings.Join(columns, ", ")
}
