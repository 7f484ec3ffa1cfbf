package sqltext

import (
	"strconv"
	"strings"
)

// Compared is a column by which rows are compared.
type Compared struct {
	Name  string // quoted, as it is answered
	Image string // an expression over the column of q whose values are the same where those that are read are
	Value func(image string) string
}

// Comparison writes the SQL that compares, in a warehouse, the rows that each key has with those that it had. Sets of rows
// are compared, so that repeats of a row are no change. It wants IS NOT DISTINCT FROM; all else is any dialect's. Images
// stand under the names k0, k1, … of keys, and v0, v1, … of what else counts.
type Comparison struct {
	Keys, Values, Added []Compared // added ones were NULL
}

// numbered answers n names: k0, k1, …
func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = prefix + strconv.Itoa(i)
	}
	return out
}

func (c Comparison) keyNames() []string   { return numbered("k", len(c.Keys)) }
func (c Comparison) valueNames() []string { return numbered("v", len(c.Values)+len(c.Added)) }

// KeyImages answers the images of the key of a row of q, under their names.
func (c Comparison) KeyImages() string {
	names := c.keyNames()
	for i, k := range c.Keys {
		names[i] = k.Image + " AS " + names[i]
	}
	return strings.Join(names, ", ")
}

// Side selects rows of `from`, which is something with the alias q, as images, and how often each counts now and before.
// In rows as they were, added columns are NULL.
func (c Comparison) Side(from, now, before string, were bool) string {
	out := []string{c.KeyImages()}
	names := c.valueNames()
	for i, v := range c.Values {
		out = append(out, v.Image+" AS "+names[i])
	}
	for i, a := range c.Added {
		image := a.Image
		if were {
			image = "NULL"
		}
		out = append(out, image+" AS "+names[len(c.Values)+i])
	}
	return "SELECT " + strings.Join(out, ", ") + ", " + now + " AS n, " + before + " AS b FROM " + from
}

// Differing selects, of sides, the keys whose rows differ, with 1 as g where no row is left.
func (c Comparison) Differing(sides ...string) string {
	keys := strings.Join(c.keyNames(), ", ")
	all := strings.Join(append(c.keyNames(), c.valueNames()...), ", ")
	rows := "SELECT " + all + ", CASE WHEN SUM(n) > 0 THEN 1 ELSE 0 END AS has, CASE WHEN SUM(b) > 0 THEN 1 ELSE 0 END AS had FROM (" +
		strings.Join(sides, " UNION ALL ") + ") AS u GROUP BY " + all
	return "SELECT " + keys + ", CASE WHEN SUM(has) = 0 THEN 1 ELSE 0 END AS g FROM (" + rows + ") AS r GROUP BY " + keys +
		" HAVING SUM(CASE WHEN has <> had THEN 1 ELSE 0 END) > 0"
}

// Same is the condition under which a row of q has a key of `of`, which has them by their names.
func (c Comparison) Same(of string) string {
	out := c.keyNames()
	for i, k := range c.Keys {
		out[i] = of + "." + out[i] + " IS NOT DISTINCT FROM " + k.Image
	}
	return strings.Join(out, " AND ")
}

// Changed selects columns of rows, as q, whose keys differ, but for such as are gone.
func (c Comparison) Changed(list, rows, differing string) string {
	return "SELECT " + list + " FROM (" + rows + ") AS q JOIN (" + differing + ") AS t ON t.g = 0 AND " + c.Same("t")
}

// Gone selects the keys that are gone of those that differ, without such as have a NULL.
func (c Comparison) Gone(differing string) string {
	names := c.keyNames()
	var list, whole []string
	for i, k := range c.Keys {
		list = append(list, k.Value("t."+names[i])+" AS "+k.Name)
		whole = append(whole, "t."+names[i]+" IS NOT NULL")
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM (" + differing + ") AS t WHERE t.g = 1 AND " + strings.Join(whole, " AND ")
}
