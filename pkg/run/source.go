package run

import (
	"fmt"
	"slices"
)

// Source is what the warehouse said of the rows that a run reads.
type Source struct {
	Snapshot  string   `json:"snapshot,omitempty"`  // as planned
	Counted   *int64   `json:"counted,omitempty"`   // rows of the parts in it; nil where nobody counted them
	Snapshots []string `json:"snapshots,omitempty"` // that the complete parts were read under; "" where it is not known
}

// Under answers s with one more snapshot that a part was read under.
func (s Source) Under(snapshot string) Source {
	if !slices.Contains(s.Snapshots, snapshot) {
		s.Snapshots = append(slices.Clone(s.Snapshots), snapshot)
		slices.Sort(s.Snapshots)
	}
	return s
}

// Read answers the snapshots that were read, those that are known; before a part is complete the planned one.
func (s Source) Read() []string {
	known := slices.DeleteFunc(slices.Clone(s.Snapshots), func(t string) bool { return t == "" })
	if len(s.Snapshots) == 0 && s.Snapshot != "" {
		known = []string{s.Snapshot}
	}
	return known
}

// Rows answers how many rows there were to read; nil where nobody counted them, or a part was read under another snapshot
// than the one that they were counted in.
func (s Source) Rows() *int64 {
	for _, under := range s.Snapshots {
		if under != s.Snapshot {
			return nil
		}
	}
	return s.Counted
}

// Gaps answers why a run whose parts are all complete and that read `read` rows does not close; nil where it does.
func (s Source) Gaps(read int64) []string {
	rows := s.Rows()
	if rows == nil || *rows == read {
		return nil
	}
	return []string{fmt.Sprintf("the warehouse counted %d rows in the snapshot, but %d were read; where the query answers other rows each time that it is asked (by a clock or by chance, in a view too), let it not", *rows, read)}
}
