package bigquery

import (
	"strconv"
	"strings"

	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/bigquery/googlesql"
)

// feed is a model's statement over one table, of which each row becomes at most one row, by that row alone: so the
// table's changes are those of the query, and a row that leaves the WHERE is gone.
type feed struct {
	text   string
	words  []lexeme
	table  *bq.TableReference
	path   string // the table, as the query names it
	alias  string // as the query's expressions name it, quoted
	line   string // where that is
	list   int    // offset: behind the select list
	behind int    // offset: behind the table's name and alias
}

// lexeme is a token that is neither space nor comment, and where it stands.
type lexeme struct {
	googlesql.Token
	at int
}

func (l lexeme) end() int { return l.at + len(l.Text) }

// is says whether l is one of some keywords or symbols, in capitals.
func (l lexeme) is(words ...string) bool {
	if l.Kind != googlesql.Word && l.Kind != googlesql.Symbol {
		return false
	}
	for _, w := range words {
		if strings.EqualFold(l.Text, w) {
			return true
		}
	}
	return false
}

func lexemes(text string) []lexeme {
	var out []lexeme
	for at := 0; at < len(text); {
		t, ok := googlesql.Next(text[at:])
		if t.Kind != googlesql.Space && t.Kind != googlesql.Comment {
			out = append(out, lexeme{t, at})
		}
		if at += len(t.Text); !ok {
			break
		}
	}
	return out
}

// unfed refuses what has no feed of changes.
func unfed(line, format string, args ...any) error {
	return invalid("%smirror_engine native reads the changes of one table: "+format+"; select columns of one table, with or without WHERE, or use mirror_engine: row_index or diff", append([]any{line}, args...)...)
}

// feedOf answers a statement, which BigQuery takes for a SELECT, as one whose changes can be told, or refuses it.
func feedOf(text string, b resource.BigQuery) (feed, error) {
	f := feed{text: text, words: lexemes(text)}
	if first := f.word(0); !first.is("SELECT") {
		return f, unfed(f.where(first), "the query is no plain SELECT")
	}
	from, err := f.from()
	if err != nil {
		return f, err
	}
	f.list = f.word(from - 1).end()
	at := f.word(from + 1).at
	if from+1 >= len(f.words) {
		at = len(text)
	}
	names, size := tablePath(text[at:])
	if f.table = reference(names, b); f.table == nil {
		return f, unfed(f.where(f.word(from)), "what stands behind FROM is no table by its name")
	}
	f.path, f.line, f.behind = text[at:at+size], f.where(f.word(from+1)), at+size
	f.alias = googlesql.Quote(f.table.TableId)
	next := from + 1
	for next < len(f.words) && f.words[next].at < f.behind {
		next++
	}
	return f, f.tail(next)
}

// word answers lexeme i, an empty symbol where there is none.
func (f *feed) word(i int) lexeme {
	if i < 0 || i >= len(f.words) {
		return lexeme{googlesql.Token{Kind: googlesql.Symbol}, len(f.text)}
	}
	return f.words[i]
}

func (f *feed) where(l lexeme) string {
	return "line " + strconv.Itoa(1+strings.Count(f.text[:l.at], "\n")) + ": "
}

// from answers the FROM of the statement, having looked at the select list before it.
func (f *feed) from() (int, error) {
	if t := f.word(1); t.is("DISTINCT", "ALL", "AS") {
		return 0, unfed(f.where(t), "SELECT %s makes of rows what their changes do not tell", strings.ToUpper(t.Text))
	}
	var open []string
	for i := 1; i < len(f.words); i++ {
		if f.words[i].is("FROM") && len(open) == 0 && !f.word(i-1).is("DISTINCT") {
			return i, nil
		}
		if err := f.alone(i, &open); err != nil {
			return 0, err
		}
	}
	return 0, unfed("", "the query reads none")
}

// tail looks at what stands behind the table's name: an alias, and a WHERE.
func (f *feed) tail(i int) error {
	if f.word(i).is("AS") {
		i++
	}
	if t := f.word(i); (t.Kind == googlesql.Name || t.Kind == googlesql.Word) && !t.is("WHERE") && (i+1 == len(f.words) || f.word(i+1).is("WHERE")) {
		f.alias, f.behind = t.Text, t.end()
		i++
	}
	if i == len(f.words) {
		return nil
	}
	if !f.word(i).is("WHERE") {
		return unfed(f.where(f.word(i)), "behind it stands more than WHERE")
	}
	var open []string
	for i++; i < len(f.words); i++ {
		if t := f.words[i]; len(open) == 0 && t.is("GROUP", "HAVING", "QUALIFY", "ORDER", "LIMIT", "UNION", "INTERSECT", "EXCEPT", "WINDOW", ",") {
			return unfed(f.where(t), "behind WHERE stands more than a condition")
		}
		if err := f.alone(i, &open); err != nil {
			return err
		}
	}
	return nil
}

// alone refuses a lexeme by which a row would become what it does not become by itself. open has the word before each
// parenthesis that is open.
func (f *feed) alone(i int, open *[]string) error {
	t, before := f.words[i], f.word(i-1)
	up := strings.ToUpper(t.Text)
	within := ""
	if n := len(*open); n > 0 {
		within = (*open)[n-1]
	}
	switch {
	case t.is("("):
		*open = append(*open, strings.ToUpper(before.Text))
	case t.is(")"):
		*open = (*open)[:max(0, len(*open)-1)]
	case t.is("FROM") && within != "EXTRACT" && !before.is("DISTINCT"):
		return unfed(f.where(t), "FROM looks at other rows")
	case t.is("SELECT", "OVER", "JOIN", "WITH"):
		return unfed(f.where(t), "%s looks at other rows", up)
	case t.Kind == googlesql.Symbol && t.Text == "|" && f.word(i+1).is(">") && f.word(i+1).at == t.end():
		return unfed(f.where(t), "a pipe looks at other rows")
	case t.Kind == googlesql.Parameter, t.is("@"):
		return unfed(f.where(t), "a variable is no column")
	case t.Kind == googlesql.Word && (strings.HasPrefix(up, "CURRENT_") || strings.HasPrefix(up, "LOCALTIME")):
		return unfed(f.where(t), "%s is another value in each run", up)
	case t.Kind == googlesql.Word && (strings.HasPrefix(up, "_PARTITION") || strings.HasPrefix(up, "_TABLE_") || strings.HasPrefix(up, "_CHANGE_")):
		return unfed(f.where(t), "%s is no column that changes tell of", up)
	case f.word(i+1).is("(") && (t.Kind == googlesql.Name || t.Kind == googlesql.Word) && !f.isSteady(i):
		return unfed(f.where(t), "%s is none of the functions that are known to go by the row alone", t.Text)
	}
	return nil
}

// isSteady says whether the word at i, before a parenthesis, is none that looks beyond the row.
func (f *feed) isSteady(i int) bool {
	if f.words[i].Kind == googlesql.Name || f.word(i-1).is(".") && !f.word(i-2).is("SAFE") {
		return false
	}
	return steady[strings.ToUpper(f.words[i].Text)]
}

// steady are the words that may stand before a parenthesis: functions of the row's values, types, and what is no function.
//
//nolint:gochecknoglobals // never changed
var steady = setOf(`AND OR NOT IN LIKE ANY SOME ALL BETWEEN CASE WHEN THEN ELSE IS EXCEPT REPLACE UNNEST
CAST SAFE_CAST NUMERIC DECIMAL BIGNUMERIC BIGDECIMAL STRING BYTES DATE DATETIME TIME TIMESTAMP INT64 FLOAT64 BOOL STRUCT ARRAY
COALESCE IFNULL NULLIF IF IFERROR ISERROR NULLIFERROR GREATEST LEAST
UPPER LOWER INITCAP TRIM LTRIM RTRIM LENGTH CHAR_LENGTH CHARACTER_LENGTH BYTE_LENGTH OCTET_LENGTH SUBSTR SUBSTRING LEFT RIGHT TRANSLATE CONCAT SPLIT
STARTS_WITH ENDS_WITH CONTAINS_SUBSTR STRPOS INSTR LPAD RPAD REPEAT REVERSE NORMALIZE NORMALIZE_AND_CASEFOLD FORMAT COLLATE ASCII CHR UNICODE SOUNDEX
REGEXP_CONTAINS REGEXP_EXTRACT REGEXP_EXTRACT_ALL REGEXP_INSTR REGEXP_REPLACE REGEXP_SUBSTR
MD5 SHA1 SHA256 SHA512 FARM_FINGERPRINT TO_HEX FROM_HEX TO_BASE64 FROM_BASE64 TO_BASE32 FROM_BASE32 TO_CODE_POINTS CODE_POINTS_TO_STRING CODE_POINTS_TO_BYTES SAFE_CONVERT_BYTES_TO_STRING
ABS SIGN ROUND FLOOR CEIL CEILING TRUNC MOD DIV SAFE_DIVIDE SAFE_ADD SAFE_SUBTRACT SAFE_MULTIPLY SAFE_NEGATE SQRT POW POWER EXP LN LOG LOG10 IS_NAN IS_INF
EXTRACT DATE_ADD DATE_SUB DATE_DIFF DATE_TRUNC LAST_DAY FORMAT_DATE PARSE_DATE DATE_FROM_UNIX_DATE UNIX_DATE
DATETIME_ADD DATETIME_SUB DATETIME_DIFF DATETIME_TRUNC FORMAT_DATETIME PARSE_DATETIME TIME_ADD TIME_SUB TIME_DIFF TIME_TRUNC FORMAT_TIME PARSE_TIME
TIMESTAMP_ADD TIMESTAMP_SUB TIMESTAMP_DIFF TIMESTAMP_TRUNC FORMAT_TIMESTAMP PARSE_TIMESTAMP TIMESTAMP_SECONDS TIMESTAMP_MILLIS TIMESTAMP_MICROS UNIX_SECONDS UNIX_MILLIS UNIX_MICROS
JSON_VALUE JSON_QUERY JSON_EXTRACT JSON_EXTRACT_SCALAR JSON_VALUE_ARRAY JSON_QUERY_ARRAY JSON_EXTRACT_ARRAY JSON_EXTRACT_STRING_ARRAY JSON_TYPE PARSE_JSON TO_JSON TO_JSON_STRING
LAX_BOOL LAX_FLOAT64 LAX_INT64 LAX_STRING ARRAY_LENGTH ARRAY_REVERSE ARRAY_TO_STRING ARRAY_CONCAT OFFSET ORDINAL SAFE_OFFSET SAFE_ORDINAL
ST_ASTEXT ST_ASGEOJSON ST_X ST_Y ST_GEOGPOINT ST_GEOGFROMTEXT`)

func setOf(words string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		out[w] = true
	}
	return out
}

// tablePath answers the names of a table's path at the head of s, and how long it is; none where there is none.
func tablePath(s string) (names []string, size int) {
	const most = 4
	for range most {
		rest := s[size:]
		n := bare(rest, size == 0)
		if strings.HasPrefix(rest, "`") {
			t, ok := googlesql.Next(rest)
			if n = len(t.Text); !ok {
				return nil, 0
			}
			names = append(names, strings.Split(googlesql.Unquote(t.Text), ".")...)
		} else {
			names = append(names, rest[:n])
		}
		if n == 0 {
			return nil, 0
		}
		if size += n; size == len(s) || s[size] != '.' {
			return names, size
		}
		size++
	}
	return nil, 0
}

// reference answers which table names are a path of; nil where they are none of one table.
func reference(names []string, b resource.BigQuery) *bq.TableReference {
	full := append([]string{}, names...)
	if len(full) == 1 && b.DatasetID != "" {
		full = append([]string{b.DatasetID}, full...)
	}
	if len(full) == 2 {
		full = append([]string{b.ProjectID}, full...)
	}
	if len(full) != 3 {
		return nil
	}
	for _, n := range full {
		if n == "" || strings.ContainsAny(n, "$*@`") || strings.EqualFold(n, "INFORMATION_SCHEMA") {
			return nil
		}
	}
	return &bq.TableReference{ProjectId: full[0], DatasetId: full[1], TableId: full[2]}
}

// asOf answers the statement over the table as it was at a time, which is a parameter.
func (f *feed) asOf(parameter string) string {
	return f.text[:f.behind] + " FOR SYSTEM_TIME AS OF @" + parameter + f.text[f.behind:]
}

// over answers the statement over the table's changes from a time on and before another, which are parameters. Its
// condition is left out: what a row became may not fulfil what the row did.
func (f *feed) over(from, to string) string {
	return f.text[:f.list] + " FROM CHANGES(TABLE " + quoted(f.table) + ", @" + from + ", @" + to + ") AS " + f.alias
}

// quoted answers the name of a table.
func quoted(t *bq.TableReference) string {
	return googlesql.Quote(t.ProjectId) + "." + googlesql.Quote(t.DatasetId) + "." + googlesql.Quote(t.TableId)
}
