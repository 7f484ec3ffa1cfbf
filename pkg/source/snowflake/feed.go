package snowflake

import (
	"strings"
	"time"
)

// feed is a model's statement over one table, of which each row becomes at most one row, by that row alone: so the
// table's changes are those of the query, and a row that leaves the WHERE is gone.
type feed struct {
	statement
	catalog, schema, table string // as the warehouse keeps names; catalog and schema may be empty
	text                   string // the table, as the query names it
	line                   string // where that is
	list, end              int    // offsets: behind the select list, and behind the table's name
}

// unfed refuses what has no feed of changes.
func unfed(line, format string, args ...any) error {
	return invalid("%smirror_engine native reads the changes of one table: "+format+"; select columns of one table, with or without WHERE, or use mirror_engine: row_index or diff", append([]any{line}, args...)...)
}

// feed answers the statement as one whose changes can be told, or refuses it.
func (s statement) feed() (feed, error) {
	f := feed{statement: s}
	first := s.tokens[0]
	if !first.is("SELECT") {
		return f, unfed(s.line(first), "the query is no plain SELECT")
	}
	from, err := s.fromAt()
	if err != nil {
		return f, err
	}
	at := from + 1
	var names []token
	for ; at < len(s.tokens) && s.tokens[at].isName(); at += 2 {
		names = append(names, s.tokens[at])
		if at+1 >= len(s.tokens) || !s.tokens[at+1].is(".") {
			at++
			break
		}
	}
	const most = 3
	if len(names) == 0 || len(names) > most {
		return f, unfed(s.line(s.tokens[from]), "what stands behind FROM is no table by its name")
	}
	last := names[len(names)-1]
	f.list, f.end, f.line = s.tokens[from-1].at+len(s.tokens[from-1].text), last.at+len(last.text), s.line(last)
	f.text = s.text[names[0].at:f.end]
	for i, to := range []*string{&f.table, &f.schema, &f.catalog} {
		if i < len(names) {
			*to = folded(names[len(names)-1-i])
		}
	}
	return f, s.tail(at)
}

// fromAt answers the token FROM of the statement, having looked at the select list before it.
func (s statement) fromAt() (int, error) {
	if len(s.tokens) > 1 && s.tokens[1].is("DISTINCT", "ALL", "TOP") {
		return 0, unfed(s.line(s.tokens[1]), "%s makes of rows what their changes do not tell", strings.ToUpper(s.tokens[1].text))
	}
	for i := 1; i < len(s.tokens); i++ {
		if s.tokens[i].is("FROM") {
			if i == 1 {
				return 0, invalid("%sthe query selects nothing", s.line(s.tokens[i]))
			}
			return i, nil
		}
		if err := s.alone(i); err != nil {
			return 0, err
		}
	}
	return 0, unfed("", "the query reads none")
}

// tail looks at what stands behind the table's name: an alias, and a WHERE.
func (s statement) tail(at int) error {
	token := func(i int) token {
		if i < len(s.tokens) {
			return s.tokens[i]
		}
		return token{kind: mark}
	}
	if token(at).is("AS") {
		at++
	}
	if token(at).isName() && !token(at).is("WHERE") && (at+1 == len(s.tokens) || token(at+1).is("WHERE")) {
		at++
	}
	if at == len(s.tokens) {
		return nil
	}
	if !token(at).is("WHERE") {
		return unfed(s.line(token(at)), "behind it stands more than WHERE")
	}
	depth := 0
	for i := at + 1; i < len(s.tokens); i++ {
		switch t := s.tokens[i]; {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case depth == 0 && t.is("GROUP", "HAVING", "QUALIFY", "ORDER", "LIMIT", "FETCH", "OFFSET", "UNION", "INTERSECT", "EXCEPT", "MINUS", "WINDOW", "CONNECT", "START", ","):
			return unfed(s.line(t), "behind WHERE stands more than a condition")
		case t.is("FROM") && !s.tokens[i-1].is("DISTINCT"):
			return unfed(s.line(t), "the condition reads another table")
		}
		if err := s.alone(i); err != nil {
			return err
		}
	}
	return nil
}

// alone refuses a token by which a row would become what it does not become by itself.
func (s statement) alone(i int) error {
	t := s.tokens[i]
	called := i+1 < len(s.tokens) && s.tokens[i+1].is("(")
	up := strings.ToUpper(t.text)
	switch {
	case t.is("SELECT", "OVER", "JOIN", "LATERAL", "PRIOR", "NEXTVAL"):
		return unfed(s.line(t), "%s looks at other rows", up)
	case t.kind == mark && t.text == "$", t.kind == mark && t.text == "@":
		return unfed(s.line(t), "a variable or stage is no column")
	case t.kind == word && (strings.HasPrefix(up, "CURRENT_") || strings.HasPrefix(up, "LOCALTIME")):
		return unfed(s.line(t), "%s is another value in each run", up)
	case called && t.kind == quoted, called && t.kind == word && (!steady[up] || i > 0 && s.tokens[i-1].is(".")):
		return unfed(s.line(t), "%s is none of the functions that are known to go by the row alone", t.text)
	}
	return nil
}

// steady are the words that may stand before a parenthesis: functions of the row's values, types, and what is no function.
//
//nolint:gochecknoglobals // never changed
var steady = setOf(`AND OR NOT IN LIKE ILIKE RLIKE ANY BETWEEN CASE WHEN THEN ELSE IS EXCLUDE RENAME ILIKE
CAST TRY_CAST NUMBER DECIMAL NUMERIC VARCHAR CHAR TEXT STRING BINARY TIME TIMESTAMP TIMESTAMP_NTZ TIMESTAMP_LTZ TIMESTAMP_TZ
TO_VARCHAR TO_CHAR TO_NUMBER TO_DECIMAL TO_DOUBLE TO_BOOLEAN TO_DATE TO_TIME TO_TIMESTAMP TO_TIMESTAMP_NTZ TO_TIMESTAMP_TZ TO_BINARY TO_JSON TO_VARIANT PARSE_JSON TRY_PARSE_JSON
COALESCE NVL NVL2 IFNULL NULLIF IFF DECODE ZEROIFNULL NULLIFZERO EQUAL_NULL GREATEST LEAST
UPPER LOWER INITCAP TRIM LTRIM RTRIM LENGTH LEN SUBSTR SUBSTRING LEFT RIGHT REPLACE TRANSLATE CONCAT CONCAT_WS SPLIT_PART STARTSWITH ENDSWITH CONTAINS POSITION CHARINDEX LPAD RPAD REVERSE COLLATE
REGEXP_LIKE REGEXP_REPLACE REGEXP_SUBSTR MD5 SHA1 SHA2 HEX_ENCODE BASE64_ENCODE
ABS SIGN ROUND FLOOR CEIL TRUNC MOD DIV0 SQRT POWER
DATE_TRUNC DATEADD DATEDIFF DATE_PART YEAR MONTH DAY HOUR MINUTE SECOND LAST_DAY
GET GET_PATH ARRAY_SIZE ARRAY_CONTAINS OBJECT_KEYS TYPEOF`)

func setOf(words string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		out[w] = true
	}
	return out
}

// asOf answers the statement over the table as it was at an instant.
func (f feed) asOf(at time.Time) string {
	return f.statement.text[:f.end] + " AT" + timestamp(at) + f.statement.text[f.end:]
}

// since answers the statement over the table's changes behind `from` up to `to` (zero: now), with what each one is.
func (f feed) since(from, to time.Time) string {
	clause := " CHANGES(INFORMATION => DEFAULT) AT" + timestamp(from)
	if !to.IsZero() {
		clause += " END" + timestamp(to)
	}
	t := f.statement.text
	return t[:f.list] + ", METADATA$ACTION AS " + feedAction + t[f.list:f.end] + clause + t[f.end:]
}

// timestamp answers an instant as Time Travel takes it.
func timestamp(at time.Time) string {
	return "(TIMESTAMP => '" + at.UTC().Format("2006-01-02T15:04:05.000000000") + "+00:00'::TIMESTAMP_TZ)"
}

// isUntracked says whether changes are not tracked, or were not all the time that was asked for.
func isUntracked(err error) bool { return codeOf(err) == codeUntracked }
