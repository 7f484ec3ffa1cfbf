package millrace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"millrace.dev/pkg/rpc"
)

// answer writes one document: the message as docs-JSON or YAML, or what table draws.
func (s *session) answer(m proto.Message, table func(io.Writer) error) error {
	if s.flags.Output == "table" {
		return table(s.Out)
	}
	data, err := rpc.MarshalJSON(m)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return s.document(data)
}

// say writes one document that is no message: v as JSON or YAML, or what table draws.
func (s *session) say(v any, table func(io.Writer) error) error {
	if s.flags.Output == "table" {
		return table(s.Out)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return s.document(data)
}

// document writes JSON text in the form that the command line asks for.
func (s *session) document(data []byte) error {
	if s.flags.Output == "yaml" {
		node, err := tree(data)
		if err != nil {
			return err
		}
		return encodeYAML(s.Out, node)
	}
	out, err := indent(data, "")
	if err != nil {
		return err
	}
	_, err = s.Out.Write(append(out, '\n'))
	return written(err)
}

// column is one column of a list's table.
type column[T any] struct {
	title string
	cell  func(T) string
}

// list is an answer of many: a table with a row each, or {"<plural>": [...]}. Items are written as they come.
type list[T proto.Message] struct {
	plural  string
	columns []column[T]
}

// preface is a short list before a long one.
type preface struct {
	plural string
	items  []proto.Message
	table  func(w io.Writer) error
}

// json answers the begin of a document with a preface, less its brace.
func (p *preface) json() (string, error) {
	if p == nil {
		return "", nil
	}
	all := make([]json.RawMessage, len(p.items))
	for i, m := range p.items {
		data, err := rpc.MarshalJSON(m)
		if err != nil {
			return "", fmt.Errorf("write the answer: %w", err)
		}
		all[i] = data
	}
	data, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("write the answer: %w", err)
	}
	data, err = indent(data, "  ")
	return fmt.Sprintf("  %q: %s,\n", p.plural, data), err
}

func (p *preface) yaml(w io.Writer) error {
	if p == nil {
		return nil
	}
	text, err := p.json()
	if err != nil {
		return err
	}
	node, err := tree([]byte("{" + strings.TrimSuffix(text, ",\n") + "}"))
	if err != nil {
		return err
	}
	return encodeYAML(w, node)
}

func (l list[T]) write(s *session, items iter.Seq2[T, error]) error {
	return l.writeBehind(s, nil, items)
}

// writeBehind is write, behind a preface.
func (l list[T]) writeBehind(s *session, before *preface, items iter.Seq2[T, error]) error {
	switch s.flags.Output {
	case "json":
		return l.json(s.Out, before, items)
	case "yaml":
		return l.yaml(s.Out, before, items)
	}
	if before != nil {
		if err := before.table(s.Out); err != nil {
			return err
		}
	}
	return l.table(s.Out, items)
}

func (l list[T]) json(w io.Writer, before *preface, items iter.Seq2[T, error]) error {
	opening, err := before.json()
	if err != nil {
		return err
	}
	n := 0
	for item, err := range items {
		if err != nil {
			return err
		}
		data, err := rpc.MarshalJSON(item)
		if err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		data, err = indent(data, "    ")
		if err != nil {
			return err
		}
		head := ",\n    "
		if n == 0 {
			head = fmt.Sprintf("{\n%s  %q: [\n    ", opening, l.plural)
		}
		if _, err := io.WriteString(w, head+string(data)); err != nil {
			return written(err)
		}
		n++
	}
	tail := "\n  ]\n}\n"
	if n == 0 {
		tail = fmt.Sprintf("{\n%s  %q: []\n}\n", opening, l.plural)
	}
	_, err = io.WriteString(w, tail)
	return written(err)
}

func (l list[T]) yaml(w io.Writer, before *preface, items iter.Seq2[T, error]) error {
	if err := before.yaml(w); err != nil {
		return err
	}
	n := 0
	for item, err := range items {
		if err != nil {
			return err
		}
		data, err := rpc.MarshalJSON(item)
		if err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		node, err := tree(data)
		if err != nil {
			return err
		}
		if n == 0 {
			if _, err := fmt.Fprintf(w, "%s:\n", l.plural); err != nil {
				return written(err)
			}
		}
		if err := encodeYAML(w, &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{node}}); err != nil {
			return err
		}
		n++
	}
	if n > 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s: []\n", l.plural)
	return written(err)
}

// tableChunk is how many rows a table's columns are made equal over.
const tableChunk = 1000

func (l list[T]) table(w io.Writer, items iter.Seq2[T, error]) error {
	titles := make([]string, len(l.columns))
	for i, c := range l.columns {
		titles[i] = c.title
	}
	t := newTable(w, titles...)
	for item, err := range items {
		if err != nil {
			return err
		}
		cells := make([]string, len(l.columns))
		for i, c := range l.columns {
			cells[i] = c.cell(item)
		}
		t.row(cells...)
		if len(t.rows) == tableChunk {
			if err := t.flush(); err != nil {
				return err
			}
		}
	}
	return t.flush()
}

// indent answers JSON text with two spaces to a level and prefix before every line but the first.
func indent(data []byte, prefix string) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, data, prefix, "  "); err != nil {
		return nil, fmt.Errorf("write the answer: %w", err)
	}
	return b.Bytes(), nil
}

// tree answers JSON text as a YAML tree in block style, keys in their order.
func tree(data []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("write the answer: %w", err)
	}
	plain(&doc)
	return doc.Content[0], nil
}

// plain takes the JSON style off a tree. Empty lists and maps keep theirs, since YAML has no other.
func plain(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		n.Tag = "" // the encoder quotes where a plain scalar would be no text
		switch {
		case strings.Contains(n.Value, "\n"):
			n.Style = yaml.LiteralStyle
		case ambiguous(n.Value):
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// ambiguous says whether some YAML reader takes plain text for something else than text.
func ambiguous(text string) bool {
	switch strings.ToLower(text) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return true
	}
	s, ok := v.(string)
	return !ok || s != text
}

func encodeYAML(w io.Writer, node *yaml.Node) error {
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(node); err != nil {
		return written(err)
	}
	return written(e.Close())
}

// written says that an answer could not be written; nil stays nil.
func written(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write the answer: %w", err)
}
