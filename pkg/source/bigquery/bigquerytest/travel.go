//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"context"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/source/bigquery/googlesql"
)

// traveller puts in the place of tables what they were, and how they changed.
type traveller struct {
	s      *Server
	tokens []googlesql.Token
	params map[string]*bq.QueryParameter
	out    []googlesql.Token
	seen   map[string]string // as of when a table is looked at
}

// travel answers a statement with each table FOR SYSTEM_TIME AS OF a time as the one that it was then, the CHANGES of one
// as a view of them, and INFORMATION_SCHEMA.TABLES as the peer's own. No table is looked at as of two times.
func (s *Server) travel(ctx context.Context, tokens []googlesql.Token, params []*bq.QueryParameter) ([]googlesql.Token, error) {
	x := traveller{s: s, tokens: tokens, params: map[string]*bq.QueryParameter{}, seen: map[string]string{}}
	for _, p := range params {
		x.params[p.Name] = p
	}
	for i := 0; i < len(tokens); {
		x.out = append(x.out, tokens[i])
		word := strings.ToLower(tokens[i].Text)
		if i++; tokens[i-1].Kind != googlesql.Word || word != "from" && word != "join" {
			continue
		}
		first := x.solid(i)
		x.out = append(x.out, tokens[i:first]...)
		n, err := x.table(ctx, first)
		if err != nil {
			return nil, err
		}
		i = n
	}
	return x.out, nil
}

// solid answers where the next token from i on is that is neither space nor comment.
func (x *traveller) solid(i int) int {
	for i < len(x.tokens) && (x.tokens[i].Kind == googlesql.Space || x.tokens[i].Kind == googlesql.Comment) {
		i++
	}
	return i
}

func (x *traveller) text(i int) string {
	if i < len(x.tokens) {
		return strings.ToLower(x.tokens[i].Text)
	}
	return ""
}

// path answers the names at i, and where they end.
func (x *traveller) path(i int) (names []string, end int) {
	for i < len(x.tokens) {
		switch t := x.tokens[i]; t.Kind {
		case googlesql.Word:
			names = append(names, t.Text)
		case googlesql.Name:
			names = append(names, strings.Split(googlesql.Unquote(t.Text), ".")...)
		default:
			return names, i
		}
		if i++; x.text(i) != "." {
			break
		}
		i++
	}
	if len(names) > 0 && names[0] == Project {
		names = names[1:]
	}
	return names, i
}

// ownTable answers the key of a table of the data set, "" for others.
func (x *traveller) ownTable(names []string) string {
	if len(names) == 2 && names[0] == Dataset {
		names = names[1:]
	}
	if len(names) != 1 {
		return ""
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.s.live[keyOf(names[0])] == nil {
		return ""
	}
	return keyOf(names[0])
}

// table reads a table of FROM at i, and answers where the tokens behind it are.
func (x *traveller) table(ctx context.Context, i int) (int, error) {
	if x.text(i) == "changes" && x.text(x.solid(i+1)) == "(" {
		return x.changes(ctx, i)
	}
	names, end := x.path(i)
	if len(names) == 3 && strings.EqualFold(names[1], "INFORMATION_SCHEMA") && strings.EqualFold(names[2], "TABLES") {
		x.put(place{meta, "tables"})
		return end, nil
	}
	key := x.ownTable(names)
	alias, behind := x.alias(end)
	at, next, err := x.asOf(behind)
	switch {
	case err != nil:
		return 0, err
	case key == "" && !at.IsZero():
		return 0, bad("FOR SYSTEM_TIME AS OF is not supported on what is no table")
	case key == "":
		x.out = append(x.out, x.tokens[i:end]...)
		return end, nil
	}
	if err := x.see(key, at.Format(time.RFC3339Nano)); err != nil {
		return 0, err
	}
	if at.IsZero() {
		if end == i+1 {
			x.out = append(x.out, x.tokens[i])
		} else {
			x.put(place{Dataset, names[len(names)-1]})
		}
		return end, nil
	}
	p, err := x.s.was(key, at)
	if err != nil {
		return 0, err
	}
	x.put(p)
	if alias == "" {
		alias = googlesql.Quote(names[len(names)-1])
	}
	x.out = append(x.out, verbatim(" AS "+alias))
	return next, nil
}

// verbatim answers a token that is written as it is.
func verbatim(text string) googlesql.Token {
	return googlesql.Token{Kind: googlesql.Symbol, Text: strings.ReplaceAll(text, "`", `"`)}
}

func (x *traveller) put(p place) {
	x.out = append(x.out, googlesql.Token{Kind: googlesql.Name, Text: "`" + p.schema + "`"}, googlesql.Token{Kind: googlesql.Symbol, Text: "."},
		googlesql.Token{Kind: googlesql.Name, Text: googlesql.Quote(p.name)})
}

// see refuses a table that is looked at as of two times.
func (x *traveller) see(key, at string) error {
	if was, ok := x.seen[key]; ok && was != at {
		return bad("A single query statement cannot reference table " + key + " at more than one point in time")
	}
	x.seen[key] = at
	return nil
}

// alias answers the alias behind a table that stands before FOR, and where FOR may be.
func (x *traveller) alias(i int) (string, int) {
	at := x.solid(i)
	if x.text(at) == "as" {
		at = x.solid(at + 1)
	}
	if at >= len(x.tokens) || x.text(at) == "for" || x.text(x.solid(at+1)) != "for" {
		return "", at
	}
	return x.tokens[at].Text, x.solid(at + 1)
}

// asOf reads FOR SYSTEM_TIME AS OF at i, and answers the time and where the tokens behind it are.
func (x *traveller) asOf(i int) (time.Time, int, error) {
	for _, w := range []string{"for", "system_time", "as", "of"} {
		if x.text(i) != w {
			return time.Time{}, i, nil
		}
		i = x.solid(i + 1)
	}
	at, err := x.time(i)
	return at, i + 1, err
}

// time answers the time that the parameter at i has.
func (x *traveller) time(i int) (time.Time, error) {
	if i >= len(x.tokens) || x.tokens[i].Kind != googlesql.Parameter {
		return time.Time{}, bad("The peer takes parameters for times")
	}
	p := x.params[strings.TrimPrefix(x.tokens[i].Text, "@")]
	if p == nil || p.ParameterType == nil || p.ParameterType.Type != "TIMESTAMP" || p.ParameterValue == nil {
		return time.Time{}, bad("Query parameter '" + x.tokens[i].Text + "' not found")
	}
	at, err := time.Parse(time.RFC3339Nano, p.ParameterValue.Value)
	if err != nil {
		return time.Time{}, bad("Invalid timestamp")
	}
	return at, nil
}

// changes reads CHANGES(TABLE name, @from, @to) at i.
func (x *traveller) changes(ctx context.Context, i int) (int, error) {
	i = x.solid(x.solid(i+1) + 1)
	if x.text(i) != "table" {
		return 0, bad("CHANGES takes a table, behind the word TABLE")
	}
	names, i := x.path(x.solid(i + 1))
	var times [2]time.Time
	for n := range times {
		if i = x.solid(i); x.text(i) != "," {
			return 0, bad("CHANGES takes a start and an end")
		}
		i = x.solid(i + 1)
		at, err := x.time(i)
		if err != nil {
			return 0, err
		}
		times[n], i = at, i+1
	}
	if i = x.solid(i); x.text(i) != ")" {
		return 0, bad("CHANGES takes a start and an end")
	}
	key := x.ownTable(names)
	if key == "" {
		return 0, bad("CHANGES is not supported on what is no table")
	}
	if err := x.see(key, "changes"); err != nil {
		return 0, err
	}
	p, err := x.s.changes(ctx, key, times[0], times[1])
	if err != nil {
		return 0, err
	}
	x.put(p)
	return i + 1, nil
}
