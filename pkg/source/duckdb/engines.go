//go:build cgo && duckdb_arrow

package duckdb

import (
	"os"
	"slices"
	"sync"

	"millrace.dev/pkg/fault"
)

// engines are the open engines of database files. Sources of one file share one engine, which holds the file's lock until
// the last of them is closed. A file that has taken another's place, or was written, has an engine of its own, although
// sources of the old one are still open. Safe for concurrent use.
type engines struct {
	mu   sync.Mutex
	open []*shared
}

// shared is an engine and the file that it has open, as that was when it was opened.
type shared struct {
	db    *database
	path  string
	file  os.FileInfo
	users int
}

// tries bounds how often a file is opened that is replaced meanwhile.
const tries = 3

// get answers an engine of the file that is at path now. Its close is the caller's.
func (e *engines) get(path string, s Settings) (*database, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for range tries {
		file, err := os.Stat(path)
		if err != nil {
			return nil, notFound(path)
		}
		at := slices.IndexFunc(e.open, func(x *shared) bool { return x.path == path && unwritten(x.file, file) })
		if at >= 0 {
			return e.use(e.open[at]), nil
		}
		replaced := slices.ContainsFunc(e.open, func(x *shared) bool { return x.path == path })
		db, err := openFile(path, replaced, s)
		if err != nil {
			return nil, err
		}
		if now, err := os.Stat(path); err == nil && unwritten(file, now) {
			x := &shared{db: db, path: path, file: file}
			e.open = append(e.open, x)
			return e.use(x), nil
		}
		db.close()
	}
	return nil, fault.New(fault.Unavailable, fault.ReasonSourceChanged, "%s changes while it is opened; it is tried again", path)
}

// use answers one more use of an engine.
func (e *engines) use(x *shared) *database {
	x.users++
	return &database{db: x.db.db, file: x.file, free: func() { e.put(x) }}
}

// put takes one use back, and closes the engine after the last.
func (e *engines) put(x *shared) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x.users--; x.users == 0 {
		e.open = slices.DeleteFunc(e.open, func(o *shared) bool { return o == x })
		x.db.close()
	}
}

// unwritten says whether b is the file a, as it was.
func unwritten(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
