package extractor

import (
	"path/filepath"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// roots are the folders below which connections may name files.
type roots struct {
	anywhere bool
	folders  []string
}

// check refuses a connection whose files are outside the roots, links followed: Denied PATH_FORBIDDEN.
func (r roots) check(c resource.Connection) error {
	if c.DuckDB == nil || r.anywhere {
		return nil
	}
	at := followed(fixed(filepath.Clean(c.DuckDB.Path)))
	for _, root := range r.folders {
		abs, err := filepath.Abs(root)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(followed(abs), at); err == nil && filepath.IsLocal(rel) {
			return nil
		}
	}
	return fault.New(fault.Denied, fault.ReasonPathForbidden, "the path %s is not below a folder that this extractor may read; add one to its setting files_roots, or move the files", c.DuckDB.Path)
}

// fixed answers the folder of a glob before its first pattern, or path itself.
func fixed(path string) string {
	if at := strings.IndexAny(path, "*?["); at >= 0 {
		return filepath.Dir(path[:at] + "x")
	}
	return path
}

// followed answers path with its links followed, as far as it is there.
func followed(path string) string {
	for head, tail := path, ""; ; {
		if got, err := filepath.EvalSymlinks(head); err == nil {
			return filepath.Join(got, tail)
		}
		up := filepath.Dir(head)
		if up == head {
			return path
		}
		head, tail = up, filepath.Join(filepath.Base(head), tail)
	}
}
