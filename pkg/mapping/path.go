package mapping

import (
	"strconv"
	"strings"
)

// segment is one step of a path.
type segment struct {
	name     string
	reserved bool // written $NAME; name has the dollar sign
	index    int  // −1: none
}

// path is where a value goes. A star stands for the name of the column.
type path struct {
	segments []segment
	star     bool
}

// maxIndex bounds an INDEX: lists are short, one column per element and field.
const maxIndex = 99

// mend is what is wrong with something and what to do about it. The zero value is nothing.
type mend struct{ what, fix string }

func (m mend) bad() bool { return m.what != "" }

// parsePath reads DEST = PATH | PATH ".*" | "*".
func parsePath(s string) (path, mend) {
	if s == "*" {
		return path{star: true}, mend{}
	}
	if s == "" {
		return path{}, mend{"is missing", "name the field that the value goes to"}
	}
	var p path
	for rest := s; ; {
		seg, after, m := parseSegment(rest)
		if m.bad() {
			return path{}, m
		}
		p.segments = append(p.segments, seg)
		if after == "" {
			return p, mend{}
		}
		if after[0] != '.' {
			return path{}, mend{"has " + strconv.Quote(after[:1]) + " where a dot or the end should be", "write a name with such characters as {{'any text'}}"}
		}
		rest = after[1:]
		if rest == "*" {
			p.star = true
			return p, mend{}
		}
	}
}

// parseSegment reads one segment and answers the rest of the text.
func parseSegment(s string) (segment, string, mend) {
	seg := segment{index: -1}
	if strings.HasPrefix(s, "{{") {
		name, rest, m := parseEscape(s)
		seg.name = name
		return seg, rest, m
	}
	end := strings.IndexFunc(s, func(r rune) bool { return !plainRune(r) })
	if strings.HasPrefix(s, "$") {
		seg.reserved = true
		end = strings.IndexFunc(s[1:], func(r rune) bool { return !plainRune(r) })
		if end >= 0 {
			end++
		}
	}
	if end < 0 {
		end = len(s)
	}
	seg.name = s[:end]
	rest := s[end:]
	switch {
	case seg.name == "" || seg.name == "$":
		return seg, rest, mend{"has an empty name", "write NAME, $NAME or {{'any text'}} between the dots"}
	case strings.TrimSpace(seg.name) != seg.name:
		return seg, rest, mend{"has a name with blanks at its edge", "write it as {{'" + seg.name + "'}}"}
	case !strings.HasPrefix(rest, "["):
		return seg, rest, mend{}
	}
	return parseIndex(seg, rest)
}

func parseIndex(seg segment, s string) (segment, string, mend) {
	bad := mend{"has a bad index", "write a whole number from 0 to " + strconv.Itoa(maxIndex) + " between the brackets, as in products[0]"}
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return seg, "", bad
	}
	digits := s[1:end]
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n > maxIndex || strconv.FormatUint(n, 10) != digits {
		return seg, "", bad
	}
	seg.index = int(n)
	return seg, s[end+1:], mend{}
}

// parseEscape reads {{'any text'}}; a quote inside is doubled.
func parseEscape(s string) (name, rest string, m mend) {
	bad := mend{"has an escape that does not end", "write {{'any text'}}, with a quote inside doubled"}
	if len(s) < 3 || s[2] != '\'' {
		return "", "", bad
	}
	var b strings.Builder
	for i := 3; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		if !strings.HasPrefix(s[i:], "'}}") {
			return "", "", bad
		}
		if b.Len() == 0 {
			return "", "", mend{"has an empty name", "put the field's name between the quotes"}
		}
		return b.String(), s[i+3:], mend{}
	}
	return "", "", bad
}

// plainRune says whether r may stand in a name without an escape.
func plainRune(r rune) bool {
	return r >= ' ' && r != 0x7f && !strings.ContainsRune(".[]{}*$'\"", r)
}

// escape answers a name as a path writes it.
func escape(name string) string {
	plain := strings.TrimPrefix(name, "$")
	if plain != "" && strings.IndexFunc(plain, func(r rune) bool { return !plainRune(r) }) < 0 && strings.TrimSpace(name) == name {
		return name
	}
	return "{{'" + strings.ReplaceAll(name, "'", "''") + "'}}"
}

// text answers the segment as a path writes it.
func (s segment) text() string {
	t := escape(s.name)
	if s.index >= 0 {
		t += "[" + strconv.Itoa(s.index) + "]"
	}
	return t
}
