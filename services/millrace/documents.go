package millrace

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

// The sizes of what apply takes: one document, one secret, all of it together.
const (
	documentBytes = 1 << 20
	secretBytes   = 64 << 10
	applyBytes    = 3 << 20
)

// readDocuments reads the YAML files that paths name, files of a folder in the order of their names, with the secrets
// that they refer to. What could not be read is answered as violations, all of them; the documents are usable all the
// same.
func readDocuments(stdio IO, paths []string) ([]*configv1.Document, []fault.Violation) {
	var (
		docs  []*configv1.Document
		bad   []fault.Violation
		total int
		seen  = map[string]bool{}
	)
	for _, path := range paths {
		files, v := expand(path)
		bad = append(bad, v...)
		for _, file := range files {
			if seen[filepath.Clean(file)] {
				continue
			}
			seen[filepath.Clean(file)] = true
			doc, v := readDocument(stdio, file)
			bad = append(bad, v...)
			if doc != nil {
				docs = append(docs, doc)
				total += len(doc.GetContent())
			}
		}
	}
	if total > applyBytes {
		bad = append(bad, fault.Violation{Message: "the documents together are larger than 3 MiB", Fix: "apply them in several steps"})
	}
	return docs, bad
}

// expand answers the files that a path names: itself, or the .yaml and .yml files of a folder.
func expand(path string) ([]string, []fault.Violation) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, []fault.Violation{{File: path, Line: 1, Column: 1, Message: "the folder holds no .yaml or .yml file", Fix: "name the folder or the file that holds the documents"}}
	}
	return files, nil
}

// unreadable says in one violation why a file cannot be read.
func unreadable(path string, err error) []fault.Violation {
	v := fault.Violation{File: path, Line: 1, Column: 1, Message: "cannot be read: " + cause(err), Fix: "check the path and its permissions"}
	if errors.Is(err, fs.ErrNotExist) {
		v.Message, v.Fix = "no such file or folder", "check the path"
	}
	return []fault.Violation{v}
}

// cause answers an error of the file system without the path.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func readDocument(stdio IO, path string) (*configv1.Document, []fault.Violation) {
	name, folder := path, filepath.Dir(path)
	var (
		data []byte
		err  error
	)
	if path == "-" {
		name, folder = "stdin", "."
		data, err = readBounded(stdio.In, documentBytes)
	} else {
		data, err = readFile(path, documentBytes)
	}
	if err != nil {
		return nil, unreadable(name, err)
	}
	base, err := filepath.Abs(folder)
	if err != nil {
		return nil, unreadable(name, err)
	}
	doc := &configv1.Document{File: name, Content: string(data), BaseDir: base}
	bad := addSecrets(stdio, doc)
	return doc, bad
}

// errTooLarge says that a file is above its bound.
var errTooLarge = errors.New("it is too large")

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, err //nolint:wrapcheck // turned into a violation
	}
	defer f.Close() //nolint:errcheck // only read
	return readBounded(f, limit)
}

func readBounded(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errTooLarge
	}
	return data, err //nolint:wrapcheck // turned into a violation
}

// addSecrets reads the secrets that the connections of a document refer to. YAML that does not parse is left for the
// server to complain about.
func addSecrets(stdio IO, doc *configv1.Document) []fault.Violation {
	var bad []fault.Violation
	dec := yaml.NewDecoder(bytes.NewReader([]byte(doc.GetContent())))
	for {
		var root yaml.Node
		if err := dec.Decode(&root); err != nil {
			return bad
		}
		if len(root.Content) == 0 || value(root.Content[0], "kind") != "Connection" {
			continue
		}
		r := secretReader{stdio: stdio, doc: doc, id: value(root.Content[0], "id")}
		r.walk(root.Content[0], nil)
		bad = append(bad, r.bad...)
	}
}

// value answers the text of a key of a map, empty where there is none.
func value(n *yaml.Node, key string) string {
	if n.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i+1].Kind == yaml.ScalarNode {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// secretReader reads the secrets of one connection.
type secretReader struct {
	stdio IO
	doc   *configv1.Document
	id    string
	bad   []fault.Violation
}

// walk looks for {env: NAME} and {file: PATH}. Aliases are not followed: what they name is met where it stands.
func (r *secretReader) walk(n *yaml.Node, path []string) {
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[1].Kind == yaml.ScalarNode {
		switch n.Content[0].Value {
		case "env":
			r.env(n, path)
			return
		case "file":
			r.file(n, path)
			return
		}
	}
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			r.walk(c, path)
		}
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		r.walk(n.Content[i+1], append(slices.Clip(path), n.Content[i].Value))
	}
}

func (r *secretReader) env(n *yaml.Node, path []string) {
	name := n.Content[1].Value
	text, ok := r.stdio.Environ(name)
	if !ok || text == "" {
		r.fault(n, path, "environment variable "+name+" is not set", "set it where apply runs")
		return
	}
	r.add("env:"+name, text)
}

func (r *secretReader) file(n *yaml.Node, path []string) {
	name := n.Content[1].Value
	full := name
	if !filepath.IsAbs(full) {
		full = filepath.Join(r.doc.GetBaseDir(), full)
	}
	data, err := readFile(full, secretBytes)
	switch {
	case err != nil:
		r.fault(n, path, "file "+name+" cannot be read: "+cause(err), "check the path, which is relative to the document's folder")
		return
	case len(bytes.TrimSpace(data)) == 0:
		r.fault(n, path, "file "+name+" is empty", "put the secret into it")
		return
	}
	r.add("file:"+name, strings.TrimRight(string(data), "\r\n"))
}

func (r *secretReader) add(reference, text string) {
	if r.doc.Secrets == nil {
		r.doc.Secrets = map[string]string{}
	}
	r.doc.Secrets[reference] = text
}

func (r *secretReader) fault(n *yaml.Node, path []string, message, fix string) {
	r.bad = append(r.bad, fault.Violation{
		File: r.doc.GetFile(), Line: n.Line, Column: n.Column, Kind: "Connection", ID: r.id,
		Field: strings.Join(path, "."), Message: message, Fix: fix,
	})
}
