package databricks

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace.dev/pkg/resource"
)

// feed is a model's statement over one table, of which each row becomes at most one row, by that row alone: so the
// table's changes are those of the query, and a row that leaves the WHERE is gone.
type feed struct {
	text   string
	tokens []placed
	table  string // its name as the query has it, in one to three parts
	alias  string // what stands for the table where the query gives it no other name
	line   int    // where the table is named
	list   int    // the offset behind the select list
	from   int    // the offset of the table's name, and that behind it
	end    int
}

// placed is a significant token of a statement, or a semicolon, and its offset.
type placed struct {
	text string
	at   int
}

func (p placed) end() int { return p.at + len(p.text) }

// first answers the token's first character, and whether the token is a text in quotes.
func (p placed) first() (rune, bool) {
	r, _ := utf8.DecodeRuneInString(p.text)
	last := p.text[len(p.text)-1:]
	return r, r == '\'' || r == '"' || len(p.text) > 1 && (last == "'" || last == `"`) && r != '`'
}

// isWord says whether a token is a bare name or keyword, isQuoted whether it is a name in backticks.
func (p placed) isWord() bool {
	r, literal := p.first()
	return !literal && (r == '_' || unicode.IsLetter(r))
}

func (p placed) isQuoted() bool { return p.text[0] == '`' }
func (p placed) isName() bool   { return p.isWord() || p.isQuoted() }

// is says whether a token is one of words, in any case, or of marks.
func (p placed) is(words ...string) bool {
	for _, w := range words {
		if strings.EqualFold(p.text, w) {
			return true
		}
	}
	return false
}

// lex answers the tokens of what clean answered.
func lex(sql string) []placed {
	var out []placed
	for at := 0; at < len(sql); {
		t, _ := nextToken(sql[at:])
		if t.significant || t.text == ";" {
			out = append(out, placed{text: t.text, at: at})
		}
		at += len(t.text)
	}
	return out
}

// feedOf answers the statement of a model as one whose changes can be told, or refuses it.
func feedOf(m resource.DataModel) (feed, error) {
	text, err := selectOf(m)
	if err != nil {
		return feed{}, err
	}
	f := feed{text: text, tokens: lex(text)}
	if !f.tokens[0].is("SELECT") {
		return f, f.refuse(f.tokens[0], "the query is no plain SELECT")
	}
	from, err := f.fromAt()
	if err != nil {
		return f, err
	}
	at := f.name(from + 1)
	if f.table == "" {
		return f, f.refuse(f.tokens[from], "what stands behind FROM is no table by its name")
	}
	return f, f.tail(at)
}

// unfed refuses what has no feed of changes.
func unfed(line int, format string, args ...any) error {
	return queryInvalid("line %d: mirror_engine native reads the changes of one table: "+format+"; select columns of one table, with or without WHERE, or use mirror_engine: row_index", append([]any{line}, args...)...)
}

func (f *feed) refuse(t placed, format string, args ...any) error {
	return unfed(lineAt(f.text, t.at), format, args...)
}

// token answers the token at i, one that is nothing behind the last.
func (f *feed) token(i int) placed {
	if i >= 0 && i < len(f.tokens) {
		return f.tokens[i]
	}
	return placed{text: " ", at: len(f.text)}
}

// name reads the table's name at token i and answers the token behind it.
func (f *feed) name(i int) int {
	first := i
	var parts []string
	for f.token(i).isName() {
		parts = append(parts, f.token(i).text)
		i++
		if !f.token(i).is(".") {
			break
		}
		i++
	}
	const most = 3
	if len(parts) == 0 || len(parts) > most || f.token(i-1).is(".") {
		return i
	}
	f.table, f.alias = strings.Join(parts, "."), parts[len(parts)-1]
	f.line, f.from, f.end = lineAt(f.text, f.token(first).at), f.token(first).at, f.token(i-1).end()
	return i
}

// fromAt answers the token FROM of the statement, having looked at the select list before it.
func (f *feed) fromAt() (int, error) {
	if t := f.token(1); t.is("DISTINCT", "ALL") {
		return 0, f.refuse(t, "%s makes of rows what their changes do not tell", strings.ToUpper(t.text))
	}
	depth := 0
	for i := 1; i < len(f.tokens); i++ {
		t := f.tokens[i]
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case f.isClause(i) && depth > 0:
			return 0, f.refuse(t, "FROM stands in parentheses")
		case f.isClause(i) && i == 1:
			return 0, f.refuse(t, "the query selects nothing")
		case f.isClause(i):
			f.list = f.tokens[i-1].end()
			return i, nil
		}
		if err := f.alone(i); err != nil {
			return 0, err
		}
	}
	return 0, f.refuse(f.tokens[0], "the query reads none")
}

// isClause says whether the token at i is the FROM of a clause.
func (f *feed) isClause(i int) bool {
	return f.token(i).is("FROM") && !f.token(i-1).is("DISTINCT", ".")
}

// tail looks at what stands behind the table's name: an alias, and a WHERE.
func (f *feed) tail(at int) error {
	if f.token(at).is("AS") {
		at++
	}
	if t := f.token(at); t.isName() && !t.is("WHERE") && (at+1 == len(f.tokens) || f.token(at+1).is("WHERE")) {
		f.alias = ""
		at++
	}
	if at == len(f.tokens) {
		return nil
	}
	if !f.token(at).is("WHERE") {
		return f.refuse(f.token(at), "behind it stands more than WHERE")
	}
	depth := 0
	for i := at + 1; i < len(f.tokens); i++ {
		switch t := f.tokens[i]; {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case depth == 0 && t.is("GROUP", "HAVING", "QUALIFY", "ORDER", "SORT", "CLUSTER", "DISTRIBUTE", "LIMIT", "OFFSET", "UNION", "INTERSECT", "EXCEPT", "MINUS", "WINDOW", "PIVOT", "UNPIVOT", ","):
			return f.refuse(t, "behind WHERE stands more than a condition")
		case f.isClause(i):
			return f.refuse(t, "the condition reads another table")
		}
		if err := f.alone(i); err != nil {
			return err
		}
	}
	return nil
}

// alone refuses a token by which a row would become what it does not become by itself.
func (f *feed) alone(i int) error {
	t, next := f.token(i), f.token(i+1)
	called, up := next.is("("), strings.ToUpper(t.text)
	_, literal := next.first()
	switch {
	case t.is("SELECT", "OVER", "JOIN", "LATERAL", "TABLE", "VALUES", "TABLESAMPLE", ";"), t.is("|") && next.is(">") && next.at == t.end():
		return f.refuse(t, "%s looks at other rows", up)
	case t.isWord() && (strings.HasPrefix(up, "CURRENT_") || strings.HasPrefix(up, "LOCALTIME") || up == "SESSION_USER"):
		return f.refuse(t, "%s is another value in each run", up)
	case t.is("DATE", "TIMESTAMP", "TIMESTAMP_LTZ", "TIMESTAMP_NTZ") && literal && !dated(next.text):
		return f.refuse(t, "a %s by a word may be another value in each run", up)
	case called && t.isQuoted(), called && t.isWord() && (!steady[up] || f.token(i-1).is(".")):
		return f.refuse(t, "%s is none of the functions that are known to go by the row alone", t.text)
	}
	return nil
}

// dated says whether a literal's text begins with a digit, as no word such as 'today' does.
func dated(literal string) bool {
	text := strings.TrimLeft(literal, "'\"rR +-")
	return text != "" && text[0] >= '0' && text[0] <= '9'
}

// steady are the words that may stand before a parenthesis: functions of the row's values, types, and what is no function.
//
//nolint:gochecknoglobals // never changed
var steady = setOf(`AND OR NOT IN LIKE ILIKE RLIKE REGEXP ANY ALL SOME BETWEEN CASE WHEN THEN ELSE IS EXCEPT
CAST TRY_CAST DECIMAL DEC NUMERIC VARCHAR CHAR STRING BOOLEAN TINYINT SMALLINT INT BIGINT FLOAT DOUBLE BINARY DATE TIMESTAMP TIME
COALESCE NVL NVL2 IFNULL NULLIF NULLIFZERO ZEROIFNULL IF IFF DECODE EQUAL_NULL ISNULL ISNOTNULL GREATEST LEAST
UPPER UCASE LOWER LCASE INITCAP TRIM LTRIM RTRIM BTRIM LENGTH LEN CHAR_LENGTH SUBSTR SUBSTRING LEFT RIGHT REPLACE TRANSLATE CONCAT CONCAT_WS SPLIT SPLIT_PART
STARTSWITH ENDSWITH CONTAINS POSITION LOCATE INSTR CHARINDEX LPAD RPAD REVERSE REPEAT
REGEXP_LIKE REGEXP_REPLACE REGEXP_EXTRACT REGEXP_SUBSTR MD5 SHA SHA1 SHA2 CRC32 XXHASH64 HASH HEX UNHEX BASE64 UNBASE64
ABS SIGN ROUND BROUND FLOOR CEIL CEILING MOD PMOD SQRT POWER POW
TO_DATE TO_TIMESTAMP TO_CHAR TO_VARCHAR TO_NUMBER DATE_FORMAT DATE_TRUNC TRUNC DATE_ADD DATE_SUB DATEADD DATEDIFF DATE_PART YEAR QUARTER MONTH DAY HOUR MINUTE SECOND
LAST_DAY ADD_MONTHS MAKE_DATE FROM_UNIXTIME TIMESTAMP_SECONDS TIMESTAMP_MILLIS TIMESTAMP_MICROS UNIX_SECONDS UNIX_MILLIS UNIX_MICROS FROM_UTC_TIMESTAMP TO_UTC_TIMESTAMP
ARRAY STRUCT NAMED_STRUCT MAP MAP_KEYS MAP_VALUES ARRAY_CONTAINS ARRAY_JOIN ARRAY_SIZE SIZE CARDINALITY ELEMENT_AT GET
GET_JSON_OBJECT FROM_JSON TO_JSON PARSE_JSON TRY_PARSE_JSON VARIANT_GET TRY_VARIANT_GET TYPEOF`)

func setOf(words string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		out[w] = true
	}
	return out
}

// Names of what statements over the feed select from, and of columns that it adds. No model has them.
const (
	feedRows    = "`millrace rows`"
	feedChanges = "`millrace changes`"
	feedType    = "`millrace type`"
	feedVersion = "`millrace version`"
)

// asOf answers the statement over a version of the table.
func (f *feed) asOf(version int64) string {
	return f.text[:f.from] + f.table + " VERSION AS OF " + strconv.FormatInt(version, 10) + f.text[f.end:]
}

// since answers the statement over the table's changes behind version `from` up to `to`, with what each one is. The range
// begins with `from` itself, so that Delta holds its columns against those of all that follow; its own changes are left
// out.
func (f *feed) since(from, to int64) string {
	first := strconv.FormatInt(from, 10)
	table := "table_changes(" + quoteText(f.table) + ", " + first + ", " + strconv.FormatInt(to, 10) + ")"
	if f.alias != "" {
		table += " AS " + f.alias
	}
	return "SELECT * FROM (\n" + f.text[:f.list] + ", _change_type AS " + feedType + ", _commit_version AS " + feedVersion +
		f.text[f.list:f.from] + table + f.text[f.end:] + "\n) AS c WHERE " + feedVersion + " > " + first
}

// quoteText answers a text as a literal.
func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
