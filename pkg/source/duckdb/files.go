package duckdb

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/sqltext"
)

// shape is what a connection's path turned out to be.
type shape int

const (
	databaseFile shape = iota + 1
	dataFile
	folder
	glob
)

// format is how a data file is read.
type format string

const (
	parquet   format = "parquet"
	delimited format = "csv"
	document  format = "json"
)

// formatOf answers the format that a file's name tells, "" where it tells none.
func formatOf(name string) format {
	name = strings.ToLower(name)
	for _, packed := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, packed)
	}
	switch filepath.Ext(name) {
	case ".parquet":
		return parquet
	case ".csv", ".tsv":
		return delimited
	case ".json", ".ndjson", ".jsonl":
		return document
	}
	return ""
}

// stem answers the name of the view over a file: its name before the format's extension.
func stem(name string) string {
	base := filepath.Base(name)
	for _, packed := range []string{".gz", ".zst"} {
		if strings.HasSuffix(strings.ToLower(base), packed) {
			base = base[:len(base)-len(packed)]
		}
	}
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// scan answers the table function that reads path (a file or pattern) in format f.
func (f format) scan(path string) string {
	lit := sqltext.Literal(path)
	switch f {
	case parquet:
		return "read_parquet(" + lit + ", union_by_name=true)"
	case delimited:
		return "read_csv(" + lit + ", union_by_name=true)"
	default:
		return "read_json(" + lit + ", union_by_name=true)"
	}
}

// view is a name over one file or pattern.
type view struct {
	name string
	path string
	read format
}

// place is a connection's path, looked at.
type place struct {
	path  string
	shape shape
	views []view
	// fixed is the folder below which everything may be read: of a folder itself, of a glob its part without a pattern.
	fixed string
}

func notFound(path string) error {
	return fault.New(fault.NotFound, fault.ReasonFileNotFound, "no file matches the connection's path %s; correct the path, or put the file there", path)
}

// look finds out what path is. Nothing there is NotFound.
func look(path string) (place, error) {
	p := place{path: path}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		p.shape, p.fixed = folder, path
		p.views, err = folderViews(path)
		return p, err
	case err == nil:
		return file(p)
	case errors.Is(err, fs.ErrPermission):
		return p, unreadable(path)
	case !strings.ContainsAny(path, "*?["):
		return p, notFound(path)
	}
	p.shape, p.fixed = glob, fixedFolder(path)
	f, err := globFormat(path)
	p.views = []view{{name: "files", path: path, read: f}}
	return p, err
}

func unreadable(path string) error {
	return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "this process may not read %s; give its user the right to", path)
}

// file looks at one file: by its name, else by its first bytes.
func file(p place) (place, error) {
	f := formatOf(p.path)
	if f == "" {
		head, err := firstBytes(p.path)
		if err != nil {
			return p, err
		}
		switch {
		case strings.HasPrefix(head, "PAR1"):
			f = parquet
		case len(head) == headBytes && head[8:] == "DUCK":
			p.shape = databaseFile
			return p, nil
		default:
			return p, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "%s is no DuckDB database, and by its name no Parquet, CSV or JSON file; name another file, or give it its extension", p.path)
		}
	}
	p.shape = dataFile
	p.views = []view{{name: "files", path: p.path, read: f}}
	return p, nil
}

// headBytes is where a DuckDB file's mark ends.
const headBytes = 12

func firstBytes(path string) (head string, err error) {
	f, err := os.Open(path) //nolint:gosec // the connection's own path
	if errors.Is(err, fs.ErrPermission) {
		return "", unreadable(path)
	}
	if err != nil {
		return "", notFound(path)
	}
	defer func() { _ = f.Close() }() // only read
	b := make([]byte, headBytes)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "%s cannot be read: %w", path, err)
	}
	return string(b[:n]), nil
}

// folderViews answers a view for each data file of a folder; files in folders below are not looked at.
func folderViews(path string) ([]view, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadable(path)
	}
	var views []view
	var vs []fault.Violation
	taken := map[string]string{}
	for _, e := range entries {
		f := formatOf(e.Name())
		if f == "" || e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := stem(e.Name())
		if other, ok := taken[strings.ToLower(name)]; ok {
			vs = append(vs, fault.Violation{Field: "duckdb.path", Message: fmt.Sprintf("%s and %s would both be the view %s", other, e.Name(), name), Fix: "rename one of them"})
		}
		taken[strings.ToLower(name)] = e.Name()
		views = append(views, view{name: name, path: filepath.Join(path, e.Name()), read: f})
	}
	if len(vs) > 0 {
		return nil, fault.Of(fault.ReasonInvalidArgument, vs)
	}
	if len(views) == 0 {
		return nil, notFound(path)
	}
	return views, nil
}

// fixedFolder answers the folder of a glob before its first pattern.
func fixedFolder(pattern string) string {
	at := strings.IndexAny(pattern, "*?[")
	return filepath.Dir(pattern[:at] + "x")
}

// globFormat answers the format of a pattern's files, by the pattern's own extension, else by that of its matches.
func globFormat(pattern string) (format, error) {
	if f := formatOf(pattern); f != "" {
		return f, nil
	}
	matches, err := filepath.Glob(pattern)
	if err != nil {
		return "", fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the path %s is no pattern: a bracket is not closed", pattern)
	}
	found := format("")
	for _, m := range matches {
		switch f := formatOf(m); {
		case f == "", f == found:
		case found == "":
			found = f
		default:
			return "", fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the path %s matches %s and %s files; end the pattern with one extension", pattern, found, f)
		}
	}
	if found == "" {
		return "", notFound(pattern)
	}
	return found, nil
}

// snapshot names the files as they are: how many, how large, and a hash over each one's path, size and time of change.
// files lists a glob's matches. A database file goes with its write-ahead log.
func (p place) snapshot(ctx context.Context, files func(context.Context, string) ([]string, error)) (name string, size int64, err error) {
	var paths []string
	switch p.shape {
	case databaseFile:
		paths = []string{p.path, p.path + ".wal"}
	case glob:
		if paths, err = files(ctx, p.path); err != nil {
			return "", 0, err
		}
	case folder:
		if p.views, err = folderViews(p.path); err != nil {
			return "", 0, err
		}
		fallthrough
	default:
		for _, v := range p.views {
			paths = append(paths, v.path)
		}
	}
	h, n := xxh3.New(), 0
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue // gone: the names then differ
		}
		n++
		size += info.Size()
		_, _ = fmt.Fprintf(h, "%s\x00%d\x00%d\x00", path, info.Size(), info.ModTime().UnixNano()) // a hash takes everything
	}
	if n == 0 {
		return "", 0, notFound(p.path)
	}
	sum := h.Sum128().Bytes()
	return fmt.Sprintf("files:%d:%d:%s", n, size, hex.EncodeToString(sum[:])), size, nil
}
