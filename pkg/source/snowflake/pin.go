package snowflake

import (
	"strings"
	"time"
)

// pinned answers the statement with each table that it names as the table was at an instant, and whether it could: what
// is no table by its name (a function, a stage, the information schema, a table with a time of its own) cannot be had
// as it was. The warehouse still judges the outcome; names are the one thing that something is put behind.
func (s statement) pinned(at time.Time) (string, bool) {
	p := pinner{s: s, levels: []level{{query: true}}}
	p.findCTEs()
	for i := 0; i < len(s.tokens); {
		i = p.step(i)
		if p.impossible {
			return "", false
		}
	}
	clause := " AT" + timestamp(at)
	var b strings.Builder
	from := 0
	for _, end := range p.ends {
		b.WriteString(s.text[from:end] + clause)
		from = end
	}
	b.WriteString(s.text[from:])
	return b.String(), true
}

// level is a pair of parentheses, or the whole statement.
type level struct {
	query  bool // a SELECT stands in it, so that FROM is a clause
	tables bool // within FROM, where a comma leads to the next table
}

type pinner struct {
	s          statement
	levels     []level
	ctes       map[string]int // names of WITH, and where their definition ends
	ends       []int          // where table names end
	impossible bool
}

func (p *pinner) token(i int) token {
	if i < 0 || i >= len(p.s.tokens) {
		return token{kind: mark}
	}
	return p.s.tokens[i]
}

func (p *pinner) top() *level { return &p.levels[len(p.levels)-1] }

// findCTEs notes each `name AS (` and `name (columns) AS (` with the end of its parentheses.
func (p *pinner) findCTEs() {
	p.ctes = map[string]int{}
	for i, t := range p.s.tokens {
		if !t.is("AS") || !p.token(i+1).is("(") || !p.token(i+2).is("SELECT", "WITH", "(", "VALUES", "FROM") {
			continue
		}
		name := i - 1
		if p.token(name).is(")") {
			for depth := 0; name >= 0; name-- {
				if p.token(name).is(")") {
					depth++
				}
				if p.token(name).is("(") {
					if depth--; depth == 0 {
						break
					}
				}
			}
			name--
		}
		if p.token(name).isName() {
			p.ctes[folded(p.token(name))] = p.closing(i + 1)
		}
	}
}

// closing answers the offset of the parenthesis that closes the one at i.
func (p *pinner) closing(i int) int {
	for depth := 0; i < len(p.s.tokens); i++ {
		switch {
		case p.token(i).is("("):
			depth++
		case p.token(i).is(")"):
			if depth--; depth == 0 {
				return p.token(i).at
			}
		}
	}
	return len(p.s.text)
}

// folded answers a name as the warehouse keeps it.
func folded(t token) string {
	if t.kind == quoted {
		return strings.ReplaceAll(t.text[1:len(t.text)-1], `""`, `"`)
	}
	return strings.ToUpper(t.text)
}

// step reads the token at i and answers where the next one to be read is.
func (p *pinner) step(i int) int {
	t := p.token(i)
	switch {
	case t.is("("):
		p.levels = append(p.levels, level{query: p.token(i+1).is("SELECT", "WITH", "FROM")})
	case t.is(")"):
		if len(p.levels) > 1 {
			p.levels = p.levels[:len(p.levels)-1]
		}
	case t.is("SELECT", "WHERE", "GROUP", "HAVING", "QUALIFY", "ORDER", "LIMIT", "FETCH", "UNION", "INTERSECT", "EXCEPT", "MINUS", "WINDOW", "CONNECT"):
		if p.top().tables = false; t.is("SELECT") {
			p.top().query = true
		}
	case t.is("FROM") && p.top().query && !p.token(i-1).is("DISTINCT"):
		p.top().tables = true
		return p.table(i + 1)
	case t.is("JOIN"), t.is(",") && p.top().tables:
		return p.table(i + 1)
	}
	return i + 1
}

// values answers what stands behind the rows of VALUES.
func (p *pinner) values(i int) int {
	for p.token(i).is("(") {
		end := p.closing(i)
		for i < len(p.s.tokens) && p.token(i).at <= end {
			i++
		}
		if !p.token(i).is(",") || !p.token(i+1).is("(") || p.token(i+2).is("SELECT", "WITH", "VALUES", "FROM") {
			break
		}
		i++
	}
	return i
}

// table reads the beginning of a table reference and notes where its name ends.
func (p *pinner) table(i int) int {
	for p.token(i).is("LATERAL") {
		i++
	}
	switch t := p.token(i); {
	case t.is("("):
		if !p.token(i+1).is("SELECT", "WITH", "VALUES", "FROM") { // joins in parentheses
			p.levels = append(p.levels, level{query: true, tables: true})
			return p.table(i + 1)
		}
		return i
	case t.is("VALUES"):
		return p.values(i + 1)
	case t.is("FLATTEN", "GENERATOR", "SPLIT_TO_TABLE") && p.token(i+1).is("("):
		return i + 1
	case t.is("TABLE") && p.token(i+1).is("(") && p.token(i+2).is("FLATTEN", "GENERATOR", "SPLIT_TO_TABLE"):
		return i + 1
	case !t.isName():
		p.impossible = true
		return i + 1
	}
	first, parts := i, 1
	p.impossible = p.impossible || p.token(i).is("INFORMATION_SCHEMA")
	for p.token(i+1).is(".") && p.token(i+2).isName() {
		p.impossible = p.impossible || p.token(i+2).is("INFORMATION_SCHEMA")
		i += 2
		parts++
	}
	after := p.token(i + 1)
	if after.is("(") || after.is(".") || after.is("AT", "BEFORE", "CHANGES") && p.token(i+2).is("(") {
		p.impossible = true
		return i + 1
	}
	if end, isCTE := p.ctes[folded(p.token(first))]; isCTE && parts == 1 {
		p.impossible = p.impossible || p.token(first).at < end // a table of the same name, perhaps
		return i + 1
	}
	p.ends = append(p.ends, p.token(i).at+len(p.token(i).text))
	return i + 1
}
