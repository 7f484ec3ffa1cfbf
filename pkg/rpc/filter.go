package rpc

import (
	"slices"
	"strconv"
	"strings"

	"millrace.dev/pkg/fault"
)

// Term is one condition of a filter: the field has the value.
type Term struct{ Field, Value string }

// Filter is conditions that must all hold.
type Filter []Term

// Value answers the value that a field must have, if the filter names it.
func (f Filter) Value(field string) (string, bool) {
	for _, t := range f {
		if t.Field == field {
			return t.Value, true
		}
	}
	return "", false
}

// ParseFilter reads `FIELD=VALUE AND FIELD=VALUE …`, values bare or in double quotes. Fields must be among `fields`, each
// named once. All faults are answered at once (INVALID_ARGUMENT, field "filter"). The empty text is the empty filter.
func ParseFilter(text string, fields ...string) (Filter, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var f Filter
	var vs []fault.Violation
	add := func(message string) {
		vs = append(vs, fault.Violation{Field: "filter", Message: message, Fix: "write FIELD=VALUE AND FIELD=VALUE with the fields " + strings.Join(fields, ", ")})
	}
	for _, part := range splitAnd(text) {
		name, raw, ok := strings.Cut(part, "=")
		name, raw = strings.TrimSpace(name), strings.TrimSpace(raw)
		value, err := unquote(raw)
		switch {
		case !ok:
			add("a condition has no =")
		case !slices.Contains(fields, name):
			add("can not be on " + strconv.Quote(name))
		case err != nil || raw == "" || strings.ContainsAny(name, "<>!"):
			add("the value of " + name + " is not readable")
		default:
			if _, twice := f.Value(name); twice {
				add("names " + name + " twice")
				continue
			}
			f = append(f, Term{name, value})
		}
	}
	if len(vs) > 0 {
		return nil, fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born here
	}
	return f, nil
}

func unquote(s string) (string, error) {
	if strings.HasPrefix(s, `"`) {
		return strconv.Unquote(s) //nolint:wrapcheck // becomes a violation
	}
	if strings.ContainsAny(s, " \t\"=") {
		return "", strconv.ErrSyntax
	}
	return s, nil
}

// splitAnd cuts at the word AND (any case) outside quotes.
func splitAnd(s string) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && isSpace(s[i]) && i+4 < len(s) && strings.EqualFold(s[i+1:i+4], "and") && isSpace(s[i+4]):
			parts = append(parts, s[start:i])
			start = i + 5
			i += 4
		}
	}
	return append(parts, s[start:])
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\n' }

// Order is one column of an order.
type Order struct {
	Field string
	Desc  bool
}

// ParseOrderBy reads `FIELD [asc|desc], FIELD …`. Fields must be among `fields`, each named once; all faults are
// answered at once (INVALID_ARGUMENT, field "order_by"). The empty text is no order.
func ParseOrderBy(text string, fields ...string) ([]Order, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var out []Order
	var vs []fault.Violation
	add := func(message string) {
		vs = append(vs, fault.Violation{Field: "order_by", Message: message, Fix: "write FIELD or FIELD desc, separated by commas, with the fields " + strings.Join(fields, ", ")})
	}
	for part := range strings.SplitSeq(text, ",") {
		w := strings.Fields(part)
		switch {
		case len(w) == 0 || len(w) > 2:
			add("is not readable at " + strconv.Quote(strings.TrimSpace(part)))
		case !slices.Contains(fields, w[0]):
			add("can not be by " + strconv.Quote(w[0]))
		case len(w) == 2 && !strings.EqualFold(w[1], "asc") && !strings.EqualFold(w[1], "desc"):
			add("knows no direction " + strconv.Quote(w[1]))
		case slices.ContainsFunc(out, func(o Order) bool { return o.Field == w[0] }):
			add("names " + w[0] + " twice")
		default:
			out = append(out, Order{Field: w[0], Desc: len(w) == 2 && strings.EqualFold(w[1], "desc")})
		}
	}
	if len(vs) > 0 {
		return nil, fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born here
	}
	return out, nil
}
