package sharing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"millrace.dev/pkg/source"
)

// position is a state by the table's feed of changes: a version, how many rows it has, and what must be as it was for the
// feed to tell everything since: which table it is, its columns, and what the model reads of it.
type position struct {
	version, rows         int64
	table, columns, model string // fingerprints
	// repeats says that more than one row of the state, or of what it was compared with, has a key that the feed named.
	repeats bool
}

const repeatsWords = ", some with one key"

//nolint:gochecknoglobals // compiled once, never changed
var positionText = regexp.MustCompile(`^version (\d{1,18}) of (\d{1,18}) rows of table ([0-9a-f]{16}) with columns ([0-9a-f]{16}) by model ([0-9a-f]{16})(, some with one key)?$`)

// state answers the text that names p.
func (p position) state() source.State {
	text := fmt.Sprintf("version %d of %d rows of table %s with columns %s by model %s", p.version, p.rows, p.table, p.columns, p.model)
	if p.repeats {
		text += repeatsWords
	}
	return source.State(text)
}

// parsePosition reads what state wrote; false for anything else.
func parsePosition(s source.State) (position, bool) {
	m := positionText.FindStringSubmatch(string(s))
	if m == nil {
		return position{}, false
	}
	version, err := strconv.ParseInt(m[1], 10, 64)
	rows, err2 := strconv.ParseInt(m[2], 10, 64)
	return position{version: version, rows: rows, table: m[3], columns: m[4], model: m[5], repeats: m[6] != ""}, err == nil && err2 == nil
}

// positionOf answers where a listing of the described table is, its rows left open.
func (x *differ) positionOf(l *listing) position {
	var columns []string
	for _, f := range l.meta.fields {
		columns = append(columns, f.name, f.typ.String())
	}
	model := []string{x.model.table.schema, x.model.table.table}
	for i, name := range x.d.names {
		model = append(model, name, x.d.schema.Field(i).Name)
	}
	model = append(model, x.q.Model.KeyColumns...)
	return position{version: l.version, table: fingerprint(l.meta.id), columns: fingerprint(columns...), model: fingerprint(model...)}
}

// isOf says whether p is of the same table, columns and model as at.
func (p position) isOf(at position) bool {
	return p.table == at.table && p.columns == at.columns && p.model == at.model
}

// lost says why the feed cannot tell what has changed from p to now; empty: it may.
func (p position) lost(now position) string {
	switch {
	case p.table != now.table:
		return "the table was made again, or another one has its name"
	case p.columns != now.columns:
		return "the table's columns have changed, and its feed does not tell what that did to rows"
	case p.model != now.model:
		return "the model reads other columns, or another table"
	case p.version > now.version:
		return fmt.Sprintf("the table is at version %d, before version %d of the last run", now.version, p.version)
	}
	return ""
}

// fingerprint answers 16 hexadecimal digits of a list of texts.
func fingerprint(texts ...string) string {
	const short = 8
	var b strings.Builder
	for _, t := range texts {
		b.WriteString(strconv.Quote(t))
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:short])
}
