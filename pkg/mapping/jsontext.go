package mapping

import (
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

const (
	notJSON       = "is not JSON"
	notJSONObject = "is not a JSON object"
)

// maxJSONDepth bounds the nesting of JSON values.
const maxJSONDepth = 128

// toJSON makes JSON text of any value; text must be JSON already.
func (f *flow) toJSON(object bool) {
	switch f.class {
	case classText, classJSON:
		f.then(classJSON, utf8Type(), canonicalJSON(object))
	default:
		f.then(classJSON, utf8Type(), jsonText(arrow.Field{Type: f.typ}))
	}
}

// canonicalJSON makes JSON text compact, with the members of objects in the order of their names and without repeats
// (the last one stands), so that equal values have equal texts. The text null is NULL. With `object` anything but an
// object makes the row a reject.
func canonicalJSON(object bool) op {
	return func(c *call, in arrow.Array) arrow.Array {
		s := in.(*array.String) //nolint:forcetypeassert // by the class
		var j canon
		return toText(in, 32, func(dst []byte, i int) ([]byte, bool) {
			start := len(dst)
			dst, ok := j.append(dst, s.Value(i))
			switch {
			case !ok:
				c.fail(i, notJSON)
				return dst[:start], true
			case string(dst[start:]) == "null":
				return dst[:start], false
			case object && dst[start] != '{':
				c.fail(i, notJSONObject)
				return dst[:start], true
			}
			return dst, true
		})
	}
}

// canon reads JSON and writes its canonical form. Its memory is used again from text to text.
type canon struct {
	src     string
	pos     int
	members []member
	sorted  []byte
}

// member is where a member's text, name and value, stands in the output.
type member struct {
	name     string
	from, to int
}

func (j *canon) append(dst []byte, text string) ([]byte, bool) {
	j.src, j.pos, j.members = text, 0, j.members[:0]
	j.space()
	dst, ok := j.value(dst, 0)
	if !ok {
		return dst, false
	}
	j.space()
	return dst, j.pos == len(j.src)
}

func (j *canon) space() {
	for j.pos < len(j.src) {
		switch j.src[j.pos] {
		case ' ', '\t', '\n', '\r':
			j.pos++
		default:
			return
		}
	}
}

// take answers whether b comes next, and passes it.
func (j *canon) take(b byte) bool {
	if j.pos < len(j.src) && j.src[j.pos] == b {
		j.pos++
		return true
	}
	return false
}

func (j *canon) value(dst []byte, depth int) ([]byte, bool) {
	if j.pos >= len(j.src) || depth > maxJSONDepth {
		return dst, false
	}
	switch b := j.src[j.pos]; b {
	case '{':
		return j.object(dst, depth)
	case '[':
		return j.array(dst, depth)
	case '"':
		s, ok := j.text()
		return append(dst, s...), ok
	case 't', 'f', 'n':
		for _, word := range []string{"true", "false", "null"} {
			if strings.HasPrefix(j.src[j.pos:], word) {
				j.pos += len(word)
				return append(dst, word...), true
			}
		}
		return dst, false
	default:
		return j.number(dst)
	}
}

func (j *canon) array(dst []byte, depth int) ([]byte, bool) {
	j.pos++
	dst = append(dst, '[')
	if j.space(); j.take(']') {
		return append(dst, ']'), true
	}
	for {
		var ok bool
		j.space()
		if dst, ok = j.value(dst, depth+1); !ok {
			return dst, false
		}
		j.space()
		if j.take(']') {
			return append(dst, ']'), true
		}
		if !j.take(',') {
			return dst, false
		}
		dst = append(dst, ',')
	}
}

func (j *canon) object(dst []byte, depth int) ([]byte, bool) {
	j.pos++
	start, first := len(dst), len(j.members)
	dst = append(dst, '{')
	inOrder := true
	if j.space(); j.take('}') {
		return append(dst, '}'), true
	}
	for {
		j.space()
		if len(j.members) > first {
			dst = append(dst, ',')
		}
		m := member{from: len(dst)}
		raw, ok := j.name()
		if !ok {
			return dst, false
		}
		m.name = unescape(raw)
		dst = append(append(dst, raw...), ':')
		if dst, ok = j.value(dst, depth+1); !ok {
			return dst, false
		}
		m.to = len(dst)
		if n := len(j.members); n > first && j.members[n-1].name >= m.name {
			inOrder = false
		}
		j.members = append(j.members, m)
		j.space()
		if j.take('}') {
			break
		}
		if !j.take(',') {
			return dst, false
		}
	}
	if !inOrder {
		dst = j.sort(dst, start, first)
	}
	j.members = j.members[:first]
	return append(dst, '}'), true
}

// name reads a member's name, the colon and the space after it, and answers the name as text answers it.
func (j *canon) name() (string, bool) {
	if j.pos >= len(j.src) || j.src[j.pos] != '"' {
		return "", false
	}
	raw, ok := j.text()
	if !ok {
		return "", false
	}
	j.space()
	if !j.take(':') {
		return "", false
	}
	j.space()
	return raw, true
}

// sort writes the members from `first` on again, in order, the last one of a name.
func (j *canon) sort(dst []byte, start, first int) []byte {
	ms := j.members[first:]
	slices.SortStableFunc(ms, func(a, b member) int { return strings.Compare(a.name, b.name) })
	j.sorted = j.sorted[:0]
	for i, m := range ms {
		if i+1 < len(ms) && ms[i+1].name == m.name {
			continue
		}
		if len(j.sorted) > 0 {
			j.sorted = append(j.sorted, ',')
		}
		j.sorted = append(j.sorted, dst[m.from:m.to]...)
	}
	return append(dst[:start+1], j.sorted...)
}

// text reads a string and answers it with its quotes, in canonical form: without escapes that need not be.
func (j *canon) text() (string, bool) {
	start := j.pos
	plain := true
	for j.pos++; j.pos < len(j.src); j.pos++ {
		switch b := j.src[j.pos]; {
		case b == '"':
			j.pos++
			raw := j.src[start:j.pos]
			if plain {
				return raw, true
			}
			return canonicalString(raw)
		case b == '\\':
			plain = false
			j.pos++
		case b < ' ':
			return "", false
		case b >= 0x80:
			plain = false
		}
	}
	return "", false
}

func (j *canon) digits() bool {
	start := j.pos
	for j.pos < len(j.src) && j.src[j.pos] >= '0' && j.src[j.pos] <= '9' {
		j.pos++
	}
	return j.pos > start
}

// number passes a number of JSON's grammar; it is kept as it is written.
func (j *canon) number(dst []byte) ([]byte, bool) {
	start := j.pos
	j.take('-')
	if !j.take('0') && !j.digits() {
		return dst, false
	}
	if j.take('.') && !j.digits() {
		return dst, false
	}
	if j.take('e') || j.take('E') {
		if !j.take('+') {
			j.take('-')
		}
		if !j.digits() {
			return dst, false
		}
	}
	return append(dst, j.src[start:j.pos]...), true
}
