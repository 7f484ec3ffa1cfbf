// Package googlesql reads the lexical rules of BigQuery's SQL: where names, texts and comments begin and end. What a
// statement is, the engine decides.
package googlesql

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is what a token is.
type Kind int

// The kinds of tokens.
const (
	Space Kind = iota
	Comment
	Word      // a name, keyword or number
	Name      // a name in backticks
	Text      // a text literal
	Bytes     // a literal of bytes
	Parameter // @name or @@name
	Symbol    // one character of anything else
)

// Token is a piece of SQL, as it is written.
type Token struct {
	Kind Kind
	Text string
}

// Next answers the token at the head of s, which is not empty. ok is false where a quote or comment is not closed.
func Next(s string) (t Token, ok bool) {
	n, kind, ok := head(s)
	return Token{Kind: kind, Text: s[:n]}, ok
}

func head(s string) (n int, k Kind, ok bool) {
	switch c := s[0]; {
	case c == '#', strings.HasPrefix(s, "--"):
		if i := strings.IndexByte(s, '\n'); i >= 0 {
			return i + 1, Comment, true
		}
		return len(s), Comment, true
	case strings.HasPrefix(s, "/*"):
		end := strings.Index(s[2:], "*/")
		if end < 0 {
			return len(s), Comment, false
		}
		return end + 4, Comment, true
	case c == '`':
		n, ok = quoted(s, "`")
		return n, Name, ok
	case c == '@':
		at := 1 + len(s[1:]) - len(strings.TrimLeft(s[1:], "@"))
		if n := word(s[at:]); n > 0 {
			return at + n, Parameter, true
		}
		return 1, Symbol, true
	}
	if prefix, k := literal(s); k != Symbol {
		n, ok = text(s[prefix:])
		return prefix + n, k, ok
	}
	if n := word(s); n > 0 {
		return n, Word, true
	}
	r, size := utf8.DecodeRuneInString(s)
	if unicode.IsSpace(r) {
		return size, Space, true
	}
	return size, Symbol, true
}

// literal answers how long the prefix of the literal at the head of s is, and its kind; Symbol where there is none.
func literal(s string) (prefix int, k Kind) {
	k = Text
	for prefix < len(s) && prefix < 2 && strings.IndexByte("rRbB", s[prefix]) >= 0 {
		if s[prefix] == 'b' || s[prefix] == 'B' {
			k = Bytes
		}
		prefix++
	}
	if prefix < len(s) && (s[prefix] == '\'' || s[prefix] == '"') {
		return prefix, k
	}
	return 0, Symbol
}

func text(s string) (int, bool) {
	if triple := strings.Repeat(s[:1], 3); strings.HasPrefix(s, triple) {
		return quoted(s, triple)
	}
	return quoted(s, s[:1])
}

// quoted answers the length of what stands between two of `quote`; a backslash hides what follows it.
func quoted(s, quote string) (int, bool) {
	for i := len(quote); i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '\n' && len(quote) == 1:
			return len(s), false
		case strings.HasPrefix(s[i:], quote):
			return i + len(quote), true
		}
	}
	return len(s), false
}

// word answers the length of the name or number at the head of s.
func word(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return i
		}
	}
	return len(s)
}

// Quote answers name as a quoted identifier.
func Quote(name string) string {
	var b strings.Builder
	b.WriteByte('`')
	for _, r := range name {
		switch r {
		case '`', '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('`')
	return b.String()
}

// Unquote answers the name that a Name token stands for. Only the escapes that Quote writes are read.
func Unquote(name string) string {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "`"), "`")
	return strings.NewReplacer("\\`", "`", `\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
}
