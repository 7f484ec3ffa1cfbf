package bigquery

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/bigquery/googlesql"
	"millrace.dev/pkg/source/sqltext"
)

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.ReasonQueryInvalid, format, args...)
}

// statement answers the one statement of a model as text that can stand in parentheses, without trailing semicolons.
func statement(m resource.DataModel) (string, error) {
	if m.Table != "" {
		if !isTable(m.Table) {
			return "", invalid("table is not a name such as dataset.table or project.dataset.table; quote names with other characters in backticks: `my table`")
		}
		return "SELECT * FROM " + m.Table, nil
	}
	return clean(m.SQL)
}

// clean answers sql without what stands behind its statement. Text that is empty, too long, not UTF-8, has a NUL, leaves a
// quote or comment open or begins as no SELECT does is refused; what else it is, BigQuery's dry run decides.
func clean(sql string) (string, error) {
	switch {
	case len(sql) > sqltext.MaxBytes:
		return "", invalid("the query is longer than 1 MiB; make it a view in the warehouse")
	case !utf8.ValidString(sql):
		return "", invalid("the query is not valid UTF-8")
	case strings.ContainsRune(sql, 0):
		return "", invalid("the query contains a NUL character")
	}
	end, first := 0, ""
	for at := 0; at < len(sql); {
		t, ok := googlesql.Next(sql[at:])
		if !ok {
			return "", invalid("line %d: a quote or comment is not closed", 1+strings.Count(sql[:at], "\n"))
		}
		at += len(t.Text)
		if t.Kind != googlesql.Space && t.Kind != googlesql.Comment && t.Text != ";" {
			end = at
			if first == "" {
				first = strings.ToUpper(t.Text)
			}
		}
	}
	switch first {
	case "SELECT", "WITH", "FROM", "(":
		return sql[:end], nil
	case "":
		return "", invalid("the query is empty; write one SELECT")
	}
	return "", invalid("the query is no SELECT; write one SELECT (WITH is fine)")
}

// isTable says whether s is one to three names joined by dots, each bare or in backticks, or all in one pair of them.
func isTable(s string) bool {
	for n := 0; n < 4; n++ {
		size := 0
		if strings.HasPrefix(s, "`") {
			t, ok := googlesql.Next(s)
			if !ok || len(t.Text) < 3 {
				return false
			}
			size = len(t.Text)
		} else {
			size = bare(s, n == 0)
		}
		if size == 0 {
			return false
		}
		if s = s[size:]; s == "" {
			return n < 3
		}
		if s[0] != '.' {
			return false
		}
		s = s[1:]
	}
	return false
}

// bare answers the length of an unquoted part of a table's name; the first may have dashes, as projects do.
func bare(s string, first bool) int {
	for i, r := range s {
		inside := r == '_' || unicode.IsLetter(r) || i > 0 && unicode.IsDigit(r) || first && i > 0 && r == '-' && !strings.HasPrefix(s[i:], "--")
		if !inside {
			return i
		}
	}
	return len(s)
}

// varies says whether a statement names a function that answers something else each time it is asked. It does not see
// into views and routines.
func varies(sql string) bool {
	for at := 0; at < len(sql); {
		t, ok := googlesql.Next(sql[at:])
		if !ok {
			return false
		}
		at += len(t.Text)
		if t.Kind != googlesql.Word {
			continue
		}
		switch strings.ToLower(t.Text) {
		case "current_date", "current_time", "current_timestamp", "current_datetime", "tablesample", "rand", "generate_uuid":
			return true
		}
	}
	return false
}
