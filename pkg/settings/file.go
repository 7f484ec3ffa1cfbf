package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/fault"
)

// maxFile bounds the file of settings.
const maxFile = 1 << 20

// file is a YAML file of settings, its keys with their places.
type file struct {
	path string
	top  []entry
	// sections are the entries of each mapping at the top.
	sections map[string][]entry
}

type entry struct {
	key   *yaml.Node
	value *yaml.Node
}

func readFile(path string) (*file, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ReasonFileNotFound, "the file of settings can not be read: %w", err)
	}
	if len(data) > maxFile {
		return nil, fault.New(fault.Invalid, fault.ReasonLimitExceeded, "%s: a file of settings has at most %d bytes", path, maxFile)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "%s: %w", path, err)
	}
	f := &file{path: path, sections: map[string][]entry{}}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, f.violation(&more, "", "the file has more than one document", "keep one")
	}
	if len(doc.Content) == 0 {
		return f, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, f.violation(root, "", "the file is no mapping of settings", "write `name: value` lines")
	}
	f.top = entries(root)
	for _, e := range f.top {
		if e.value.Kind == yaml.MappingNode {
			f.sections[e.key.Value] = entries(e.value)
		}
	}
	return f, nil
}

func (f *file) violation(n *yaml.Node, field, message, fix string) error {
	return fault.Of(fault.ReasonInvalidArgument, []fault.Violation{f.at(n, field, message, fix)})
}

func (f *file) at(n *yaml.Node, field, message, fix string) fault.Violation {
	return fault.Violation{File: f.path, Line: n.Line, Column: n.Column, Kind: "setting", Field: field, Message: message, Fix: fix}
}

func entries(n *yaml.Node) []entry {
	out := make([]entry, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, entry{n.Content[i], n.Content[i+1]})
	}
	return out
}

// canonical answers a key as the flag has it: log_level is log-level.
func canonical(key string) string { return strings.ReplaceAll(key, "_", "-") }

// check answers every fault of the file: unknown and repeated keys, and values that do not fit their setting. A section
// of a program that this one does not host is not looked into.
func (f *file) check(flags []*kong.Flag, groups []Group, others []string) error {
	byName := map[string]*kong.Flag{}
	for _, fl := range flags {
		if fl.Name != "help" && fl.Name != "print-settings" && fl.Name != "config" {
			byName[fl.Name] = fl
		}
	}
	hosted := map[string]bool{}
	for _, g := range groups {
		if g.Name != "" {
			hosted[g.Name] = true
		}
	}
	var vs []fault.Violation
	seen := map[string]bool{}
	judge := func(e entry, path, flag, fallback string) {
		if seen[path] {
			vs = append(vs, f.at(e.key, path, "is set twice", "keep one"))
			return
		}
		seen[path] = true
		fl := byName[flag]
		if fl == nil {
			fl = byName[fallback]
		}
		if fl == nil {
			vs = append(vs, f.at(e.key, path, "is no setting of this program"+nearest(flag, byName), "see --help"))
			return
		}
		if err := fits(fl, e.value); err != nil {
			vs = append(vs, f.at(e.value, path, err.Error(), "see --help"))
		}
	}
	for _, e := range f.top {
		section := e.value.Kind == yaml.MappingNode
		switch name := e.key.Value; {
		case section && hosted[name]:
			for _, s := range f.sections[name] {
				judge(s, name+"."+s.key.Value, name+"-"+canonical(s.key.Value), canonical(s.key.Value))
			}
		case section && slices.Contains(others, name):
		default:
			judge(e, name, canonical(name), "")
		}
	}
	return fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born here
}

// nearest proposes a known name that differs little.
func nearest(name string, known map[string]*kong.Flag) string {
	best, score := "", 3
	for k := range known {
		if d := distance(name, k); d < score || d == score && k < best {
			best, score = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance is how many letters have to be changed, added or dropped.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// fits says whether a value can become a setting, without setting it.
func fits(fl *kong.Flag, n *yaml.Node) error {
	v, err := scalar(n)
	if err != nil {
		return err
	}
	target := reflect.New(fl.Target.Type()).Elem()
	d := *fl.Value
	if err := d.Mapper.Decode(&kong.DecodeContext{Value: &d, Scan: kong.Scan().PushTyped(v, kong.FlagValueToken)}, target); err != nil {
		return fmt.Errorf("the value does not fit: %w", err)
	}
	if d.Enum != "" && target.Kind() == reflect.String && !d.EnumMap()[target.String()] {
		return fmt.Errorf("must be one of %s", strings.Join(d.EnumSlice(), ", ")) //nolint:err113 // becomes a violation
	}
	return nil
}

// scalar answers a value as kong's scanner takes it: a text, or texts joined by commas.
func scalar(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Value, nil
	case yaml.SequenceNode:
		parts := make([]string, 0, len(n.Content))
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode {
				return nil, errors.New("a list of settings holds plain values only") //nolint:err113 // becomes a violation
			}
			parts = append(parts, kong.JoinEscaped([]string{c.Value}, ','))
		}
		return strings.Join(parts, ","), nil
	default:
		return nil, errors.New("must be a plain value or a list of them") //nolint:err113 // becomes a violation
	}
}

// find answers the value for a flag: in its own section, else at the top. Shared settings may be given anew in the
// section `own`.
func (f *file) find(flag string, groups []Group, own string) (*yaml.Node, bool) {
	for _, g := range groups {
		rest, ok := strings.CutPrefix(flag, g.Name+"-")
		if g.Name == "" || !ok {
			continue
		}
		if n, ok := lookup(f.sections[g.Name], rest); ok {
			return n, true
		}
	}
	if own != "" {
		if n, ok := lookup(f.sections[own], flag); ok {
			return n, true
		}
	}
	return lookup(f.top, flag)
}

func lookup(es []entry, flag string) (*yaml.Node, bool) {
	for _, e := range es {
		if canonical(e.key.Value) == flag {
			return e.value, true
		}
	}
	return nil, false
}
