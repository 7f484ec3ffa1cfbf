package profile

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"millrace.dev/pkg/id"
)

// AsOf answers the attributes that histories say of an instant, in milliseconds, by name. The versions of one sync are
// one history: of each the newest that starts at or before the instant holds as a whole, until the next one starts. What
// two histories say of one attribute is the one's that started later; with equal starts, the one's of the later run. The
// error is Internal: a document can not be read.
func AsOf(versions []EventWrite, ms int64) ([]Attribute, error) {
	hold, err := holding(versions, ms)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(hold, compareVersions)
	var out []Attribute
	for _, v := range hold {
		for _, m := range v.Data.Members {
			if m.Value.Kind == Cleared {
				continue
			}
			at, known := slices.BinarySearchFunc(out, m.Name, func(a Attribute, name string) int { return strings.Compare(a.Name, name) })
			a := Attribute{m.Name, m.Value, v.From}
			if known {
				out[at] = a // a later one
				continue
			}
			out = slices.Insert(out, at, a)
		}
	}
	return out, nil
}

// version is a version of a history.
type version struct {
	Event
	start int64
}

func compareVersions(a, b version) int {
	return cmp.Or(cmp.Compare(a.start, b.start), bytes.Compare(a.From.Sync[:], b.From.Sync[:]), a.From.Version.Compare(b.From.Version, true))
}

// holding answers the version of each history that holds at an instant.
func holding(versions []EventWrite, ms int64) ([]version, error) {
	by := map[id.Sync]version{}
	for _, w := range versions {
		if w.Key.Time > ms {
			continue
		}
		e, err := DecodeEvent(w.Doc)
		if err != nil {
			return nil, err
		}
		v := version{e, w.Key.Time}
		if old, ok := by[e.From.Sync]; !ok || compareVersions(old, v) < 0 {
			by[e.From.Sync] = v
		}
	}
	out := make([]version, 0, len(by))
	for _, v := range by {
		out = append(out, v)
	}
	return out, nil
}
