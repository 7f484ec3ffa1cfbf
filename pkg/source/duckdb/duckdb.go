//go:build cgo && duckdb_arrow

package duckdb

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"

	engine "github.com/duckdb/duckdb-go-bindings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// Source is one open path.
type Source struct {
	driver   *Driver
	settings Settings
	place    place
	db       *database
	once     sync.Once
}

var (
	_ source.Source  = (*Source)(nil)
	_ source.Planner = (*Source)(nil)
	_ source.Browser = (*Source)(nil)
	_ source.Keys    = (*Source)(nil)
)

// Open opens the connection's path for reading. A path that matches nothing is NotFound FILE_NOT_FOUND; a database file
// that another process has open for writing is Unavailable WAREHOUSE_LOCKED.
func (d *Driver) Open(ctx context.Context, c resource.Connection) (source.Source, error) {
	if c.DuckDB == nil || !filepath.IsAbs(c.DuckDB.Path) {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "duckdb.path is not an absolute path")
	}
	p, err := look(filepath.Clean(c.DuckDB.Path))
	if err != nil {
		return nil, err
	}
	s := &Source{driver: d, settings: d.settings, place: p}
	if p.shape == databaseFile {
		s.db, err = d.engines.get(p.path, d.settings)
	} else {
		s.db, err = openMemory(d.settings)
	}
	if err != nil {
		return nil, err
	}
	if err := d.settle(ctx, s); err != nil {
		s.db.close()
		return nil, err
	}
	return s, nil
}

// settle makes the settings that cannot be made before an engine is open, and locks them. Where the engine is shared with
// a source that is open already, they are made and locked.
func (d *Driver) settle(ctx context.Context, s *Source) error {
	d.opening.Lock()
	defer d.opening.Unlock()
	c, err := s.db.connect()
	if err != nil {
		return err
	}
	defer c.close()
	locked, err := c.one(ctx, "SELECT CAST(current_setting('lock_configuration') AS VARCHAR)")
	if err != nil || locked[0] == "true" {
		return err
	}
	if err := c.exec(ctx, "SET GLOBAL TimeZone = 'UTC'"); err != nil {
		return err
	}
	if s.place.shape == databaseFile {
		return c.exec(ctx, "SET lock_configuration = true")
	}
	return s.fence(ctx, c)
}

// fence makes the views and then closes everything but their files to the engine, for good.
func (s *Source) fence(ctx context.Context, c *conn) error {
	if s.place.shape == glob {
		if _, _, err := s.place.snapshot(ctx, c.files); err != nil {
			return err
		}
	}
	var paths []string
	if s.place.fixed == "" {
		paths = []string{s.place.path}
	}
	return c.exec(ctx, s.viewText()+fenceText(paths, s.place.fixed))
}

// viewText makes the views of a path that is no database file.
func (s *Source) viewText() string {
	var sql strings.Builder
	for _, v := range s.place.views {
		sql.WriteString("CREATE VIEW " + sqltext.Quote(v.name) + " AS SELECT * FROM " + v.read.scan(v.path) + ";\n")
	}
	return sql.String()
}

// files answers what a pattern matches.
func (c *conn) files(ctx context.Context, pattern string) ([]string, error) {
	var out []string
	args := []engine.Value{text(pattern)}
	defer destroyValues(args)
	err := c.texts(ctx, "SELECT file FROM glob(?) ORDER BY file", args, func(row []string) bool {
		out = append(out, row[0])
		return true
	})
	return out, err
}

func text(s string) engine.Value { return engine.CreateVarcharLength(s, engine.IdxT(len(s))) }

// Close frees the engine and its lock. It may be called again.
func (s *Source) Close() error {
	s.once.Do(s.db.close)
	return nil
}

// snapshot names the files as they are now. A database file that is no longer the one that is open is SOURCE_CHANGED.
func (s *Source) snapshot(ctx context.Context, c *conn) (string, int64, error) {
	if s.db.file != nil {
		if now, err := os.Stat(s.place.path); err == nil && !unwritten(s.db.file, now) {
			return "", 0, s.changed()
		}
	}
	return s.place.snapshot(ctx, c.files)
}

// unchanged answers SOURCE_CHANGED when the files are no longer those of a snapshot.
func (s *Source) unchanged(ctx context.Context, c *conn, snapshot string) error {
	if snapshot == "" {
		return nil
	}
	now, _, err := s.snapshot(ctx, c)
	if err != nil && fault.ReasonOf(err) != fault.ReasonFileNotFound {
		return err
	}
	if now != snapshot {
		return s.changed()
	}
	return nil
}

func (s *Source) changed() error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the files of %s have changed since the run was planned; the run is planned again", s.place.path)
}
