//go:build cgo && duckdb_arrow

package duckdb

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// states are the files that the snapshots of mirrors are kept in, one of each owner, beside nobody's data. Whoever makes a
// state has its file alone; readers share an engine. Safe for concurrent use.
type states struct {
	mu    sync.Mutex
	files map[string]*stateFile
}

// stateFile is one file and who uses it.
type stateFile struct {
	turns *semaphore.Weighted
	users int // readers, and those who wait
	db    *database
	open  int // readers
}

// alone is all turns of a file.
const alone = 1 << 20

// stateCatalog names the attached file, stateSchema the schema in it.
const (
	stateCatalog = "millrace_state"
	stateSchema  = stateCatalog + ".millrace."
)

// path answers the file of an owner.
func (d *Driver) statePath(owner string) (string, error) {
	switch {
	case !source.IsOwner(owner):
		return "", fault.New(fault.Internal, fault.ReasonInternal, "%q can own no state", owner)
	case d.settings.StateDir == "":
		return "", fault.New(fault.Precondition, fault.ReasonDriverMissing, "there is no folder to keep a mirror's snapshot in; set the extractor's duckdb_state, or give the sync mirror_engine: row_index")
	}
	return filepath.Join(d.settings.StateDir, owner+".duckdb"), nil
}

// take waits for turns of a file. The answer gives them back.
func (x *states) take(ctx context.Context, path string, n int64) (*stateFile, func(), error) {
	x.mu.Lock()
	if x.files == nil {
		x.files = map[string]*stateFile{}
	}
	f := x.files[path]
	if f == nil {
		f = &stateFile{turns: semaphore.NewWeighted(alone)}
		x.files[path] = f
	}
	f.users++
	x.mu.Unlock()
	leave := func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if f.users--; f.users == 0 {
			delete(x.files, path)
		}
	}
	if err := f.turns.Acquire(ctx, n); err != nil {
		leave()
		return nil, nil, fault.As(context.Cause(ctx))
	}
	return f, func() { f.turns.Release(n); leave() }, nil
}

// read calls f with a connection to an owner's states, among other readers.
func (d *Driver) readStates(ctx context.Context, path string, f func(c *conn) error) error {
	file, free, err := d.states.take(ctx, path, 1)
	if err != nil {
		return err
	}
	defer free()
	db, err := d.shareStates(ctx, file, path)
	if err != nil {
		return err
	}
	defer d.leaveStates(file)
	c, err := db.connect()
	if err != nil {
		return err
	}
	defer c.close()
	return f(c)
}

func (d *Driver) shareStates(ctx context.Context, f *stateFile, path string) (*database, error) {
	d.states.mu.Lock()
	defer d.states.mu.Unlock()
	if f.open == 0 {
		if _, err := os.Stat(path); err != nil {
			return nil, stateGone()
		}
		db, err := openMemory(d.settings)
		if err != nil {
			return nil, err
		}
		if err := db.once(ctx, "SET GLOBAL TimeZone = 'UTC'; "+attachState(path)+fenceText([]string{path}, "")); err != nil {
			db.close()
			return nil, err
		}
		f.db = db
	}
	f.open++
	return f.db, nil
}

func (d *Driver) leaveStates(f *stateFile) {
	d.states.mu.Lock()
	defer d.states.mu.Unlock()
	if f.open--; f.open == 0 {
		f.db.close()
		f.db = nil
	}
}

// writeStates calls f with a connection that reads s and writes an owner's states, while nobody else does.
func (s *Source) writeStates(ctx context.Context, path string, f func(c *conn) error) error {
	_, free, err := s.driver.states.take(ctx, path, alone)
	if err != nil {
		return err
	}
	defer free()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.New(fault.Precondition, fault.ReasonWarehouseDenied, "the folder of mirrors' snapshots cannot be made; let the extractor write to its duckdb_state: %w", err)
	}
	db, err := openMemory(s.settings)
	if err != nil {
		return err
	}
	defer db.close()
	c, err := db.connect()
	if err != nil {
		return err
	}
	defer c.close()
	if err := s.settleStates(ctx, c, path); err != nil {
		return err
	}
	return f(c)
}

// settleStates attaches what is read and what is written, and closes everything else to the engine. A file of states that
// cannot be opened is begun anew: what it held is found again by a read of everything.
func (s *Source) settleStates(ctx context.Context, c *conn, path string) error {
	if err := c.exec(ctx, "SET GLOBAL TimeZone = 'UTC'"); err != nil {
		return err
	}
	err := c.exec(ctx, attachState(path))
	if err != nil && ctx.Err() == nil && fault.ReasonOf(err) != fault.ReasonWarehouseLocked {
		for _, p := range []string{path, path + ".wal"} {
			if gone := os.Remove(p); gone != nil && !os.IsNotExist(gone) {
				return err
			}
		}
		err = c.exec(ctx, attachState(path))
	}
	if err != nil {
		return err
	}
	if s.place.shape != databaseFile {
		return c.exec(ctx, s.viewText()+fenceText([]string{path, s.place.path}, s.place.fixed))
	}
	name, err := s.catalog(ctx)
	if err != nil {
		return err
	}
	return c.exec(ctx, "ATTACH "+sqltext.Literal(s.place.path)+" AS "+sqltext.Quote(name)+" (READ_ONLY); USE "+sqltext.Quote(name)+";"+
		fenceText([]string{path, s.place.path}, ""))
}

// catalog names the database file as its queries do.
func (s *Source) catalog(ctx context.Context) (string, error) {
	c, err := s.db.connect()
	if err != nil {
		return "", err
	}
	defer c.close()
	row, err := c.one(ctx, "SELECT current_database()")
	if err != nil || len(row) != 1 {
		return "", err
	}
	return row[0], nil
}

// once runs statements on a connection of their own.
func (d *database) once(ctx context.Context, sql string) error {
	c, err := d.connect()
	if err != nil {
		return err
	}
	defer c.close()
	return c.exec(ctx, sql)
}

// stateTables names the tables of an attached file of states.
func (c *conn) stateTables(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	err := c.texts(ctx, "SELECT table_name FROM duckdb_tables() WHERE database_name = '"+stateCatalog+"' AND schema_name = 'millrace'", nil, func(row []string) bool {
		out[row[0]] = true
		return true
	})
	return out, err
}

// Clear drops the tables of an owner up to an attempt, and removes the file where none is left in it, or where it cannot be
// opened, and so holds nothing. It waits for readers. The connection's path is not looked at.
func (d *Driver) Clear(ctx context.Context, _ resource.Connection, owner string, last source.Attempt) error {
	path, err := d.statePath(owner)
	if err != nil {
		return err
	}
	_, free, err := d.states.take(ctx, path, alone)
	if err != nil {
		return err
	}
	defer free()
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return nil
	}
	if left, err := d.clear(ctx, path, owner, last); err != nil || left > 0 {
		return err
	}
	for _, p := range []string{path, path + ".wal"} {
		if err := os.Remove(p); err != nil && !os.IsNotExist(err) {
			return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the file of a mirror's snapshots cannot be removed; let the extractor write to its duckdb_state: %w", err)
		}
	}
	return nil
}

// clear drops an owner's tables up to an attempt, and answers how many tables are left: none in a file that is none.
func (d *Driver) clear(ctx context.Context, path, owner string, last source.Attempt) (left int, err error) {
	db, err := openMemory(d.settings)
	if err != nil {
		return 0, err
	}
	defer db.close()
	c, err := db.connect()
	if err != nil {
		return 0, err
	}
	defer c.close()
	if err := c.exec(ctx, attachState(path)+fenceText([]string{path}, "")); err != nil {
		if ctx.Err() == nil && fault.ReasonOf(err) != fault.ReasonWarehouseLocked {
			return 0, nil
		}
		return 0, err
	}
	tables, err := c.stateTables(ctx)
	if err != nil {
		return 0, err
	}
	for t := range tables {
		if !source.IsUpTo(t, owner, last) {
			left++
			continue
		}
		if err := c.exec(ctx, "DROP TABLE IF EXISTS "+table(t)); err != nil {
			return left, err
		}
	}
	return left, nil
}

// Whereabouts names an owner's file.
func (*Driver) Whereabouts(_ resource.Connection, owner string) string {
	return "the file " + owner + ".duckdb in the folder duckdb_state of the extractor"
}

func attachState(path string) string {
	return "ATTACH " + sqltext.Literal(path) + " AS " + stateCatalog + "; CREATE SCHEMA IF NOT EXISTS " + strings.TrimSuffix(stateSchema, ".") + ";"
}

// fenceText closes everything but some files, and those under a folder, to the engine for good.
func fenceText(paths []string, folder string) string {
	out := setLiteral("allowed_paths", paths...)
	if folder != "" {
		out += setLiteral("allowed_directories", folder+"/")
	}
	return out + "SET enable_external_access = false; SET lock_configuration = true;"
}

func stateGone() error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the snapshot of the mirror is gone; the run is planned again")
}
