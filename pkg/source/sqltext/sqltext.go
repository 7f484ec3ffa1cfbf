// Package sqltext prepares the SQL of data models for drivers: it cuts what stands behind the statement's end, quotes
// names, checks table names and writes what compares a query's rows with what they were. It reads the lexical rules that PostgreSQL and DuckDB share; what a statement is, the
// engine decides.
package sqltext

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// MaxBytes bounds the text of a query.
const MaxBytes = 1 << 20

// Select answers the one statement of a model as text that can stand in parentheses, without trailing semicolons. The
// text is not looked into further than to find where it ends.
func Select(m resource.DataModel) (string, error) {
	if m.Table != "" {
		if !IsTable(m.Table) {
			return "", invalid("table is not a name such as schema.table; quote names with other characters: \"my table\"")
		}
		return "SELECT * FROM " + m.Table, nil
	}
	return Clean(m.SQL)
}

// Clean answers sql without semicolons behind its statement. Text that is empty, too long, not UTF-8, has a NUL, or leaves
// a quote or comment open is refused.
func Clean(sql string) (string, error) {
	switch {
	case len(sql) > MaxBytes:
		return "", invalid("the query is longer than 1 MiB; make it a view in the warehouse")
	case !utf8.ValidString(sql):
		return "", invalid("the query is not valid UTF-8")
	case strings.ContainsRune(sql, 0):
		return "", invalid("the query contains a NUL character")
	}
	end := 0 // behind the last thing that is no space, comment or semicolon
	for at := 0; at < len(sql); {
		n, significant, ok := token(sql[at:])
		if !ok {
			line := 1 + strings.Count(sql[:at], "\n")
			return "", invalid("line %d: a quote or comment is not closed", line)
		}
		at += n
		if significant {
			end = at
		}
	}
	if end == 0 {
		return "", invalid("the query is empty; write one SELECT")
	}
	return sql[:end], nil
}

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.ReasonQueryInvalid, format, args...)
}

// token answers the length of the token at the head of s, whether it is part of a statement, and whether it ends.
func token(s string) (n int, significant, ok bool) {
	switch c := s[0]; {
	case strings.HasPrefix(s, "--"):
		if i := strings.IndexByte(s, '\n'); i >= 0 {
			return i + 1, false, true
		}
		return len(s), false, true
	case strings.HasPrefix(s, "/*"):
		n, ok = comment(s)
		return n, false, ok
	case (c == 'e' || c == 'E') && strings.HasPrefix(s[1:], "'"):
		n, ok = quoted(s[1:], true)
		return n + 1, true, ok
	case c == '\'' || c == '"':
		n, ok = quoted(s, false)
		return n, true, ok
	case c == '$':
		n, ok = dollar(s)
		return n, true, ok
	case c == ';':
		return 1, false, true
	}
	if n := word(s); n > 0 {
		return n, true, true
	}
	r, size := utf8.DecodeRuneInString(s)
	return size, !unicode.IsSpace(r), true
}

// word answers the length of the name or number at the head of s.
func word(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && (i == 0 || r != '$') {
			return i
		}
	}
	return len(s)
}

func comment(s string) (int, bool) {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return i + 1, true
			}
		}
	}
	return 0, false
}

func quoted(s string, escapes bool) (int, bool) {
	q := s[0]
	for i := 1; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\':
			i++
		case s[i] != q:
		case i+1 < len(s) && s[i+1] == q:
			i++
		default:
			return i + 1, true
		}
	}
	return 0, false
}

func dollar(s string) (int, bool) {
	tag := 1 + strings.IndexByte(s[1:], '$')
	if tag == 0 || strings.ContainsFunc(s[1:tag], func(r rune) bool { return word(string(r)) == 0 }) {
		return 1, true // a parameter such as $1; the engine refuses it
	}
	end := strings.Index(s[tag+1:], s[:tag+1])
	if end < 0 {
		return 0, false
	}
	return tag + 1 + end + tag + 1, true
}

// Varies says whether a statement names a function that answers something else each time it is asked: clocks and chance.
// What such a statement selects cannot be counted beforehand. It does not see into views.
func Varies(sql string) bool {
	for at := 0; at < len(sql); {
		n, significant, ok := token(sql[at:])
		if !ok {
			return false
		}
		called := strings.HasPrefix(strings.TrimLeft(sql[at+n:], " \t\r\n"), "(")
		if significant && varying(strings.ToLower(sql[at:at+n]), called) {
			return true
		}
		at += n
	}
	return false
}

// varying says whether a word stands for a clock or for chance; some do only where they are called.
func varying(word string, called bool) bool {
	switch word {
	case "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "tablesample":
		return true
	case "now", "today", "age", "timeofday", "get_current_time", "get_current_timestamp", "current_localtime", "current_localtimestamp",
		"clock_timestamp", "statement_timestamp", "transaction_timestamp", "random", "random_normal", "uuid", "gen_random_uuid",
		"uuidv4", "uuidv7", "uuid_generate_v4", "nextval":
		return called
	}
	return false
}

// Quote answers name as a quoted identifier.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal answers text as a quoted string. Only for paths of a connection, which no engine binds.
func Literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// IsTable says whether s is one to three names joined by dots, each bare or in double quotes.
func IsTable(s string) bool {
	for range 3 {
		n := 0
		switch {
		case strings.HasPrefix(s, `"`):
			end, ok := quoted(s, false)
			if !ok || end < 3 {
				return false
			}
			n = end
		case s != "" && !unicode.IsDigit(rune(s[0])):
			n = word(s)
		}
		if n == 0 {
			return false
		}
		if s = s[n:]; s == "" {
			return true
		}
		if !strings.HasPrefix(s, ".") {
			return false
		}
		s = s[1:]
	}
	return false
}

// SameNames answers a QUERY_INVALID error that names the columns that are equal but for case, nil where all differ.
func SameNames(names []string) error {
	seen := map[string]string{}
	var vs []fault.Violation
	for _, n := range names {
		key := strings.ToLower(n)
		first, ok := seen[key]
		if !ok {
			seen[key] = n
			continue
		}
		what := "column " + Quote(n) + " is selected twice"
		if first != n {
			what = "columns " + Quote(first) + " and " + Quote(n) + " differ only in case"
		}
		vs = append(vs, fault.Violation{Field: "sql", Message: what, Fix: "give one of them another name with AS"})
	}
	return fault.Of(fault.ReasonQueryInvalid, vs)
}
