package bigquery

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/source"
)

const (
	// partField numbers the rows of a state's table at random, from 0 and below cells; it is partitioned by it.
	partField = "millrace_part"
	cells     = 64
	spread    = "CAST(FLOOR(64 * RAND()) AS INT64)"
	// goneField says of a row of changes that it is a key that is gone.
	goneField = "millrace_gone"
)

// field names a column in the tables of a state: by a hash, so that any name can be one and be selected.
func field(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "c_" + hex.EncodeToString(sum[:16])
}

// keyField names key column i among the keys that are gone.
func keyField(i int) string { return "k" + strconv.Itoa(i) }

// relation is a table of rows that are compared, with the classes of its fields.
type relation struct {
	from  string
	types map[string]string
}

// class answers what values of a type are compared as; those of different classes differ.
func class(t arrow.DataType) string { return t.ID().String() }

// hasAll says whether r has the columns of a query that are compared, and the key columns with the same class.
func (r relation) hasAll(d *query, keys, compared []string) bool {
	for _, k := range keys {
		if c := d.column(k); c == nil || r.types[field(k)] != class(c.typ) {
			return false
		}
	}
	for _, name := range compared {
		if r.types[field(name)] == "" {
			return false
		}
	}
	return true
}

// image answers columns of q as a hash of a text that only equal values have: a JSON list, in which each value stands
// behind its class, in quotes, and NULL without. It is of bytes, so that no collation has a say in it.
func (r relation) image(names []string) string {
	var items []string
	for _, name := range names {
		f, typ := field(name), r.types[field(name)]
		switch typ {
		case "":
			items = append(items, "''", "CAST(NULL AS STRING)") // it was NULL
			continue
		case class(arrow.BinaryTypes.Binary):
			f = "TO_HEX(q." + f + ")"
		default:
			f = "CAST(q." + f + " AS STRING)"
		}
		items = append(items, "IF(q."+field(name)+" IS NULL, '', '"+typ+"')", f)
	}
	if len(items) == 0 {
		return "SHA256('')"
	}
	return "SHA256(TO_JSON_STRING([" + strings.Join(items, ", ") + "]))"
}

// side answers the rows of r as key and value, beside columns.
func (r relation) side(keys, values []string, more ...string) string {
	return "SELECT " + strings.Join(append([]string{r.image(keys) + " AS k", r.image(values) + " AS v"}, more...), ", ") + " FROM " + r.from + " AS q"
}

// differences answers the query of what has changed. Keys are those whose sets of rows differ, repeats of a row being one:
// of them all rows there are, and the keys without any, unless they have a NULL. Columns that were added were NULL.
func differences(is, was relation, d *query, q source.ChangeQuery) string {
	keys := q.Model.KeyColumns
	values := append(append([]string{}, q.Compared...), q.Added...)
	then := relation{from: was.from, types: map[string]string{}}
	for _, name := range append(append([]string{}, keys...), q.Compared...) {
		then.types[field(name)] = was.types[field(name)]
	}
	var rows, noRows, gone, noKeys, wholes, keyList []string
	for _, c := range d.columns {
		rows, noRows = append(rows, "n."+field(c.name)), append(noRows, "NULL")
		keyList = append(keyList, "q."+field(c.name))
	}
	for i, k := range keys {
		gone, noKeys = append(gone, "o."+keyField(i)), append(noKeys, "NULL AS "+keyField(i))
		wholes = append(wholes, "q."+field(k)+" IS NOT NULL")
	}
	var any []string
	for i, k := range keys {
		any = append(any, "ANY_VALUE(q."+field(k)+") AS "+keyField(i))
	}
	return "SELECT " + spread + " AS " + partField + ", FALSE AS " + goneField + ", " + strings.Join(append(rows, noKeys...), ", ") +
		" FROM (" + is.side(keys, nil, keyList...) + ") AS n JOIN (" + touched(is, then, keys, values) + ") AS t ON n.k = t.k" +
		" UNION ALL SELECT " + spread + ", TRUE, " + strings.Join(append(noRows, gone...), ", ") +
		" FROM (SELECT " + then.image(keys) + " AS k, " + strings.Join(any, ", ") + " FROM " + then.from + " AS q WHERE " + strings.Join(wholes, " AND ") + " GROUP BY k) AS o" +
		" LEFT JOIN (SELECT DISTINCT " + is.image(keys) + " AS k FROM " + is.from + " AS q) AS n ON n.k = o.k WHERE n.k IS NULL"
}

// touched answers the keys whose sets of rows differ.
func touched(is, was relation, keys, values []string) string {
	return "SELECT DISTINCT c.k FROM (SELECT u.k FROM (SELECT n.k, n.v, 1 AS s FROM (" + is.side(keys, values) + ") AS n UNION ALL SELECT o.k, o.v, 2 AS s FROM (" +
		was.side(keys, values) + ") AS o) AS u GROUP BY u.k, u.v HAVING MIN(u.s) = MAX(u.s)) AS c"
}
