package document

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// reader reads one document: it records where fields stand and reports what is wrong with them.
type reader struct {
	*parser
	file   File
	kind   string
	id     string
	start  Place
	places map[string]Place
	budget *int // values that may still be read of this file
	spent  bool // the budget is gone; that was said, and nothing more is read
}

// field is what a reader knows of one key of an object.
type field struct {
	name    string
	aliases []string
	read    func(n *yaml.Node, path string)
}

// fail reports a violation at a node.
func (r *reader) fail(n *yaml.Node, path, fix, format string, args ...any) {
	r.violations = append(r.violations, r.violation(n, path, fix, format, args...))
}

func (r *reader) violation(n *yaml.Node, path, fix, format string, args ...any) fault.Violation {
	p := place(r.file.Name, n)
	return fault.Violation{
		File: p.File, Line: p.Line, Column: p.Column, Kind: r.kind, ID: r.id, Field: path, Message: fmt.Sprintf(format, args...), Fix: fix,
	}
}

// resolve follows an alias and takes the value from the budget. It answers nil, once reported, where the document is too
// large or too deep: aliases can multiply a small file.
func (r *reader) resolve(n *yaml.Node, path string, depth int) *yaml.Node {
	if r.spent {
		return nil
	}
	if *r.budget--; *r.budget < 0 || depth > maxDepth {
		r.fail(n, clip(path), "write fewer values or use fewer aliases", "the document has more than %d values or %d levels", maxNodes, maxDepth)
		r.spent = true
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return r.resolve(n.Alias, path, depth+1)
	}
	if n.Style&yaml.TaggedStyle != 0 && !tagsKnown.MatchString(n.Tag) {
		r.fail(n, path, "remove it", "has the tag %q, and documents use none", clip(n.Tag))
		return nil
	}
	return n
}

func depthOf(path string) int { return strings.Count(path, ".") + strings.Count(path, "[") }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// object reads the keys of an object: each once, and only known ones. A null value counts as left out.
func (r *reader) object(n *yaml.Node, path string, fields ...field) bool {
	n = r.resolve(n, path, depthOf(path))
	if n == nil {
		return false
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "write KEY: VALUE pairs", "is %s and must be an object", describe(n))
		return false
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		if key.Kind != yaml.ScalarNode {
			r.fail(key, path, "use a word", "a key is %s", describe(key))
			continue
		}
		f, ok := find(fields, name)
		if !ok {
			r.fail(key, join(path, clip(name)), suggest(fields, name), "unknown field")
			continue
		}
		if other, ok := seen[f.name]; ok {
			r.fail(key, join(path, f.name), "keep one", "stands already on line %d", other.Line)
			continue
		}
		seen[f.name] = key
		at := join(path, f.name)
		r.places[at] = place(r.file.Name, value)
		if v := r.resolve(value, at, depthOf(at)); v != nil && !isNull(v) {
			f.read(v, at)
		}
	}
	return true
}

func find(fields []field, name string) (field, bool) {
	for _, f := range fields {
		if f.name == name || slices.Contains(f.aliases, name) {
			return f, true
		}
	}
	return field{}, false
}

// suggest answers the nearest known name, else all of them.
func suggest(fields []field, name string) string {
	best, least := "", min(3, len(name)/2+1)
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
		if d := distance(name, f.name); d < least {
			best, least = f.name, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "the fields here are " + strings.Join(names, ", ")
}

// distance answers how many letters differ between two short words.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(prev[j]+cost, prev[j+1]+1, next[j]+1)
		}
		prev = next
	}
	return prev[len(b)]
}

// list hands each element of a list to read.
func (r *reader) list(n *yaml.Node, path string, read func(n *yaml.Node, path string)) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, path, "write it as [a, b]", "is %s and must be a list", describe(n))
		return
	}
	for i, e := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.places[at] = place(r.file.Name, e)
		if v := r.resolve(e, at, depthOf(at)); v != nil {
			read(v, at)
		}
	}
}

func (r *reader) textAt(n *yaml.Node, path string) (string, bool) {
	if n.Kind == yaml.ScalarNode {
		if s, ok := scalar(n).(string); ok {
			return s, true
		}
		r.fail(n, path, "put it in quotes", "is %s and must be text", describe(n))
		return "", false
	}
	r.fail(n, path, "write text", "is %s and must be text", describe(n))
	return "", false
}

// text is a field of text.
func text(r *reader, name string, to *string, aliases ...string) field {
	return field{name: name, aliases: aliases, read: func(n *yaml.Node, path string) {
		if s, ok := r.textAt(n, path); ok {
			*to = s
		}
	}}
}

// word is a field of one word of a closed set; words translates a vendor's word.
func word[T ~string](r *reader, name string, to *T, words map[string]T) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		s, ok := r.textAt(n, path)
		if !ok {
			return
		}
		if w, ok := words[s]; ok {
			s = string(w)
		}
		*to = T(s)
	}}
}

func texts(r *reader, name string, to *[]string) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		r.list(n, path, func(n *yaml.Node, path string) {
			if s, ok := r.textAt(n, path); ok {
				*to = append(*to, s)
			}
		})
	}}
}

// oneOrMore is a field of a text, or of a list of texts.
func (r *reader) oneOrMore(name string, to *[]string) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode {
			texts(r, name, to).read(n, path)
			return
		}
		if s, ok := r.textAt(n, path); ok {
			*to = []string{s}
		}
	}}
}

func integer(r *reader, name string, to *int) field { //nolint:unparam // one field of each kind
	return field{name: name, read: func(n *yaml.Node, path string) {
		v, ok := any(nil), n.Kind == yaml.ScalarNode
		if ok {
			v = scalar(n)
		}
		i, ok := v.(int64)
		if !ok || i != int64(int32(i)) { //nolint:gosec // the comparison is the check
			r.fail(n, path, "write a whole number", "is %s and must be a whole number", describe(n))
			return
		}
		*to = int(i)
	}}
}

// long is a field of a whole number.
func long(r *reader, name string, to *int64) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		i, ok := numeric(n).(int64)
		if !ok {
			r.fail(n, path, "write a whole number", "is %s and must be a whole number", describe(n))
			return
		}
		*to = i
	}}
}

// float is a field of a number.
func float(r *reader, name string, to *float64) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		switch v := numeric(n).(type) {
		case int64:
			*to = float64(v)
		case float64:
			*to = v
		default:
			r.fail(n, path, "write a number", "is %s and must be a number", describe(n))
		}
	}}
}

// numeric answers what a node holds, nil where it is no scalar.
func numeric(n *yaml.Node) any {
	if n.Kind != yaml.ScalarNode {
		return nil
	}
	return scalar(n)
}

func duration(r *reader, name string, to *time.Duration) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode {
			r.fail(n, path, "write 90s, 10m, 2h or 7d", "is %s and must be a duration", describe(n))
			return
		}
		d, err := resource.ParseDuration(n.Value)
		if err != nil {
			r.fail(n, path, "write 90s, 10m, 2h or 7d", "%q is not a duration", clip(n.Value))
			return
		}
		*to = d
	}}
}

func size(r *reader, name string, to *int64) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		const fix = "write a whole number with a unit, such as 500MB, 10GB or 2TiB"
		if n.Kind != yaml.ScalarNode {
			r.fail(n, path, fix, "is %s and must be a size", describe(n))
			return
		}
		v, err := resource.ParseBytes(n.Value)
		if err != nil {
			r.fail(n, path, fix, "%q is not a size", clip(n.Value))
			return
		}
		if v == 0 {
			r.fail(n, path, "write 1B or more, or leave it out for no bound", "is 0, which bounds nothing")
			return
		}
		*to = v
	}}
}

func instant(r *reader, name string, to *time.Time) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		s, ok := r.textAt(n, path)
		if !ok {
			return
		}
		for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
			if t, err := time.Parse(layout, s); err == nil {
				*to = t.UTC()
				return
			}
		}
		r.fail(n, path, "write RFC 3339, such as 2026-01-31T06:00:00Z, or a date", "%q is not an instant", clip(s))
	}}
}
