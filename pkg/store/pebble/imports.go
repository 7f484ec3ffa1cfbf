package pebble

import (
	"context"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// Imported answers row keys that some runs of a sync wrote last.
func (s *Store) Imported(ctx context.Context, m profile.Import, after string, limit int) ([]id.Row, string, error) {
	sync, known := s.dict.find(wordSync, syncName(m.Sync))
	if !known {
		return nil, "", s.usable(ctx)
	}
	return page(ctx, s, rowKey(nil, sync, id.Row{})[:5], after, limit, func(k, v []byte) (id.Row, bool, error) {
		e, ok := readEntry(v)
		if !ok || len(k) != rowKeyLen {
			return id.Row{}, false, damaged("an entry of the row index")
		}
		return id.Row(k[5:]), m.Wrote(e), nil
	})
}
