package millrace

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"millrace.dev/pkg/rpc"
)

// table aligns rows of cells in columns.
type table struct {
	w    io.Writer
	rows [][]string
}

// newTable starts a table under titles, or without a head where there are none.
func newTable(w io.Writer, titles ...string) *table {
	t := &table{w: w}
	if len(titles) > 0 {
		t.row(titles...)
	}
	return t
}

// row adds cells, each brought onto one line of harmless text.
func (t *table) row(cells ...string) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = oneLine(c)
	}
	t.rows = append(t.rows, row)
}

// fact adds a name and its value; one without a value is left out.
func (t *table) fact(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

// flush writes the rows and forgets them.
func (t *table) flush() error {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(c)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+2))
		}
		if _, err := io.WriteString(t.w, strings.TrimRight(line.String(), " ")+"\n"); err != nil {
			return written(err)
		}
	}
	t.rows = nil
	return nil
}

// oneLine answers text on one line without what a terminal would obey.
func oneLine(text string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(visible(strings.TrimSpace(text)))
}

// facts draws a message as lines of a path and a value, less what is empty or zero.
func facts(m proto.Message) func(io.Writer) error {
	return func(w io.Writer) error {
		data, err := rpc.MarshalJSON(m)
		if err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		root, err := tree(data)
		if err != nil {
			return err
		}
		t := newTable(w)
		addFacts(t, "", root)
		return t.flush()
	}
}

// unspecified is the word of an enum that says nothing.
const unspecified = "unspecified"

// addFacts adds the leaves under a node; a resource's meta block stands without its name.
func addFacts(t *table, path string, n *yaml.Node) {
	if n.Kind == yaml.MappingNode && path != "" && len(n.Content) == 0 {
		if path != "labels" { // an empty block such as `on_demand: {}` is itself the fact
			t.row(path, flow(n))
		}
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			if path == "" && name == "meta" {
				addFacts(t, "", n.Content[i+1])
				continue
			}
			addFacts(t, join(path, name), n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			head := ""
			if i == 0 {
				head = path
			}
			t.row(head, flow(c))
		}
	default:
		if n.Value != "" && n.Value != "0" && n.Value != unspecified && n.Tag != "!!null" {
			for i, line := range strings.Split(strings.TrimRight(n.Value, "\n"), "\n") {
				if i == 0 {
					t.row(path, line)
				} else {
					t.row("", line)
				}
			}
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// flow answers a node on one line, less what is empty.
func flow(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		var parts []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			if text := flow(n.Content[i+1]); text != "" && text != "[]" {
				parts = append(parts, n.Content[i].Value+": "+text)
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case yaml.SequenceNode:
		parts := make([]string, len(n.Content))
		for i, c := range n.Content {
			parts[i] = flow(c)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return n.Value
}

// word answers an enum value as the documentation writes it, empty for none: succeeded.
func word(e protoreflect.Enum) string {
	v := e.Descriptor().Values().ByNumber(e.Number())
	if v == nil || e.Number() == 0 {
		return ""
	}
	return rpc.Word(v)
}

// number answers n with commas between thousands.
func number(n int64) string {
	text := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	var groups []string
	for len(text) > 3 {
		groups = append(groups, text[len(text)-3:])
		text = text[:len(text)-3]
	}
	groups = append(groups, text)
	slices.Reverse(groups)
	return sign + strings.Join(groups, ",")
}

// size answers bytes in the unit that keeps it short.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// instant answers a time in UTC to the second, empty for none.
func instant(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

// span answers the time between two instants, empty while one is missing.
func span(from, until *timestamppb.Timestamp) string {
	if from == nil || until == nil {
		return ""
	}
	return until.AsTime().Sub(from.AsTime()).Round(10 * time.Millisecond).String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
