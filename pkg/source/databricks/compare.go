package databricks

import (
	"slices"
	"strings"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// comparison compares the rows that each key has with those that it had, in the warehouse. Two rows are one where each of
// their values is: NULL is one value, text is compared by its bytes, what is read as JSON as it is printed. Sets of rows are
// compared, so that repeats of a row are no change.
type comparison struct {
	sqltext.Comparison
	keys, added []column
}

// comparisonOf answers how rows of q are compared. A column that d has not is SOURCE_CHANGED: it was there before.
func comparisonOf(d *query, q source.ChangeQuery) (c comparison, err error) {
	for _, part := range []struct {
		names []string
		to    *[]sqltext.Compared
		all   *[]column
	}{{q.Model.KeyColumns, &c.Keys, &c.keys}, {q.Compared, &c.Values, new([]column)}, {q.Added, &c.Added, &c.added}} {
		for _, name := range part.names {
			at := slices.IndexFunc(d.columns, func(c column) bool { return c.name == name })
			if at < 0 {
				return c, stateGone()
			}
			*part.to, *part.all = append(*part.to, d.columns[at].compared()), append(*part.all, d.columns[at])
		}
	}
	return c, nil
}

// compared answers how rows are compared by the column. What is read of an image is the image.
func (c column) compared() sqltext.Compared {
	return sqltext.Compared{Name: quote(c.name), Image: c.image(), Value: func(image string) string { return image }}
}

// image answers an expression over a column of q whose values are the same where those that are read are: what it is read
// by, without the collation of its text.
func (c column) image() string {
	out := c.value("q." + quote(c.name))
	if strings.Contains(strings.ToLower(c.own), " collate ") {
		out += " COLLATE UTF8_BINARY"
	}
	return out
}
