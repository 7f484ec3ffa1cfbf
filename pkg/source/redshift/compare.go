package redshift

import (
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// keysColumn names the column of snapshots that hashes the keys: by it rows are spread over the warehouse and sorted, and
// those of one key meet.
const keysColumn = "millrace_key_hash"

// comparison compares the rows that each key has with those that it had, in the warehouse. Two rows are one where what
// is read of them is: NULL is one value, text is its bytes, JSON as it is printed. Sets of rows are compared, so that
// repeats of a row are no change.
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

// of answers the column in q, the alias of whatever is selected from.
func (c column) of() string { return "q." + sqltext.Quote(c.name) }

// isCast says whether the column is read as the text that the warehouse makes of it.
func (c column) isCast() bool { return c.read != sqltext.Quote(c.name) }

// images answers expressions that are the same for two values of a column of q where what is read of them is. The
// warehouse takes texts for equal that differ in blanks at the end, or by a collation in case; so a text is compared case
// by case, and with its length.
func (c column) images() []string {
	switch {
	case c.oid == oidSuper:
		return []string{"CASE WHEN " + c.of() + " IS NULL THEN NULL ELSE JSON_SERIALIZE(" + c.of() + ") END"}
	case c.isCast():
		return []string{"CAST(" + c.of() + " AS VARCHAR)"}
	case c.typ.ID() == arrow.STRING:
		return []string{"COLLATE(" + c.of() + ", 'case_sensitive')", "OCTET_LENGTH(" + c.of() + ")"}
	}
	return []string{c.of()}
}

// value answers a column again from its first image.
func (c column) value(image string) string {
	if c.oid == oidSuper {
		return "JSON_PARSE(" + image + ")"
	}
	return image
}

// hashed answers a text of a column of q that is the same where its images are.
func (c column) hashed() string {
	switch {
	case c.oid == oidSuper:
		return "JSON_SERIALIZE(" + c.of() + ")"
	case c.oid == oidVarbyte:
		return "FROM_VARBYTE(" + c.of() + ", 'hex')"
	case c.isCast():
		return "CAST(" + c.of() + " AS VARCHAR)"
	}
	switch c.typ.ID() {
	case arrow.BOOL: // has no cast to text
		return "CASE WHEN " + c.of() + " THEN 't' ELSE 'f' END"
	case arrow.STRING:
		return c.of()
	case arrow.FLOAT32, arrow.FLOAT64: // of -0 and 0
		return "CAST(" + c.of() + " + 0 AS VARCHAR)"
	}
	return "CAST(" + c.of() + " AS VARCHAR)"
}

// keysHash answers the hash of a row's keys, a whole number.
func (q *query) keysHash(keys []string) string {
	sum := "CAST(0 AS BIGINT)"
	for _, k := range keys {
		c := column{name: k}
		if at := slices.IndexFunc(q.columns, func(c column) bool { return c.name == k }); at >= 0 {
			c = q.columns[at]
		}
		sum = "FNV_HASH(COALESCE(" + c.hashed() + ", ''), " + sum + ")"
	}
	return sum
}

// imagesOf answers the images of columns, one after another.
func imagesOf(columns []column) []string {
	var out []string
	for _, c := range columns {
		out = append(out, c.images()...)
	}
	return out
}

// numbered answers n names: k0, k1, …
func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = prefix + strconv.Itoa(i)
	}
	return out
}

// named answers expressions under names.
func named(expressions, names []string) []string {
	out := make([]string, len(names))
	for i := range out {
		out[i] = expressions[i] + " AS " + names[i]
	}
	return out
}

func (c comparison) keyNames() []string { return numbered("k", len(imagesOf(c.keys))) }
func (c comparison) valueNames() []string {
	return numbered("v", len(imagesOf(c.values))+len(imagesOf(c.added)))
}

// side selects the rows of a snapshot as keys, values and how often each counts now and before. In rows as they were,
// added columns are NULL.
func (c comparison) side(table, now, before string, were bool) string {
	values, added := imagesOf(c.values), imagesOf(c.added)
	if were {
		for i := range added {
			added[i] = "NULL"
		}
	}
	out := append([]string{"q." + sqltext.Quote(keysColumn) + " AS h"}, named(imagesOf(c.keys), c.keyNames())...)
	out = append(out, named(append(values, added...), c.valueNames())...)
	return "SELECT " + strings.Join(out, ", ") + ", " + now + " AS n, " + before + " AS b FROM " + table + " AS q"
}

// differing selects, of two snapshots, the keys whose rows differ, with 1 as g where no row is left.
func (c comparison) differing(now, was string) string {
	keys := strings.Join(append([]string{"h"}, c.keyNames()...), ", ")
	all := strings.Join(append([]string{keys}, c.valueNames()...), ", ")
	rows := "SELECT " + all + ", CASE WHEN SUM(n) > 0 THEN 1 ELSE 0 END AS has, CASE WHEN SUM(b) > 0 THEN 1 ELSE 0 END AS had FROM (" +
		c.side(now, "1", "0", false) + " UNION ALL " + c.side(was, "0", "1", true) + ") AS u GROUP BY " + all
	return "SELECT " + keys + ", CASE WHEN SUM(has) = 0 THEN 1 ELSE 0 END AS g FROM (" + rows + ") AS r GROUP BY " + keys +
		" HAVING SUM(CASE WHEN has <> had THEN 1 ELSE 0 END) > 0"
}

// same is the condition under which a row of a snapshot, as q, has a key of t that differs and is not gone. Redshift has no
// IS NOT DISTINCT FROM; the hash, which is never NULL, is what it joins by.
func (c comparison) same() string {
	out := []string{"t.g = 0", "t.h = q." + sqltext.Quote(keysColumn)}
	names := c.keyNames()
	for _, k := range c.keys {
		for _, image := range k.images() {
			out = append(out, "(t."+names[0]+" = "+image+" OR (t."+names[0]+" IS NULL AND "+k.of()+" IS NULL))")
			names = names[1:]
		}
	}
	return strings.Join(out, " AND ")
}

// gone selects the keys that are gone of the table of those that differ, without such as have a NULL.
func (c comparison) gone(differing string) string {
	names := c.keyNames()
	var list, whole []string
	for _, k := range c.keys {
		list = append(list, k.value("t."+names[0])+" AS "+sqltext.Quote(k.name))
		whole = append(whole, "t."+names[0]+" IS NOT NULL")
		names = names[len(k.images()):]
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + differing + " AS t WHERE t.g = 1 AND " + strings.Join(whole, " AND ")
}

// compared selects what is compared of a snapshot that was made before.
func (c comparison) compared(table string) string {
	return "SELECT " + listed(slices.Concat(c.keys, c.values)) + ", q." + sqltext.Quote(keysColumn) + " FROM " + table + " AS q"
}

// listed answers columns of q as a select list.
func listed(columns []column) string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.of()
	}
	return strings.Join(out, ", ")
}
