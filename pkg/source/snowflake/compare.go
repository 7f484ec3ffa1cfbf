package snowflake

import (
	"slices"
	"strconv"
	"strings"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// comparison compares the rows that each key has with those that it had, in the warehouse. Two rows are one where each of
// their values is: NULL is one value, text is compared by its code points, JSON as it is printed. Sets of rows are
// compared, so that repeats of a row are no change.
type comparison struct {
	keys, values, added []column // added ones were NULL
}

// comparisonOf answers how rows of q are compared. A column that d has not is SOURCE_CHANGED: it was there before.
func comparisonOf(d *query, q source.ChangeQuery) (c comparison, err error) {
	for _, part := range []struct {
		names []string
		to    *[]column
	}{{q.Model.KeyColumns, &c.keys}, {q.Compared, &c.values}, {q.Added, &c.added}} {
		for _, name := range part.names {
			at := slices.IndexFunc(d.columns, func(c column) bool { return c.name == name })
			if at < 0 {
				return c, stateGone()
			}
			*part.to = append(*part.to, d.columns[at])
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

// numbered answers n names: k0, k1, …
func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = prefix + strconv.Itoa(i)
	}
	return out
}

func (c comparison) keyNames() []string   { return numbered("k", len(c.keys)) }
func (c comparison) valueNames() []string { return numbered("v", len(c.values)+len(c.added)) }

// keyImages answers the key of a row of q as k0, k1, …
func (c comparison) keyImages() string {
	names := c.keyNames()
	for i, k := range c.keys {
		names[i] = k.image() + " AS " + names[i]
	}
	return strings.Join(names, ", ")
}

// side selects rows of `from`, which is something with the alias q, as keys, values and how often each counts now and
// before. In rows as they were, added columns are NULL.
func (c comparison) side(from, now, before string, were bool) string {
	out := []string{c.keyImages()}
	names := c.valueNames()
	for i, v := range c.values {
		out = append(out, v.image()+" AS "+names[i])
	}
	for i, a := range c.added {
		image := a.image()
		if were {
			image = "NULL"
		}
		out = append(out, image+" AS "+names[len(c.values)+i])
	}
	return "SELECT " + strings.Join(out, ", ") + ", " + now + " AS n, " + before + " AS b FROM " + from
}

// differing selects, of sides, the keys whose rows differ, with 1 as g where no row is left.
func (c comparison) differing(sides ...string) string {
	keys := strings.Join(c.keyNames(), ", ")
	all := strings.Join(append(c.keyNames(), c.valueNames()...), ", ")
	rows := "SELECT " + all + ", CASE WHEN SUM(n) > 0 THEN 1 ELSE 0 END AS has, CASE WHEN SUM(b) > 0 THEN 1 ELSE 0 END AS had FROM (" +
		strings.Join(sides, " UNION ALL ") + ") AS u GROUP BY " + all
	return "SELECT " + keys + ", CASE WHEN SUM(has) = 0 THEN 1 ELSE 0 END AS g FROM (" + rows + ") AS r GROUP BY " + keys +
		" HAVING SUM(CASE WHEN has <> had THEN 1 ELSE 0 END) > 0"
}

// same is the condition under which a row of q has a key of `of`.
func (c comparison) same(of string) string {
	out := c.keyNames()
	for i, k := range c.keys {
		out[i] = of + "." + out[i] + " IS NOT DISTINCT FROM " + k.image()
	}
	return strings.Join(out, " AND ")
}

// gone selects the keys that are gone of those that differ, without such as have a NULL.
func (c comparison) gone(differing string) string {
	names := c.keyNames()
	var list, whole []string
	for i, k := range c.keys {
		list = append(list, k.value("t."+names[i])+" AS "+sqltext.Quote(k.name))
		whole = append(whole, "t."+names[i]+" IS NOT NULL")
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM (" + differing + ") AS t WHERE t.g = 1 AND " + strings.Join(whole, " AND ")
}

// counts selects the numbers of rows that differ and of keys that are gone.
func (c comparison) counts(rows, differing string) string {
	return "(SELECT COUNT(*) FROM (" + rows + ") AS q JOIN (" + differing + ") AS t ON t.g = 0 AND " + c.same("t") + "), " +
		"(SELECT COUNT(*) FROM (" + c.gone(differing) + ") AS g)"
}
