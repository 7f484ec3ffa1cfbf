package snowflake

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/sqltext"
)

// kind is what a token is.
type kind uint8

const (
	space   kind = iota // and comments
	word                // a bare name, keyword or number
	quoted              // "a name"
	literal             // 'text' or $$text$$
	mark                // one character of punctuation
)

// token is a piece of a statement by Snowflake's lexical rules.
type token struct {
	kind kind
	text string
	at   int // its offset
}

// is says whether a token is this word, in any case.
func (t token) is(words ...string) bool {
	if t.kind != word && t.kind != mark {
		return false
	}
	for _, w := range words {
		if strings.EqualFold(t.text, w) {
			return true
		}
	}
	return false
}

// isName says whether a token can be part of a name.
func (t token) isName() bool {
	return t.kind == quoted || t.kind == word && !unicode.IsDigit(rune(t.text[0]))
}

// lex cuts sql into tokens, without space and comments. An open quote or comment is refused with its line.
func lex(sql string) ([]token, error) {
	var out []token
	for at := 0; at < len(sql); {
		k, n := next(sql[at:])
		if n == 0 {
			return nil, invalid("line %d: a quote or comment is not closed", 1+strings.Count(sql[:at], "\n"))
		}
		if k != space {
			out = append(out, token{kind: k, text: sql[at : at+n], at: at})
		}
		at += n
	}
	return out, nil
}

// next answers the kind and length of the token at the head of s; length 0: it does not end.
func next(s string) (kind, int) {
	switch {
	case strings.HasPrefix(s, "--"), strings.HasPrefix(s, "//"):
		if i := strings.IndexByte(s, '\n'); i >= 0 {
			return space, i + 1
		}
		return space, len(s)
	case strings.HasPrefix(s, "/*"):
		return space, closed(s, 2, "*/")
	case strings.HasPrefix(s, "$$"):
		return literal, closed(s, 2, "$$")
	case s[0] == '\'':
		return literal, quote(s, true)
	case s[0] == '"':
		return quoted, quote(s, false)
	}
	if n := bare(s); n > 0 {
		return word, n
	}
	r, n := utf8.DecodeRuneInString(s)
	if unicode.IsSpace(r) {
		return space, n
	}
	return mark, n
}

// closed answers the length of a token that began `from` bytes ago and ends with `end`.
func closed(s string, from int, end string) int {
	i := strings.Index(s[from:], end)
	if i < 0 {
		return 0
	}
	return from + i + len(end)
}

func quote(s string, escapes bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\':
			i++
		case s[i] != s[0]:
		case i+1 < len(s) && s[i+1] == s[0]:
			i++
		default:
			return i + 1
		}
	}
	return 0
}

// bare answers the length of the name or number at the head of s.
func bare(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && (i == 0 || r != '$') {
			return i
		}
	}
	return len(s)
}

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.ReasonQueryInvalid, format, args...)
}

// statement is the one SELECT of a model.
type statement struct {
	text   string
	tokens []token
}

// statementOf answers the statement of a model, without semicolons behind it. What is plainly no SELECT, more than one
// statement, or has parameters is refused; the rest is the warehouse's to judge.
func statementOf(m resource.DataModel) (statement, error) {
	text := m.SQL
	if m.Table != "" {
		if !sqltext.IsTable(m.Table) {
			return statement{}, invalid("table is not a name such as schema.table; quote names with other characters: \"my table\"")
		}
		text = "SELECT * FROM " + m.Table
	}
	switch {
	case len(text) > sqltext.MaxBytes:
		return statement{}, invalid("the query is longer than 1 MiB; make it a view in the warehouse")
	case !utf8.ValidString(text):
		return statement{}, invalid("the query is not valid UTF-8")
	case strings.ContainsRune(text, 0):
		return statement{}, invalid("the query contains a NUL character")
	}
	tokens, err := lex(text)
	if err != nil {
		return statement{}, err
	}
	for len(tokens) > 0 && tokens[len(tokens)-1].is(";") {
		tokens = tokens[:len(tokens)-1]
	}
	if len(tokens) == 0 {
		return statement{}, invalid("the query is empty; write one SELECT")
	}
	last := tokens[len(tokens)-1]
	out := statement{text: text[:last.at+len(last.text)], tokens: tokens}
	return out, out.check()
}

// check refuses what is no SELECT by its words.
func (s statement) check() error {
	first := s.tokens[0]
	for _, t := range s.tokens {
		if !t.is("(") {
			first = t
			break
		}
	}
	if !first.is("SELECT", "WITH", "VALUES", "FROM") {
		return invalid("%sthe query is no SELECT; write one SELECT (WITH is fine)", s.line(first))
	}
	depth := 0
	for i, t := range s.tokens {
		switch {
		case t.is(";"):
			return invalid("%sthe query is more than one statement; write one SELECT", s.line(t))
		case t.is("("):
			depth++
		case t.is(")"):
			if depth--; depth < 0 {
				return invalid("%sa parenthesis is closed that is not open", s.line(t))
			}
		case t.is("?"), t.is(":") && i+1 < len(s.tokens) && isNumber(s.tokens[i+1]):
			return invalid("%sthe query has parameters; write their values into it", s.line(t))
		case t.is("-") && strings.HasPrefix(s.text[t.at:], "->>"):
			return invalid("%sthe query is a chain of statements; write one SELECT", s.line(t))
		}
	}
	return nil
}

func isNumber(t token) bool { return t.kind == word && unicode.IsDigit(rune(t.text[0])) }

func (s statement) line(t token) string {
	return lineText(1 + strings.Count(s.text[:t.at], "\n"))
}

// varies says whether the statement names a function that answers something else each time it is asked.
func (s statement) varies() bool {
	for i, t := range s.tokens {
		called := i+1 < len(s.tokens) && s.tokens[i+1].is("(")
		switch {
		case t.is("CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "SAMPLE", "TABLESAMPLE", "NEXTVAL"):
			return true
		case called && t.is("SYSDATE", "GETDATE", "SYSTIMESTAMP", "SYSTEM$TYPEOF", "RANDOM", "RANDSTR", "UUID_STRING", "UNIFORM", "NORMAL", "ZIPF", "SEQ1", "SEQ2", "SEQ4", "SEQ8", "NOW"):
			return true
		}
	}
	return false
}
