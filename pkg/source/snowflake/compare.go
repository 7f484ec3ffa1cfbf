package snowflake

import (
	"slices"
	"strings"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// comparison compares the rows that each key has with those that it had, in the warehouse. Two rows are one where each of
// their values is: NULL is one value, text is compared by its code points, JSON as it is printed. Sets of rows are
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
			x := d.columns[at]
			*part.to = append(*part.to, sqltext.Compared{Name: sqltext.Quote(x.name), Image: x.image(), Value: x.value})
			*part.all = append(*part.all, x)
		}
	}
	return c, nil
}

// image answers an expression over a column of q whose values are the same where those that are read are.
func (c column) image() string {
	name := "q." + sqltext.Quote(c.name)
	switch {
	case c.json:
		return "TO_JSON(TO_VARIANT(" + name + "))"
	case c.wire == "text":
		return "COLLATE(" + name + ", '')"
	}
	return name
}

// value answers a column again from its image.
func (c column) value(image string) string {
	if c.json {
		return "CAST(PARSE_JSON(" + image + ") AS " + c.own + ")"
	}
	return image
}

// sqlList joins what each answers of columns.
func sqlList(columns []column, each func(column) string) string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = each(c)
	}
	return strings.Join(out, ", ")
}

// counts selects the numbers of rows that differ and of keys that are gone.
func (c comparison) counts(rows, differing string) string {
	return "(SELECT COUNT(*) FROM (" + c.Changed("1 AS one", rows, differing) + ") AS x), (SELECT COUNT(*) FROM (" + c.Gone(differing) + ") AS g)"
}
