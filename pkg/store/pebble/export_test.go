package pebble

import "github.com/cockroachdb/pebble/v2"

// Metrics answers what Pebble has counted.
func (s *Store) Metrics() *pebble.Metrics { return s.db.Metrics() }

// SetFormat signs the folder with another layout.
func (s *Store) SetFormat(f string) error {
	return s.db.Set(append([]byte{kindMeta}, "format"...), []byte(f), pebble.Sync)
}

// Whole says whether the filter knows every key, which a scan in the background brings about.
func (s *Store) Whole() bool { return s.filter.whole.Load() }
