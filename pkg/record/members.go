package record

import (
	"encoding/json"
	"iter"
	"strings"
)

// Members answers the members of a JSON object in the order of the text: names without quotes and escapes, values as
// JSON text. What is no JSON object has none; after a syntax fault come no more. Nothing is allocated unless a name has
// escapes.
func Members(text string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		i := skipSpace(text, 0)
		if i >= len(text) || text[i] != '{' {
			return
		}
		for i = skipSpace(text, i+1); i < len(text) && text[i] == '"'; i = skipSpace(text, i+1) {
			end := skipString(text, i)
			name, ok := unquote(text[i:end])
			i = skipSpace(text, end)
			if !ok || i >= len(text) || text[i] != ':' {
				return
			}
			i = skipSpace(text, i+1)
			end = skipValue(text, i)
			if end == i || !yield(name, text[i:end]) {
				return
			}
			i = skipSpace(text, end)
			if i >= len(text) || text[i] != ',' {
				return
			}
		}
	}
}

func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

// skipString answers the position after the string that begins at i.
func skipString(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// skipValue answers the position after the value that begins at i.
func skipValue(s string, i int) int {
	depth := 0
	for i < len(s) {
		switch s[i] {
		case '"':
			i = skipString(s, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			if depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(s)
}

func unquote(s string) (string, bool) {
	if len(s) < 2 || s[len(s)-1] != '"' {
		return "", false
	}
	if strings.IndexByte(s, '\\') < 0 {
		return s[1 : len(s)-1], true
	}
	var out string
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		return "", false
	}
	return out, true
}
