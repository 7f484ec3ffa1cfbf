package databricks

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/sqltext"
)

// quote answers name as an identifier in backticks.
func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func queryInvalid(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.ReasonQueryInvalid, format, args...)
}

// selectOf answers the one statement of a model as text that can stand in parentheses.
func selectOf(m resource.DataModel) (string, error) {
	if m.Table == "" {
		return clean(m.SQL)
	}
	if !isTable(m.Table) {
		return "", queryInvalid("table is not a name such as schema.table; quote names with other characters: `my table`")
	}
	return "SELECT * FROM " + m.Table, nil
}

// clean answers sql without what stands behind its statement. Text that is empty, too long, not UTF-8, has a NUL, leaves a
// quote or comment open, or closes a parenthesis that it did not open, is refused. What a statement is, the warehouse
// decides.
func clean(sql string) (string, error) {
	switch {
	case len(sql) > sqltext.MaxBytes:
		return "", queryInvalid("the query is longer than 1 MiB; make it a view in the warehouse")
	case !utf8.ValidString(sql):
		return "", queryInvalid("the query is not valid UTF-8")
	case strings.ContainsRune(sql, 0):
		return "", queryInvalid("the query contains a NUL character")
	}
	end, depth := 0, 0
	for at := 0; at < len(sql); {
		t, ok := nextToken(sql[at:])
		if !ok {
			return "", queryInvalid("line %d: a quote or comment is not closed", lineAt(sql, at))
		}
		switch t.text {
		case "(":
			depth++
		case ")":
			depth--
		}
		if depth < 0 {
			return "", queryInvalid("line %d: a parenthesis is closed that was not opened", lineAt(sql, at))
		}
		at += len(t.text)
		if t.significant {
			end = at
		}
	}
	if end == 0 {
		return "", queryInvalid("the query is empty; write one SELECT")
	}
	return sql[:end], nil
}

func lineAt(sql string, at int) int { return 1 + strings.Count(sql[:at], "\n") }

// token is a piece of SQL: a word, a quoted text, a comment, or one other character.
type token struct {
	text        string
	significant bool // no space, comment or semicolon
}

// nextToken answers the token at the head of s by Databricks' lexical rules; false where it does not end.
func nextToken(s string) (token, bool) {
	switch c := s[0]; {
	case strings.HasPrefix(s, "--"):
		return token{text: s[:lineComment(s)]}, true
	case strings.HasPrefix(s, "/*"):
		n, ok := blockComment(s)
		return token{text: s[:n]}, ok
	case c == '\'' || c == '"':
		n, ok := quotedText(s, true)
		return token{s[:n], true}, ok
	case (c == 'r' || c == 'R') && len(s) > 1 && (s[1] == '\'' || s[1] == '"'):
		n, ok := quotedText(s[1:], false)
		return token{s[:n+1], true}, ok
	case c == '`':
		n, ok := quotedText(s, false)
		return token{s[:n], true}, ok
	case c == ';':
		return token{text: ";"}, true
	}
	if n := wordLength(s); n > 0 {
		return token{s[:n], true}, true
	}
	r, size := utf8.DecodeRuneInString(s)
	return token{s[:size], !unicode.IsSpace(r)}, true
}

func wordLength(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return i
		}
	}
	return len(s)
}

// lineComment answers the length of a comment to the end of its line; a backslash before that leads on to the next line.
func lineComment(s string) int {
	for i := range len(s) {
		if s[i] == '\n' && s[i-1] != '\\' {
			return i + 1
		}
	}
	return len(s)
}

func blockComment(s string) (int, bool) {
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

// quotedText answers the length of a text in the quote that it begins with.
func quotedText(s string, escapes bool) (int, bool) {
	for i := 1; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\':
			i++
		case s[i] != s[0]:
		case s[0] == '`' && i+1 < len(s) && s[i+1] == '`':
			i++
		default:
			return i + 1, true
		}
	}
	return 0, false
}

// isTable says whether s is one to three names joined by dots, each bare or in backticks.
func isTable(s string) bool {
	for range 3 {
		n := 0
		switch {
		case strings.HasPrefix(s, "`"):
			end, ok := quotedText(s, false)
			if !ok || end < 3 {
				return false
			}
			n = end
		case s != "" && !unicode.IsDigit(rune(s[0])):
			n = wordLength(s)
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

// nameOf answers a name as SQL wants it: bare where it is a plain lower-case word.
func nameOf(name string) string {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			return quote(name)
		}
	}
	return name
}
