package sharing

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/sqltext"
)

// model is what a data model reads: columns of one table, under other names where it gives them.
type model struct {
	table ref
	// columns are those that are selected, in order; nil: all.
	columns []selected
	// faults are what of the select list is no column.
	faults []fault.Violation
}

// ref names a table of the share.
type ref struct{ schema, table string }

func (r ref) what() string { return "table " + sqltext.Quote(r.schema) + "." + sqltext.Quote(r.table) }

// selected is one column of a select list.
type selected struct {
	name, as string
	line     int
}

// noEngine is why a share's models are no more than they are.
const noEngine = "a share has no engine that runs SQL: write a table, or SELECT columns FROM table; have the provider share a table that holds what else is wanted, or read it through a databricks connection"

// modelOf reads a data model. What is not a table or a SELECT of columns of one is refused with its line.
func (s *Source) modelOf(m resource.DataModel) (model, error) {
	if m.Table != "" {
		if !sqltext.IsTable(m.Table) {
			return model{}, queryInvalid("table is not a name such as schema.table; quote names with other characters: \"my table\"")
		}
		t, err := s.refOf(lex(m.Table))
		return model{table: t}, err
	}
	text, err := sqltext.Clean(m.SQL)
	if err != nil {
		return model{}, err //nolint:wrapcheck // classified
	}
	return s.parse(lex(text))
}

// word is a token of a query: a name, a sign of one character, or text that is none of these.
type word struct {
	text   string
	quoted bool
	name   bool
	line   int
}

func (w word) is(keyword string) bool { return !w.quoted && strings.EqualFold(w.text, keyword) }

// lex cuts a text into words, without spaces and comments.
func lex(text string) []word {
	var out []word
	line := 1
	for text != "" {
		n, w := lexOne(text)
		if w.text != "" {
			w.line = line
			out = append(out, w)
		}
		line += strings.Count(text[:n], "\n")
		text = text[n:]
	}
	return out
}

// lexOne answers the length of the token at the head of text, and its word; one without text is no word.
func lexOne(text string) (int, word) {
	switch {
	case strings.HasPrefix(text, "--"):
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			return i + 1, word{}
		}
		return len(text), word{}
	case strings.HasPrefix(text, "/*"):
		if i := strings.Index(text[2:], "*/"); i >= 0 {
			return i + 4, word{}
		}
		return len(text), word{}
	case text[0] == '"', text[0] == '`':
		return lexQuoted(text)
	}
	n := strings.IndexFunc(text, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if n < 0 {
		n = len(text)
	}
	if n > 0 {
		return n, word{text: text[:n], name: !unicode.IsDigit(rune(text[0]))}
	}
	r, size := utf8.DecodeRuneInString(text)
	if unicode.IsSpace(r) {
		return size, word{}
	}
	return size, word{text: text[:size]}
}

func lexQuoted(text string) (int, word) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != text[0] {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == text[0] {
			b.WriteByte(text[i])
			i++
			continue
		}
		return i + 1, word{text: b.String(), quoted: true, name: b.Len() > 0}
	}
	return len(text), word{text: text[:1]}
}

// parse reads SELECT list FROM table. The faults of the list are told with those of its columns, all at once.
func (s *Source) parse(words []word) (model, error) {
	var m model
	if len(words) == 0 || !words[0].is("SELECT") {
		return m, queryInvalid("line 1: the query is no SELECT; %s", noEngine)
	}
	from := 1
	for from < len(words) && !words[from].is("FROM") {
		from++
	}
	list := words[1:from]
	if from == len(words) || len(list) == 0 {
		return m, queryInvalid("line %d: the query selects no columns of a table; %s", words[len(words)-1].line, noEngine)
	}
	var err error
	if m.table, err = s.refOf(words[from+1:]); err != nil {
		return m, err
	}
	if len(list) == 1 && list[0].text == "*" {
		return m, nil
	}
	for len(list) > 0 {
		n := 0
		for n < len(list) && (list[n].quoted || list[n].text != ",") {
			n++
		}
		c, ok := column(list[:n])
		if ok {
			m.columns = append(m.columns, c)
		} else {
			m.faults = append(m.faults, fault.Violation{Field: "sql", Message: lineOf(list[0].line) + "what is selected there is not the name of a column", Fix: noEngine})
		}
		if n == len(list)-1 {
			m.faults = append(m.faults, fault.Violation{Field: "sql", Message: lineOf(list[n].line) + "a column is missing behind the comma"})
		}
		list = list[min(n+1, len(list)):]
	}
	if m.columns == nil {
		m.columns = []selected{}
	}
	return m, nil
}

// column reads NAME, NAME AS NAME or NAME NAME.
func column(words []word) (selected, bool) {
	if len(words) == 0 || !words[0].name || words[0].is("DISTINCT") {
		return selected{}, false
	}
	c := selected{name: words[0].text, as: words[0].text, line: words[0].line}
	rest := words[1:]
	if len(rest) == 2 && rest[0].is("AS") {
		rest = rest[1:]
	}
	switch {
	case len(rest) == 0:
		return c, true
	case len(rest) == 1 && rest[0].name:
		c.as = rest[0].text
		return c, true
	}
	return c, false
}

// refOf reads the name of a table that all the words are: table, schema.table, or share.schema.table of the connection's
// share.
func (s *Source) refOf(words []word) (ref, error) {
	var names []string
	for i, w := range words {
		if i%2 == 0 && w.name {
			names = append(names, w.text)
			continue
		}
		if i%2 == 1 && !w.quoted && w.text == "." && i+1 < len(words) {
			continue
		}
		return ref{}, queryInvalid("line %d: after FROM stands more than the name of a table; %s", w.line, noEngine)
	}
	for _, n := range names {
		if n == "." || n == ".." {
			return ref{}, queryInvalid("no table is named by dots alone")
		}
	}
	switch {
	case len(names) == 1:
		return ref{s.address.Schema, names[0]}, nil
	case len(names) == 2:
		return ref{names[0], names[1]}, nil
	case len(names) == 3 && strings.EqualFold(names[0], s.address.Share):
		return ref{names[1], names[2]}, nil
	case len(names) == 3:
		return ref{}, queryInvalid("the table is of another share than the connection's; make a connection for that share")
	}
	return ref{}, queryInvalid("the query names no table; %s", noEngine)
}
