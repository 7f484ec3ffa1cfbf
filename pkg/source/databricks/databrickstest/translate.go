//go:build cgo && duckdb_arrow

package databrickstest

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal answers text as DuckDB reads it; a NUL stands in no literal.
func literal(text string) string {
	out := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if !strings.ContainsRune(out, 0) {
		return out
	}
	return "(" + strings.ReplaceAll(out, "\x00", "' || chr(0) || '") + ")"
}

// word is a token of Databricks' SQL and what DuckDB reads in its place. Space keeps its lines.
type word struct{ own, text string }

// translate answers SQL of Databricks as SQL of DuckDB, with the values of its parameters.
func (p *Peer) translate(sql string, values map[string]string) (string, error) {
	words, err := lex(sql, values)
	if err != nil {
		return "", err
	}
	if words, err = p.versions(words); err != nil {
		return "", err
	}
	if words, err = p.feeds(words); err != nil {
		return "", err
	}
	var b strings.Builder
	if rest := emit(&b, words); len(rest) > 0 {
		return "", syntax(0)
	}
	return b.String(), nil
}

// lex cuts SQL into words. What Databricks has no word for is a syntax error.
func lex(sql string, values map[string]string) ([]word, error) {
	var out []word
	line := 1
	for len(sql) > 0 {
		n, text := len(sql), ""
		switch c := sql[0]; {
		case strings.HasPrefix(sql, "--"):
			if i := strings.IndexByte(sql, '\n'); i >= 0 {
				n = i
			}
		case strings.HasPrefix(sql, "/*"):
			i := strings.Index(sql, "*/")
			if i < 0 {
				return nil, syntax(line)
			}
			n = i + 2
			text = strings.Repeat("\n", strings.Count(sql[:n], "\n"))
		case c == '\'' || c == '"' || (c == 'r' || c == 'R') && len(sql) > 1 && (sql[1] == '\'' || sql[1] == '"'):
			var value string
			var ok bool
			if n, value, ok = stringOf(sql); !ok {
				return nil, syntax(line)
			}
			text = literal(value)
		case (c == 'x' || c == 'X') && len(sql) > 1 && sql[1] == '\'':
			i := strings.IndexByte(sql[2:], '\'')
			if i < 0 {
				return nil, syntax(line)
			}
			n, text = i+3, "unhex("+sql[1:i+3]+")"
		case c == '`':
			n = 1
			for n < len(sql) && (sql[n] != '`' || n+1 < len(sql) && sql[n+1] == '`') {
				if sql[n] == '`' {
					n++
				}
				n++
			}
			if n >= len(sql) {
				return nil, syntax(line)
			}
			n++
			text = quote(strings.ReplaceAll(sql[1:n-1], "``", "`"))
		case strings.HasPrefix(sql, "::"):
			n, text = 2, "::"
		case c == ':' && len(sql) > 1 && unicode.IsLetter(rune(sql[1])):
			n = 1 + nameLength(sql[1:])
			value, ok := values[sql[1:n]]
			if !ok {
				return nil, refuse("42P02", "UNBOUND_SQL_PARAMETER", "Found the unbound parameter.", line)
			}
			text = literal(value)
		case c == ';' || c == '$' || c == '?':
			return nil, syntax(line)
		default:
			if n = nameLength(sql); n == 0 {
				_, n = utf8.DecodeRuneInString(sql)
			}
			text = sql[:n]
		}
		line += strings.Count(sql[:n], "\n")
		out = append(out, word{own: sql[:n], text: text})
		sql = sql[n:]
	}
	return out, nil
}

func nameLength(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return i
		}
	}
	return len(s)
}

// stringOf reads a string in either quote, with its escapes, or raw.
func stringOf(s string) (int, string, bool) {
	start := 0
	if s[0] == 'r' || s[0] == 'R' {
		start = 1
	}
	var b strings.Builder
	for i := start + 1; i < len(s); i++ {
		switch {
		case s[i] == s[start]:
			return i + 1, b.String(), true
		case start == 0 && s[i] == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case '0':
				b.WriteByte(0)
			default:
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return 0, "", false
}

// solid answers the next word that is no space, in capitals, and where it is.
func solid(words []word, from int) (int, string) {
	for ; from < len(words); from++ {
		if strings.TrimSpace(words[from].text) != "" {
			return from, strings.ToUpper(words[from].own)
		}
	}
	return from, ""
}

// versions reads NAME VERSION AS OF n from the copy of that version.
func (p *Peer) versions(words []word) ([]word, error) {
	for i := range words {
		if strings.ToUpper(words[i].own) != "VERSION" {
			continue
		}
		as, w1 := solid(words, i+1)
		of, w2 := solid(words, as+1)
		number, n := solid(words, of+1)
		if w1 != "AS" || w2 != "OF" {
			continue
		}
		version, err := strconv.Atoi(n)
		if err != nil {
			return nil, syntax(0)
		}
		name := i - 2
		last := words[name]
		for name > 1 && words[name-1].own == "." {
			words[name].text, words[name-1].text = "", ""
			name -= 2
		}
		copied, err := p.was(last.own, version)
		if err != nil {
			return nil, err
		}
		if next, _ := solid(words, number+1); !isAlias(words, next) {
			copied += " AS " + last.text
		}
		words[name] = word{text: copied}
		for j := i; j <= number; j++ {
			words[j] = word{}
		}
	}
	return words, nil
}

// isAlias says whether the word at i names what stands before it.
func isAlias(words []word, i int) bool {
	if i >= len(words) {
		return false
	}
	switch strings.ToUpper(words[i].own) {
	case "WHERE", "GROUP", "ORDER", "LIMIT", "JOIN", "CROSS":
		return false
	}
	return words[i].own[0] == '`' || nameLength(words[i].own) > 0
}

// was answers the copy of a version of a table.
func (p *Peer) was(name string, version int) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tables[keyOf(name)]; t != nil && p.frozen[t.copied(version)] {
		return t.copied(version), nil
	}
	return "", refuse("22003", "DELTA_VERSION_NOT_FOUND", "Cannot time travel Delta table to that version.", 0)
}

// feeds reads table_changes('NAME', m, n) from the changes of these versions.
func (p *Peer) feeds(words []word) ([]word, error) {
	for i := range words {
		if !strings.EqualFold(words[i].own, "table_changes") {
			continue
		}
		at, args := i, make([]string, 0, 7)
		for range cap(args) {
			var w string
			at, w = solid(words, at+1)
			args = append(args, w)
		}
		if args[0] != "(" || args[2] != "," || args[4] != "," || args[6] != ")" {
			return nil, syntax(0)
		}
		start, err := strconv.Atoi(args[3])
		end, err2 := strconv.Atoi(args[5])
		_, name, ok := stringOf(args[1])
		if err != nil || err2 != nil || !ok {
			return nil, syntax(0)
		}
		text, err := p.feed(name, start, end)
		if err != nil {
			return nil, err
		}
		words[i] = word{text: text}
		for j := i + 1; j <= at; j++ {
			words[j] = word{}
		}
	}
	return words, nil
}

// emit writes words until a parenthesis closes that they did not open, or a comma on their own level; it answers the rest.
func emit(b *strings.Builder, words []word) []word {
	for len(words) > 0 {
		w := words[0]
		name := strings.ToLower(w.own)
		called := len(words) > 1 && words[1].own == "("
		switch {
		case name == ")":
			return words
		case name == "(":
			b.WriteString("(")
			words = through(b, words[1:])
		case name == "show", name == "summarize":
			return words // DuckDB has them as sub-selects
		case called && known(name):
			var args []string
			args, words = arguments(words[2:])
			b.WriteString(call(name, args))
		case name == "information_schema" && len(words) > 2 && words[1].own == "." && nameLength(words[2].own) > 0:
			b.WriteString("peer.main." + words[2].own)
			words = words[3:]
		default:
			b.WriteString(plain(name, w.text))
			words = words[1:]
		}
	}
	return nil
}

// through writes a parenthesis to its end.
func through(b *strings.Builder, words []word) []word {
	rest := emit(b, words)
	if len(rest) == 0 {
		return nil
	}
	b.WriteString(")")
	return rest[1:]
}

// arguments answers what stands between a call's parentheses, and the words behind.
func arguments(words []word) ([]string, []word) {
	var out []string
	depth, from := 0, 0
	for i, w := range words {
		switch w.own {
		case "(":
			depth++
		case ")":
			if depth > 0 {
				depth--
				continue
			}
			if part := translated(words[from:i]); strings.TrimSpace(part) != "" || len(out) > 0 {
				out = append(out, part)
			}
			return out, words[i+1:]
		case ",":
			if depth == 0 {
				out = append(out, translated(words[from:i]))
				from = i + 1
			}
		}
	}
	return out, nil
}

func translated(words []word) string {
	var b strings.Builder
	emit(&b, words)
	return b.String()
}

func known(name string) bool {
	switch name {
	case "to_json", "xxhash64", "pmod", "rand", "current_timestamp", "unix_micros", "startswith", "current_user", "array", "named_struct", "map", "parse_json":
		return true
	}
	return false
}

// call answers a function of Databricks in DuckDB's words.
func call(name string, args []string) string {
	list := strings.Join(args, ", ")
	switch name {
	case "to_json":
		return "to_json(" + args[0] + ")"
	case "xxhash64":
		return "hash(" + list + ")"
	case "pmod":
		return "(" + args[0] + " % " + args[1] + ")"
	case "rand":
		return "random()"
	case "current_timestamp":
		return "now()"
	case "unix_micros":
		return "epoch_us(" + list + ")"
	case "startswith":
		return "starts_with(" + list + ")"
	case "current_user":
		return "'reader'"
	case "array":
		return "list_value(" + list + ")"
	case "parse_json":
		return "CAST(" + list + " AS JSON)"
	case "map":
		var keys, values []string
		for i := 0; i+1 < len(args); i += 2 {
			keys, values = append(keys, args[i]), append(values, args[i+1])
		}
		return "MAP([" + strings.Join(keys, ", ") + "], [" + strings.Join(values, ", ") + "])"
	default: // named_struct
		var pairs []string
		for i := 0; i+1 < len(args); i += 2 {
			pairs = append(pairs, args[i]+": "+args[i+1])
		}
		return "{" + strings.Join(pairs, ", ") + "}"
	}
}

// plain answers a word that stands for itself, but for types.
func plain(name, text string) string {
	switch name {
	case "timestamp", "timestamp_ltz":
		return "TIMESTAMPTZ"
	case "timestamp_ntz":
		return "TIMESTAMP"
	case "string":
		return "VARCHAR"
	case "binary":
		return "BLOB"
	}
	return text
}
