package drift

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kindOf answers how a column's type differs, "" where it does not.
func kindOf(was, is Column) Kind {
	if was.Arrow == is.Arrow {
		return sameArrow(was.Type, is.Type)
	}
	switch {
	case wider(was.Arrow, is.Arrow):
		return Widened
	case wider(is.Arrow, was.Arrow):
		return Narrowed
	}
	return Retyped
}

// sameArrow compares the warehouse's types of columns that are read as one Arrow type: texts of bounded length, lists of
// words, and others that only look alike.
func sameArrow(was, is string) Kind {
	if strings.EqualFold(was, is) {
		return ""
	}
	base, n, bounded := length(was)
	base2, n2, bounded2 := length(is)
	switch {
	case base == "enum" && base2 == "enum":
		return "" // its words are read as text
	case !texts(base) || !texts(base2):
		return Retyped
	case bounded == bounded2 && n == n2:
		return ""
	case !bounded2 || (bounded && n < n2):
		return Widened
	}
	return Narrowed
}

// texts says whether a type holds any text.
func texts(base string) bool {
	return slices.Contains([]string{"varchar", "character varying", "text", "string"}, base)
}

// length cuts the bound off a type such as varchar(20).
func length(t string) (base string, n int, bounded bool) {
	base, rest, ok := strings.Cut(strings.ToLower(t), "(")
	if !ok {
		return base, 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(rest, ")"))
	return strings.TrimSpace(base), n, err == nil
}

// wider says whether every value of one Arrow type is a value of the other, and reads the same.
func wider(from, to string) bool {
	if p, s, ok := decimal(to); ok {
		p2, s2, ok := digits(from)
		return ok && s >= s2 && p-s >= p2-s2
	}
	for _, ladder := range [][]string{
		{"int8", "int16", "int32", "int64"}, {"uint8", "uint16", "uint32", "uint64"},
		{"uint8", "int16"}, {"uint8", "int32"}, {"uint8", "int64"}, {"uint16", "int32"}, {"uint16", "int64"}, {"uint32", "int64"},
		{"float32", "float64"}, {"utf8", "large_utf8"}, {"binary", "large_binary"},
	} {
		if rises(ladder, from, to) {
			return true
		}
	}
	unit, zone, ok := instant(from)
	unit2, zone2, ok2 := instant(to)
	return ok && ok2 && zone == zone2 && rises([]string{"s", "ms", "us", "ns"}, unit, unit2)
}

func rises(ladder []string, from, to string) bool {
	a, b := slices.Index(ladder, from), slices.Index(ladder, to)
	return a >= 0 && a < b
}

// digits answers precision and scale of a decimal, or those that hold every value of an integer.
func digits(t string) (precision, scale int, ok bool) {
	precision, ok = map[string]int{"int8": 3, "uint8": 3, "int16": 5, "uint16": 5, "int32": 10, "uint32": 10, "int64": 19, "uint64": 20}[t]
	if ok {
		return precision, 0, true
	}
	return decimal(t)
}

func decimal(t string) (precision, scale int, ok bool) {
	if !strings.HasPrefix(t, "decimal") {
		return 0, 0, false
	}
	_, args, _ := strings.Cut(t, "(")
	n, err := fmt.Sscanf(args, "%d, %d)", &precision, &scale)
	return precision, scale, n == 2 && err == nil
}

// instant answers unit and zone of a timestamp.
func instant(t string) (unit, zone string, ok bool) {
	inner, ok := strings.CutPrefix(t, "timestamp[")
	if !ok {
		return "", "", false
	}
	unit, zone, _ = strings.Cut(strings.TrimSuffix(inner, "]"), ", ")
	return unit, zone, true
}
