package millrace

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
// that they refer to. Files that could not be read are answered as violations, all of them; the documents are usable all
// the same.
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
	addSecrets(stdio, doc)
	return doc, nil
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

// addSecrets reads the secrets that the connections and alerts of a document refer to. One that cannot be read stays away, which
// the service answers as a violation at its place, as it does for YAML that does not parse.
func addSecrets(stdio IO, doc *configv1.Document) {
	dec := yaml.NewDecoder(strings.NewReader(doc.GetContent()))
	for {
		var root yaml.Node
		if err := dec.Decode(&root); err != nil {
			return
		}
		if len(root.Content) == 0 {
			continue
		}
		switch kindOf(root.Content[0]) {
		case "Connection", "Alert":
			r := secretReader{stdio: stdio, doc: doc}
			r.walk(root.Content[0])
		}
	}
}

// kindOf answers the kind of a resource, empty where it has none.
func kindOf(n *yaml.Node) string {
	if n.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "kind" {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// secretReader reads the secrets of one document.
type secretReader struct {
	stdio IO
	doc   *configv1.Document
}

// walk looks for {env: NAME} and {file: PATH}. Aliases are not followed: what they name is met where it stands.
func (r *secretReader) walk(n *yaml.Node) {
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[1].Kind == yaml.ScalarNode {
		name := n.Content[1].Value
		switch n.Content[0].Value {
		case "env":
			text, _ := r.stdio.Environ(name)
			r.add("env:"+name, text)
			return
		case "file":
			r.add("file:"+name, r.file(name))
			return
		}
	}
	for _, c := range n.Content {
		r.walk(c)
	}
}

// file answers what a file holds, empty where it cannot be read.
func (r *secretReader) file(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.doc.GetBaseDir(), path)
	}
	data, err := readFile(path, secretBytes)
	if err != nil {
		return ""
	}
	return string(data)
}

func (r *secretReader) add(reference, text string) {
	if text == "" {
		return
	}
	if r.doc.Secrets == nil {
		r.doc.Secrets = map[string]string{}
	}
	r.doc.Secrets[reference] = text
}
