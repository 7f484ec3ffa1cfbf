//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/source/bigquery/googlesql"
)

// translator writes BigQuery's SQL as DuckDB's, token by token, so that lines stay where they are.
type translator struct {
	params map[string]*bq.QueryParameter
	tokens []googlesql.Token
	out    strings.Builder
	// One for each open parenthesis.
	open []paren
	// undeclared are the parameters that have no value.
	undeclared []string
}

// paren is an open parenthesis: of a cast, or of UNNEST in FROM, whose alias names its column.
type paren struct{ cast, unnest bool }

// statements answers the statements of a text, without empty ones.
func statements(text string) ([][]googlesql.Token, error) {
	var out [][]googlesql.Token
	var now []googlesql.Token
	solid := false
	end := func() {
		if solid {
			out = append(out, now)
		}
		now, solid = nil, false
	}
	line := 1
	for text != "" {
		t, ok := googlesql.Next(text)
		if !ok {
			return nil, bad(fmt.Sprintf("Syntax error: Unclosed literal or comment at [%d:1]", line))
		}
		if t.Kind == googlesql.Symbol && t.Text == "$" {
			return nil, bad(fmt.Sprintf("Syntax error: Illegal input character \"$\" at [%d:1]", line))
		}
		text = text[len(t.Text):]
		line += strings.Count(t.Text, "\n")
		if t.Text == ";" {
			end()
			continue
		}
		solid = solid || t.Kind != googlesql.Space && t.Kind != googlesql.Comment
		now = append(now, t)
	}
	end()
	return out, nil
}

// translate answers a statement in DuckDB's SQL.
func translate(tokens []googlesql.Token, params []*bq.QueryParameter) (string, []string, error) {
	x := translator{tokens: tokens, params: map[string]*bq.QueryParameter{}}
	for _, p := range params {
		x.params[p.Name] = p
	}
	for i := 0; i < len(tokens); i++ {
		n, err := x.token(i)
		if err != nil {
			return "", nil, err
		}
		i += n
	}
	return x.out.String(), x.undeclared, nil
}

// token writes token i and answers how many more it took.
func (x *translator) token(i int) (int, error) {
	switch t := x.tokens[i]; t.Kind {
	case googlesql.Comment:
		x.out.WriteString(" " + strings.Repeat("\n", strings.Count(t.Text, "\n")))
	case googlesql.Name:
		return x.name(i), nil
	case googlesql.Text:
		text, err := unquote(t.Text)
		if err != nil {
			return 0, err
		}
		x.out.WriteString(literal(text))
	case googlesql.Bytes:
		text, err := unquote(strings.TrimLeft(t.Text, "bB"))
		if err != nil {
			return 0, err
		}
		x.out.WriteString("from_hex('" + hex.EncodeToString([]byte(text)) + "')")
	case googlesql.Parameter:
		return 0, x.parameter(strings.TrimPrefix(t.Text, "@"))
	case googlesql.Word:
		x.word(i)
	case googlesql.Symbol:
		return x.symbol(i), nil
	default:
		x.out.WriteString(t.Text)
	}
	return 0, nil
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// name writes a name in backticks; behind FROM and JOIN it may be a whole path.
func (x *translator) name(i int) int {
	name := googlesql.Unquote(x.tokens[i].Text)
	before, _ := x.beside(i, -1)
	if w := strings.ToLower(before.Text); w != "from" && w != "join" {
		x.out.WriteString(ident(name))
		return 0
	}
	took := 0
	parts := strings.Split(name, ".")
	for j := i + 1; j+1 < len(x.tokens) && x.tokens[j].Text == "." && x.tokens[j+1].Kind == googlesql.Name; j += 2 {
		parts, took = append(parts, googlesql.Unquote(x.tokens[j+1].Text)), took+2
	}
	if len(parts) == 3 && parts[0] == Project {
		parts = parts[1:]
	}
	for j := range parts {
		parts[j] = ident(parts[j])
	}
	x.out.WriteString(strings.Join(parts, "."))
	return took
}

// beside answers the next token from i on in a direction that is no space, and where it stands.
func (x *translator) beside(i, step int) (googlesql.Token, int) {
	for j := i + step; j >= 0 && j < len(x.tokens); j += step {
		if k := x.tokens[j].Kind; k != googlesql.Space && k != googlesql.Comment {
			return x.tokens[j], j
		}
	}
	return googlesql.Token{}, -1
}

// symbol writes a symbol, and the column's alias behind a closed UNNEST.
func (x *translator) symbol(i int) int {
	t := x.tokens[i]
	switch t.Text {
	case "(":
		before, _ := x.beside(i, -1)
		w := strings.ToLower(before.Text)
		x.open = append(x.open, paren{cast: w == "cast" || w == "safe_cast", unnest: w == "unnest"})
	case ")":
		if len(x.open) == 0 {
			break
		}
		last := x.open[len(x.open)-1]
		x.open = x.open[:len(x.open)-1]
		as, at := x.beside(i, 1)
		if name, j := x.beside(at, 1); last.unnest && at >= 0 && strings.EqualFold(as.Text, "as") && j >= 0 {
			alias := name.Text
			if name.Kind == googlesql.Name {
				alias = googlesql.Unquote(alias)
			}
			x.out.WriteString(") AS " + ident(alias) + "(" + ident(alias) + ")")
			return j - i
		}
	}
	x.out.WriteString(t.Text)
	return 0
}

// functions are named otherwise in DuckDB.
var functions = map[string]string{ //nolint:gochecknoglobals // never changed
	"safe_cast": "TRY_CAST", "generate_array": "generate_series", "unix_micros": "epoch_us", "current_timestamp": "peer_now",
	"rand": "random", "generate_uuid": "uuid", "to_hex": "hex", "logical_or": "bool_or",
}

// types are named otherwise in DuckDB.
var types = map[string]string{ //nolint:gochecknoglobals // never changed
	"int64": "BIGINT", "float64": "DOUBLE", "string": "VARCHAR", "bytes": "BLOB", "bool": "BOOLEAN", "datetime": "TIMESTAMP",
	"timestamp": "TIMESTAMPTZ", "numeric": "DECIMAL(38,9)", "decimal": "DECIMAL(38,9)", "bignumeric": "BIGNUMERIC",
}

func (x *translator) word(i int) {
	w := strings.ToLower(x.tokens[i].Text)
	before, _ := x.beside(i, -1)
	after, _ := x.beside(i, 1)
	if name, ok := types[w]; ok && (x.inCast() && strings.EqualFold(before.Text, "as") || after.Kind == googlesql.Text) {
		if after.Text == "(" && strings.HasSuffix(name, "NUMERIC") {
			name = "DECIMAL"
		} else if after.Text == "(" {
			name, _, _ = strings.Cut(name, "(")
		}
		x.out.WriteString(name)
		return
	}
	if name, ok := functions[w]; ok && after.Text == "(" {
		x.out.WriteString(name)
		return
	}
	x.out.WriteString(x.tokens[i].Text)
}

func (x *translator) inCast() bool { return len(x.open) > 0 && x.open[len(x.open)-1].cast }

// parameter writes a parameter's value as a literal of its type.
func (x *translator) parameter(name string) error {
	p, ok := x.params[name]
	if !ok || p.ParameterType == nil || p.ParameterValue == nil {
		x.undeclared = append(x.undeclared, name)
		x.out.WriteString("NULL")
		return nil
	}
	v := p.ParameterValue.Value
	typ := types[strings.ToLower(p.ParameterType.Type)]
	switch p.ParameterType.Type {
	case "BIGNUMERIC":
		_, digits, _ := strings.Cut(v, ".")
		typ = "DECIMAL(38," + strconv.Itoa(len(digits)) + ")"
	case "DATE":
		typ = "DATE"
	}
	if typ == "" {
		return bad("Unsupported parameter type: " + p.ParameterType.Type)
	}
	x.out.WriteString("CAST(" + literal(v) + " AS " + typ + ")")
	return nil
}

// unquote answers what a text literal stands for.
func unquote(lit string) (string, error) {
	raw := strings.TrimLeft(lit, "rR")
	isRaw := raw != lit
	q := raw[:1]
	if triple := strings.Repeat(q, 3); strings.HasPrefix(raw, triple) && len(raw) >= 6 {
		q = triple
	}
	s := raw[len(q) : len(raw)-len(q)]
	if isRaw {
		return s, nil
	}
	var b strings.Builder
	for s != "" {
		if s[0] != '\\' {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		n, err := escape(&b, s[1:])
		if err != nil {
			return "", err
		}
		s = s[1+n:]
	}
	return b.String(), nil
}

// escape writes what stands behind a backslash and answers how long it is.
func escape(b *strings.Builder, s string) (int, error) {
	if s == "" {
		return 0, bad("Syntax error: Illegal escape sequence")
	}
	if i := strings.IndexByte(`abfnrtv\?"'`+"`", s[0]); i >= 0 {
		b.WriteByte("\a\b\f\n\r\t\v\\?\"'`"[i])
		return 1, nil
	}
	size := map[byte]int{'x': 2, 'X': 2, 'u': 4, 'U': 8}[s[0]]
	if size == 0 || len(s) < 1+size {
		return 0, bad("Syntax error: Illegal escape sequence")
	}
	n, err := strconv.ParseUint(s[1:1+size], 16, 32)
	if err != nil {
		return 0, bad("Syntax error: Illegal escape sequence")
	}
	if size == 2 {
		b.WriteByte(byte(n))
	} else {
		b.WriteRune(rune(n)) //nolint:gosec // 32 bits
	}
	return 1 + size, nil
}
