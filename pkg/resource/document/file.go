package document

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// file reads the documents of one file, up to the first place that is not YAML.
func (p *parser) file(f File) {
	if len(f.Content) > MaxFile {
		p.broken(Place{f.Name, 1, 1}, fmt.Sprintf("the file has %d bytes, and %d are allowed", len(f.Content), MaxFile), "split it")
		return
	}
	if at, ok := invalidText(f); ok {
		p.broken(at, "the file is not UTF-8 text", "save it as UTF-8")
		return
	}
	budget := maxNodes
	nodes, err := documents(f.Content)
	for _, n := range nodes {
		if p.documents++; p.documents > MaxDocuments {
			p.broken(place(f.Name, n), fmt.Sprintf("there are more than %d documents", MaxDocuments), "apply them in several sets")
			return
		}
		r := &reader{parser: p, file: f, budget: &budget}
		r.document(n)
		if r.spent {
			return
		}
	}
	if err != nil {
		line, what := syntax(err)
		p.broken(Place{f.Name, line, 1}, "the file is not YAML: "+what, "mend its form")
	}
}

func (p *parser) broken(at Place, message, fix string) {
	p.violations = append(p.violations, fault.Violation{File: at.File, Line: at.Line, Column: at.Column, Message: message, Fix: fix})
}

// documents answers the root of each document that is not empty. With an error, those before it.
func documents(content string) ([]*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(content))
	var out []*yaml.Node
	for {
		var n yaml.Node
		switch err := dec.Decode(&n); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return out, fmt.Errorf("decode: %w", err)
		}
		if n.Kind == yaml.DocumentNode && len(n.Content) == 1 && !isNull(n.Content[0]) {
			out = append(out, n.Content[0])
		}
		if len(out) > MaxDocuments {
			return out, nil
		}
	}
}

// syntax answers the line and the text of the YAML library's error, which has no type.
func syntax(err error) (int, string) {
	text := err.Error()
	if inner := errors.Unwrap(err); inner != nil {
		text = inner.Error()
	}
	text = strings.TrimPrefix(text, "yaml: ")
	var line int
	if n, err := fmt.Sscanf(text, "line %d:", &line); err == nil && n == 1 {
		_, rest, _ := strings.Cut(text, ": ")
		return max(line, 1), rest
	}
	return 1, text
}

// invalidText answers the first place that is no UTF-8.
func invalidText(f File) (Place, bool) {
	if utf8.ValidString(f.Content) {
		return Place{}, false
	}
	at := Place{File: f.Name, Line: 1, Column: 1}
	for i, r := range f.Content {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(f.Content[i:]); size == 1 {
				break
			}
		}
		at.Column++
		if r == '\n' {
			at.Line, at.Column = at.Line+1, 1
		}
	}
	return at, true
}

func place(file string, n *yaml.Node) Place { return Place{file, max(n.Line, 1), max(n.Column, 1)} }

// reference is a secret, or a text, that a document refers to and that the client reads.
type reference struct {
	env  string // name of an environment variable
	file string // path as the document writes it
}

// key answers the reference as File.Secrets has it.
func (r reference) key() string {
	if r.env != "" {
		return keyEnv + r.env
	}
	return keyFile + r.file
}

const (
	keyEnv  = "env:"
	keyFile = "file:"
)

// kindOf reads a document's kind, or a vendor's word for it.
func kindOf(s string) (resource.Kind, bool) {
	switch k := resource.Kind(s); k {
	case resource.KindConnection, resource.KindFeed, resource.KindDataModel, resource.KindMapping, resource.KindSync, resource.KindAlert:
		return k, true
	case "Pipeline", "pipeline":
		return resource.KindSync, true
	default:
		return "", false
	}
}
