//go:build cgo && duckdb_arrow

package sharingtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// table is a shared table, with all its versions.
type table struct {
	name     string
	id       string
	versions []version
}

// version is a table at one time.
type version struct {
	at      time.Time
	columns []column
	files   []file
	changes []file
	anew    bool // all rows were written again: its feed has whole files
	set     Table
}

// file is a Parquet file.
type file struct {
	id        string
	path      string
	size      int64
	partition map[string]*string
	stats     string
}

func (t *table) last() version { return t.versions[len(t.versions)-1] }

// commit makes a version of each table that is not as its last one.
func (p *Peer) commit(ctx context.Context) error {
	names, err := p.strings(ctx, "SELECT table_name FROM information_schema.tables WHERE table_schema = '"+Schema+"' AND table_type = 'BASE TABLE' ORDER BY 1")
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
		if err := p.commitTable(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name := range p.tables {
		if !there[name] {
			delete(p.tables, name)
			_, err := p.db.ExecContext(ctx, "DROP TABLE IF EXISTS peer."+quote(name))
			if err != nil {
				return err //nolint:wrapcheck // told to the test
			}
		}
	}
	return nil
}

func (p *Peer) commitTable(ctx context.Context, name string) error {
	columns, err := p.columns(ctx, name)
	if err != nil {
		return err
	}
	now, was := quote(name), "peer."+quote(name)
	t := p.tables[name]
	v := version{at: time.Now(), columns: columns, set: p.settings[name]}
	switch {
	case t == nil:
		p.made++
		t = &table{name: name, id: fmt.Sprintf("%x-%d", hash(name), p.made)}
		p.tables[name] = t
	case schemaString(t.last().columns, false) == schemaString(columns, false):
		n, err := p.number(ctx, "SELECT (SELECT count(*) FROM (SELECT * FROM "+now+" EXCEPT ALL SELECT * FROM "+was+")) + (SELECT count(*) FROM (SELECT * FROM "+was+" EXCEPT ALL SELECT * FROM "+now+"))")
		if err != nil || n == 0 {
			return err
		}
		if v.anew = v.set.Overwritten; v.anew || v.set.NoFeed {
			break
		}
		if v.changes, err = p.feed(ctx, v, now, was); err != nil {
			return err
		}
	default:
		v.anew = true
	}
	if v.files, err = p.write(ctx, v, now); err != nil {
		return err
	}
	t.versions = append(t.versions, v)
	_, err = p.db.ExecContext(ctx, "CREATE OR REPLACE TABLE "+was+" AS SELECT * FROM "+now)
	return err //nolint:wrapcheck // told to the test
}

// feed writes what changed: rows whose first column stands on both sides are updates. What a query of sets selects has another
// order each time, and files are cut by order: it is made a table first.
func (p *Peer) feed(ctx context.Context, v version, now, was string) ([]file, error) {
	key := quote(v.columns[0].name)
	gone, come := "SELECT * FROM "+was+" EXCEPT ALL SELECT * FROM "+now, "SELECT * FROM "+now+" EXCEPT ALL SELECT * FROM "+was
	from := `(SELECT *, CASE WHEN ` + key + ` IN (SELECT ` + key + ` FROM (` + come + `)) THEN 'update_preimage' ELSE 'delete' END AS _change_type FROM (` + gone + `)
		UNION ALL SELECT *, CASE WHEN ` + key + ` IN (SELECT ` + key + ` FROM (` + gone + `)) THEN 'update_postimage' ELSE 'insert' END AS _change_type FROM (` + come + `))`
	const changes = "peer.changes_of_a_version"
	if _, err := p.db.ExecContext(ctx, "CREATE OR REPLACE TABLE "+changes+" AS SELECT * FROM "+from); err != nil {
		return nil, err //nolint:wrapcheck // told to the test
	}
	v.columns = append(v.columns[:len(v.columns):len(v.columns)], column{name: "_change_type", typ: plain("string"), kind: "VARCHAR"})
	return p.write(ctx, v, changes)
}

// write writes the rows of a relation as files.
func (p *Peer) write(ctx context.Context, v version, from string) ([]file, error) {
	if v.set.Partition == "" {
		return p.cut(ctx, v, from, "", nil)
	}
	var out []file
	part := quote(v.set.Partition)
	values, err := p.strings(ctx, "SELECT DISTINCT coalesce(CAST("+part+" AS VARCHAR), '') FROM "+from+" ORDER BY 1")
	if err != nil {
		return nil, err
	}
	for _, value := range values {
		where, said := " WHERE CAST("+part+" AS VARCHAR) = '"+strings.ReplaceAll(value, "'", "''")+"'", &value
		if value == "" {
			where, said = " WHERE coalesce(CAST("+part+" AS VARCHAR), '') = ''", nil
		} else if strings.HasSuffix(value, "+00") {
			plain := strings.TrimSuffix(value, "+00")
			said = &plain
		}
		files, err := p.cut(ctx, v, from, where, map[string]*string{v.set.Partition: said})
		if err != nil {
			return nil, err
		}
		out = append(out, files...)
	}
	return out, nil
}

// cut writes files of some rows each.
func (p *Peer) cut(ctx context.Context, v version, from, where string, partition map[string]*string) ([]file, error) {
	n, err := p.number(ctx, "SELECT count(*) FROM "+from+where)
	if err != nil {
		return nil, err
	}
	size := int64(p.options.FileRows)
	if size == 0 {
		size = max(1000, (n+7)/8)
	}
	var list []string
	for _, c := range v.columns {
		if _, ok := partition[c.name]; !ok {
			list = append(list, c.export(v.set.Mapped))
		}
	}
	var out []file
	for at := int64(0); at < n; at += size {
		f, err := p.file(ctx, v, fmt.Sprintf("SELECT %s FROM %s%s LIMIT %d OFFSET %d", strings.Join(list, ", "), from, where, size, at), partition)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func (p *Peer) file(ctx context.Context, v version, query string, partition map[string]*string) (file, error) {
	p.made++
	f := file{id: fmt.Sprintf("%x-%d", hash(query), p.made), path: filepath.Join(p.dir, fmt.Sprintf("part-%d.parquet", p.made)), partition: partition}
	if _, err := p.db.ExecContext(ctx, "COPY ("+query+") TO '"+f.path+"' (FORMAT parquet, ROW_GROUP_SIZE 20000)"); err != nil {
		return f, err //nolint:wrapcheck // told to the test
	}
	var err error
	if f.size, err = sizeOf(f.path); err != nil || p.options.NoStats {
		return f, err
	}
	f.stats, err = p.stats(ctx, v, f)
	return f, err
}

func (p *Peer) strings(ctx context.Context, query string) ([]string, error) {
	rows, err := p.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err //nolint:wrapcheck // told to the test
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var s sql.NullString
		if err := rows.Scan(&s); err != nil {
			return nil, err //nolint:wrapcheck // told to the test
		}
		out = append(out, s.String)
	}
	return out, rows.Err() //nolint:wrapcheck // told to the test
}

func (p *Peer) number(ctx context.Context, query string) (int64, error) {
	var n int64
	err := p.db.QueryRowContext(ctx, query).Scan(&n)
	return n, err //nolint:wrapcheck // told to the test
}

// Vacuum takes away the files of a table's changes, and leaves the feed to name them.
func (p *Peer) Vacuum(t testing.TB, name string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.tables[name].versions {
		for _, f := range v.changes {
			if err := os.Remove(f.path); !errors.Is(err, os.ErrNotExist) {
				require.NoError(t, err)
			}
		}
	}
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // a hash takes everything
	return h.Sum64()
}

// Alter changes a column's type in the last version, or adds the column, and leaves its files as they are.
func (p *Peer) Alter(name, columnName, typ string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tables[name]
	v := t.last()
	v.columns, v.changes, v.anew = append([]column{}, v.columns...), nil, false
	for i := range v.columns {
		if v.columns[i].name == columnName {
			v.columns[i].typ = plain(typ)
			t.versions = append(t.versions, v)
			return
		}
	}
	v.columns = append(v.columns, column{name: columnName, typ: plain(typ), nullable: true})
	t.versions = append(t.versions, v)
}
