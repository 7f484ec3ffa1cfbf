package document

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/resource"
)

// secret is a field of a credential: {env: NAME}, {file: PATH}, {kept: true}, or a literal, which gets a warning.
func (r *reader) secret(name string, to *resource.Secret) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		if n.Kind == yaml.ScalarNode {
			if s, ok := r.textAt(n, path); ok && s != "" {
				*to = resource.Secret{Plain: s}
				r.set.Warnings = append(r.set.Warnings,
					r.violation(n, path, "write {env: NAME} or {file: PATH} and change the secret", "the secret itself stands in the document"))
			}
			return
		}
		if s, kept, ok := r.reference(n, path, true); ok {
			*to = resource.Secret{Plain: s, Kept: kept}
		}
	}}
}

// textOrReference is a field of text that may also be read by the client.
func (r *reader) textOrReference(name string, to *string) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		if n.Kind == yaml.ScalarNode {
			if s, ok := r.textAt(n, path); ok {
				*to = s
			}
			return
		}
		if s, _, ok := r.reference(n, path, false); ok {
			*to = s
		}
	}}
}

// reference reads {env: NAME}, {file: PATH} or, where mayKeep, {kept: true}.
func (r *reader) reference(n *yaml.Node, path string, mayKeep bool) (value string, kept, ok bool) {
	var ref reference
	fields := []field{text(r, "env", &ref.env), text(r, "file", &ref.file)}
	if mayKeep {
		fields = append(fields, field{name: "kept", read: func(n *yaml.Node, path string) {
			if v, isBool := scalar(n).(bool); n.Kind != yaml.ScalarNode || !isBool || !v {
				r.fail(n, path, "write kept: true, or give the secret", "must be true")
				return
			}
			kept = true
		}})
	}
	before := len(r.violations)
	if !r.object(n, path, fields...) || len(r.violations) > before {
		return "", false, false
	}
	given := 0
	for _, b := range []bool{ref.env != "", ref.file != "", kept} {
		if b {
			given++
		}
	}
	if given != 1 {
		r.fail(n, path, "write exactly one of env, file"+map[bool]string{true: " and kept"}[mayKeep], "names %d sources", given)
		return "", false, false
	}
	if kept {
		return "", true, true
	}
	return r.lookUp(n, path, ref)
}

// lookUp answers what the client read for a reference. A file's last line end is not part of the secret.
func (r *reader) lookUp(n *yaml.Node, path string, ref reference) (string, bool, bool) {
	v := r.file.Secrets[ref.key()]
	if ref.file != "" {
		v = strings.TrimSuffix(strings.TrimSuffix(v, "\n"), "\r")
	}
	switch {
	case v != "":
		return v, false, true
	case ref.env != "":
		r.fail(n, path, "set it and apply again", "the environment variable %s is not set", clip(ref.env))
	default:
		r.fail(n, path, "name a file that you can read", "the file %s is missing, empty or cannot be read", clip(ref.file))
	}
	return "", false, false
}
