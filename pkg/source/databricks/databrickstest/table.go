//go:build cgo && duckdb_arrow

package databrickstest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// feedProperty is the property of tables that record their changes.
const feedProperty = "delta.enableChangeDataFeed"

// table is a table of the warehouse, by whatever name.
type table struct {
	id         string
	schema     string
	name       string // as DuckDB has it
	born       int    // its first version
	properties map[string]string
	recorded   map[int]bool // versions at which the feed was on
	altered    []int        // versions by which columns went or became others
}

func newTable(born int, recording bool) *table {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	t := &table{id: hex.EncodeToString(id), born: born, properties: map[string]string{}, recorded: map[int]bool{}}
	if recording {
		t.properties[feedProperty] = "true"
	}
	return t
}

// copied names the copy of a version, recordedIn the table of its changes.
func (t *table) copied(version int) string {
	return "peer.main." + quote(t.id+"@"+strconv.Itoa(version))
}
func (t *table) recordedIn(version int) string {
	return "peer.main." + quote(t.id+"#"+strconv.Itoa(version))
}

const namePattern = `((?:(?:"(?:[^"]|"")+"|[\pL\pN_]+)\.)*(?:"(?:[^"]|"")+"|[\pL\pN_]+))`

var (
	//nolint:gochecknoglobals // never changes
	tableStatement = regexp.MustCompile(`(?is)\bCREATE\s+(?:OR\s+REPLACE\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?` + namePattern +
		`|\bDROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?` + namePattern +
		`|\bALTER\s+TABLE\s+` + namePattern + `\s+RENAME\s+TO\s+` + namePattern +
		`|\bALTER\s+TABLE\s+` + namePattern + `\s+(?:RENAME|DROP|ALTER)\s+COLUMN` +
		`|` + propertyPattern)
	propertyStatement = regexp.MustCompile(`(?is)` + propertyPattern)                //nolint:gochecknoglobals // never changes
	namePart          = regexp.MustCompile("[\"`](?:[^\"`]|\"\"|``)+[\"`]|[^.\"`]+") //nolint:gochecknoglobals // never changes
)

const propertyPattern = `\bALTER\s+TABLE\s+` + namePattern + `\s+SET\s+TBLPROPERTIES\s*\(\s*'?([\w.]+)'?\s*=\s*'?([^')]*)'?\s*\)`

// keyOf answers the key of a name among the warehouse's tables: its last part.
func keyOf(name string) string {
	parts := namePart.FindAllString(name, -1)
	last := strings.Trim(parts[len(parts)-1], "\"`")
	return strings.ToLower(strings.NewReplacer(`""`, `"`, "``", "`").Replace(last))
}

// follow keeps which tables there are after statements, and what became of them. The lock is held.
func (p *Peer) follow(sql string) error {
	for _, m := range tableStatement.FindAllStringSubmatch(sql, -1) {
		switch {
		case m[1] != "":
			p.tables[keyOf(m[1])] = newTable(p.version, p.options.ChangeFeed)
		case m[2] != "":
			delete(p.tables, keyOf(m[2]))
		case m[3] != "":
			p.tables[keyOf(m[4])] = p.tables[keyOf(m[3])]
			delete(p.tables, keyOf(m[3]))
		case m[5] != "":
			t := p.tables[keyOf(m[5])]
			t.altered = append(t.altered, p.version)
		default:
			p.tables[keyOf(m[6])].properties[m[7]] = m[8]
		}
	}
	return p.record()
}

// record keeps the rows of tables whose feed is on, and what has changed in them since the version before. The lock is held.
func (p *Peer) record() error {
	c, err := p.db.connect()
	if err != nil {
		return err
	}
	defer c.close()
	there := map[string]bool{}
	names, err := c.column(p.life, "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = "+literal(Catalog))
	if err != nil {
		return err
	}
	for _, n := range names {
		schema, name, _ := strings.Cut(n, ".")
		key := strings.ToLower(name)
		there[key] = true
		if p.tables[key] == nil {
			p.tables[key] = newTable(p.version, p.options.ChangeFeed)
		}
		t := p.tables[key]
		t.schema, t.name = schema, name
		if t.properties[feedProperty] != "true" {
			continue
		}
		if err := p.recordTable(c, t); err != nil {
			return err
		}
	}
	for key := range p.tables {
		if !there[key] {
			delete(p.tables, key)
		}
	}
	return nil
}

func (p *Peer) recordTable(c *conn, t *table) error {
	now := Catalog + "." + quote(t.schema) + "." + quote(t.name)
	t.recorded[p.version] = true
	if err := p.copy(c, t, now); err != nil {
		return err
	}
	was := t.copied(p.version - 1)
	if !p.frozen[was] {
		return nil
	}
	is, err := c.describe(p.life, "SELECT * FROM "+now)
	if err != nil {
		return err
	}
	had, err := c.describe(p.life, "SELECT * FROM "+was)
	if err != nil {
		return err
	}
	p.changes[t.recordedIn(p.version)] = true
	return c.exec("CREATE TABLE " + t.recordedIn(p.version) + " AS " + changesText(was, now, is, had))
}

// copy keeps a table as it is now.
func (p *Peer) copy(c *conn, t *table, from string) error {
	copied := t.copied(p.version)
	if p.frozen[copied] {
		return nil
	}
	p.frozen[copied] = true
	return c.exec("CREATE TABLE " + copied + " AS FROM " + from)
}

// changesText selects the changes from one table to another, whose columns are described. Rows of which one side has the
// other's first value are updates. A row that was written again as it was is a pair of changes, here every third one of a
// table that has changed.
func changesText(was, now string, is, had [][]string) string {
	columns, before := make([]string, len(is)), make([]string, len(is))
	for i, x := range is {
		columns[i], before[i] = quote(x[0]), quote(x[0])
		if !slices.ContainsFunc(had, func(h []string) bool { return strings.EqualFold(h[0], x[0]) }) {
			before[i] = "CAST(NULL AS " + x[2] + ") AS " + quote(x[0])
		}
	}
	list, key := strings.Join(columns, ", "), columns[0]
	kind := func(of, other, update, alone string) string {
		return "SELECT " + list + ", CASE WHEN " + key + " IN (SELECT " + key + " FROM " + other + ") THEN '" + update + "' ELSE '" + alone + "' END AS _change_type FROM " + of
	}
	again := func(as string) string { return "SELECT " + list + ", '" + as + "' FROM again" }
	return "WITH had AS MATERIALIZED (SELECT " + strings.Join(before, ", ") + " FROM " + was + "), has AS MATERIALIZED (SELECT " + list + " FROM " + now + "), " +
		"went AS MATERIALIZED (FROM had EXCEPT ALL FROM has), came AS MATERIALIZED (FROM has EXCEPT ALL FROM had), " +
		"again AS (SELECT " + list + " FROM (FROM had INTERSECT ALL FROM has) WHERE hash(" + list + ") % 3 = 0 AND EXISTS (FROM went UNION ALL FROM came)) " +
		strings.Join([]string{
			kind("went", "came", "update_preimage", "delete"), kind("came", "went", "update_postimage", "insert"),
			again("update_preimage"), again("update_postimage"),
		}, " UNION ALL ")
}

// column answers the texts of a SELECT's first column.
func (c *conn) column(ctx context.Context, sql string) ([]string, error) {
	var out []string
	err := c.query(ctx, sql, func(*arrow.Schema) error { return nil }, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			out = append(out, strings.Clone(b.Column(0).ValueStr(i)))
		}
		return true
	})
	return out, err
}

// feed answers the text of table_changes.
func (p *Peer) feed(name string, start, end int) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tables[keyOf(name)]
	switch {
	case t == nil:
		return "", refuse("42P01", "TABLE_OR_VIEW_NOT_FOUND", "The table or view `"+name+"` cannot be found.", 0)
	case end < start:
		return "", refuse("22003", "DELTA_INVALID_CDC_RANGE", "CDC range from start to end was invalid. End cannot be before start.", 0)
	case start < t.born || end > p.version:
		return "", refuse("22003", "DELTA_VERSION_NOT_FOUND", "Cannot time travel Delta table to that version.", 0)
	case start < end && p.broken != nil:
		return "", p.broken
	}
	text := "SELECT *, CAST(NULL AS VARCHAR) AS _change_type, CAST(NULL AS BIGINT) AS _commit_version, now() AS _commit_timestamp FROM " +
		Catalog + "." + quote(t.schema) + "." + quote(t.name) + " WHERE FALSE"
	for v := start; v <= end; v++ {
		if !t.recorded[v] {
			return "", refuse("KD002", "DELTA_MISSING_CHANGE_DATA", "Error getting change data for range as change data was not recorded for version "+strconv.Itoa(v)+".", 0)
		}
		if v > start && v <= p.vacuumed {
			return "", refuse("42K03", "DELTA_CHANGE_DATA_FILE_NOT_FOUND", "File referenced in the transaction log cannot be found.", 0)
		}
		if in := t.recordedIn(v); p.changes[in] {
			text += " UNION ALL BY NAME SELECT *, " + strconv.Itoa(v) + " AS _commit_version, now() AS _commit_timestamp FROM " + in
		}
	}
	for _, v := range t.altered {
		switch {
		case v > end:
			return "", refuse("0AKDC", "DELTA_CHANGE_DATA_FEED_INCOMPATIBLE_DATA_SCHEMA", "Retrieving table changes failed because of an incompatible data schema.", 0)
		case v > start:
			return "", refuse("0AKDC", "DELTA_CHANGE_DATA_FEED_INCOMPATIBLE_SCHEMA_CHANGE", "Retrieving table changes failed because of an incompatible schema change.", 0)
		}
	}
	return "(" + text + ")", nil
}
