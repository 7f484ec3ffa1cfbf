package document

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/resource"
)

func (r *reader) mapping(n *yaml.Node) *resource.Mapping {
	m := &resource.Mapping{}
	r.object(n, "", append(r.head(&m.Meta),
		field{name: "rules", read: func(n *yaml.Node, path string) { r.rules(n, path, &m.Rules) }},
		field{name: "events", read: func(n *yaml.Node, path string) {
			m.Events = &resource.EventsMapping{}
			r.events(n, path, m.Events)
		}})...)
	return m
}

func (r *reader) events(n *yaml.Node, path string, e *resource.EventsMapping) {
	name := field{name: "name", read: func(n *yaml.Node, path string) {
		if n.Kind == yaml.MappingNode {
			r.object(n, path, text(r, "static", &e.NameStatic))
			return
		}
		if s, ok := r.textAt(n, path); ok {
			e.Name = s
		}
	}}
	r.object(n, path, text(r, "time", &e.Time), name, text(r, "user_id", &e.UserID), text(r, "device_id", &e.DeviceID), text(r, "properties", &e.Properties))
}

func (r *reader) rules(n *yaml.Node, path string, to *[]resource.Rule) {
	r.list(n, path, func(n *yaml.Node, path string) {
		rule := resource.Rule{Path: path}
		r.rule(n, path, &rule)
		*to = append(*to, rule)
	})
}

func (r *reader) rule(n *yaml.Node, path string, to *resource.Rule) {
	transform := texts(r, "transform", &to.Transform)
	list := transform.read
	transform.read = func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode {
			list(n, path)
			return
		}
		if s, ok := r.textAt(n, path); ok {
			to.Transform = []string{s}
		}
	}
	r.object(n, path,
		text(r, "column", &to.Column, "source"),
		r.value("static", &to.Static, &to.HasStatic),
		text(r, "expression", &to.Expression), text(r, "ignore", &to.Ignore), text(r, "object", &to.Object),
		field{name: "rules", read: func(n *yaml.Node, path string) { r.rules(n, path, &to.Rules) }},
		text(r, "to", &to.To, "destination"), text(r, "type", &to.Type), text(r, "on_null", &to.OnNull),
		r.value("default", &to.Default, &to.HasDefault), text(r, "on_loss", &to.OnLoss), transform)
	// A null is a value here, where everywhere else it means that the field is left out.
	root := r.resolve(n, path, depthOf(path))
	if root == nil || root.Kind != yaml.MappingNode {
		return
	}
	for name, has := range map[string]*bool{"static": &to.HasStatic, "default": &to.HasDefault} {
		if v := member(root, name); v != nil && isNull(v) {
			*has = true
		}
	}
}

// value is a field that takes any value.
func (r *reader) value(name string, to *any, has *bool) field {
	return field{name: name, read: func(n *yaml.Node, path string) { *to, *has = r.any(n, path, depthOf(path)), true }}
}

// any answers a value as the core schema has it.
func (r *reader) any(n *yaml.Node, path string, depth int) any {
	switch n.Kind {
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for i, e := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			v := r.resolve(e, at, depth+1)
			if v == nil {
				return out
			}
			out = append(out, r.any(v, at, depth+1))
		}
		return out
	case yaml.MappingNode:
		return r.anyObject(n, path, depth)
	default:
		v := scalar(n)
		if big, ok := v.(number); ok {
			r.fail(n, path, "write it as text, in quotes", "the number would not be exact")
			return string(big)
		}
		return v
	}
}

func (r *reader) anyObject(n *yaml.Node, path string, depth int) any {
	out := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := join(path, key.Value)
		if _, ok := out[key.Value]; ok || key.Kind != yaml.ScalarNode {
			r.fail(key, at, "keep one", "stands there twice or is no word")
			continue
		}
		v := r.resolve(n.Content[i+1], at, depth+1)
		if v == nil {
			return out
		}
		out[key.Value] = r.any(v, at, depth+1)
	}
	return out
}
