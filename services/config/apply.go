package config

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/document"
)

// action is what a plan does to one resource.
type action string

const (
	create    action = "create"
	update    action = "change"
	unchanged action = "unchanged"
	destroy   action = "delete"
)

// planned is one line of a plan.
type planned struct {
	action action
	key    key
	fields []string
	notes  []string
	etag   string // of what is stored; empty: nothing
}

// application is one apply.
type application struct {
	workspace id.Workspace
	actor     string
	files     []document.File
	dry       bool
	prune     bool
	set       string // apply set; empty: none
	// expected are the etags that must still be stored, by kind/id; an empty one says that nothing is.
	expected map[string]string

	items   []document.Item
	secrets map[key]map[string]string // what becomes of the credentials of each resource
	sealed  map[key]resource.Confidential
	lines   []planned
}

// applied is what an apply answers.
type applied struct {
	lines    []planned
	warnings []string
	written  bool
}

// apply plans documents against what is stored and, unless dry, writes the plan as one change. All violations are one
// error.
func (s *Service) apply(ctx context.Context, a application) (applied, error) {
	parsed, violations := document.Parse(a.files)
	violations = append(violations, a.checkSet()...)
	a.items = unique(parsed.Items)
	if err := a.sealAll(ctx, s); err != nil {
		return applied{}, err
	}
	out, err := s.do(ctx, change{
		workspace: a.workspace, actor: a.actor, checks: checkAll, dry: a.dry, lenient: true, faulty: faultyOf(violations),
		plan: a.plan, planned: a.explain,
	})
	if err != nil {
		return applied{}, err
	}
	violations = append(violations, a.locate(out.violations, violations)...)
	if len(violations) > 0 {
		document.Sort(a.files, violations)
		return applied{}, fault.Of(fault.ReasonInvalidArgument, violations) //nolint:wrapcheck // born classified
	}
	done := applied{lines: a.lines, warnings: out.warnings, written: out.written}
	for _, w := range parsed.Warnings {
		done.warnings = append(done.warnings, w.String())
	}
	return done, nil
}

func (a *application) checkSet() []fault.Violation {
	m := resource.Feed{Meta: resource.Meta{ID: "x", Labels: map[string]string{resource.LabelApplySet: a.set}}}
	m.Normalize()
	switch {
	case a.prune && a.set == "":
		return []fault.Violation{{Field: "apply_set", Message: "is missing", Fix: "name the apply set whose resources prune may delete"}}
	case len(m.Validate()) > 0:
		return []fault.Violation{{Field: "apply_set", Message: "cannot be a label's value", Fix: "use at most 256 bytes of plain text"}}
	default:
		return nil
	}
}

// unique answers the items that a plan can hold: with an id, each once.
func unique(items []document.Item) []document.Item {
	var out []document.Item
	seen := map[key]bool{}
	for _, it := range items {
		k := keyOf(it.Resource)
		if resource.ValidID(k.id) && !seen[k] {
			out = append(out, it)
		}
		seen[k] = true
	}
	return out
}

func faultyOf(vs []fault.Violation) map[key]bool {
	out := map[key]bool{}
	for _, v := range vs {
		out[key{resource.Kind(v.Kind), v.ID}] = true
	}
	return out
}

// sealAll seals the credentials of the documents, before any transaction.
func (a *application) sealAll(ctx context.Context, s *Service) error {
	a.secrets, a.sealed = map[key]map[string]string{}, map[key]resource.Confidential{}
	for _, it := range a.items {
		c := secretsOf(it.Resource)
		if c == nil {
			continue
		}
		sealed, became, err := s.seal(ctx, a.workspace, c)
		if err != nil {
			return fmt.Errorf("seal the credentials of %s: %w", keyOf(c), err)
		}
		a.sealed[keyOf(c)], a.secrets[keyOf(c)] = sealed, became
	}
	return nil
}

// plan puts the documents over what is stored, and removes what prune may.
func (a *application) plan(ctx context.Context, v *view) ([]fault.Violation, error) {
	a.lines = nil
	if err := a.checkExpected(ctx, v); err != nil {
		return nil, err
	}
	var out []fault.Violation
	named := map[key]bool{}
	for _, it := range a.items {
		k := keyOf(it.Resource)
		named[k] = true
		old, err := v.before(ctx, k)
		if err != nil {
			return nil, err
		}
		r, vs := a.merge(it, old)
		out = append(out, vs...)
		line := planned{action: create, key: k}
		if old != nil {
			line.action, line.fields, line.etag = update, differences(old, r), old.Head().Etag
			if len(line.fields) == 0 {
				line.action = unchanged
			}
		}
		if line.action != unchanged {
			line.fields = withSecrets(line.fields, a.secrets[k])
			if err := v.put(ctx, r); err != nil {
				return nil, err
			}
		}
		a.lines = append(a.lines, line)
	}
	return out, a.planRemoval(ctx, v, named)
}

// checkExpected refuses to plan against something else than what the documents were written against.
func (a *application) checkExpected(ctx context.Context, v *view) error {
	for _, name := range slices.Sorted(maps.Keys(a.expected)) {
		kind, id, _ := strings.Cut(name, "/")
		old, err := v.before(ctx, key{resource.Kind(kind), id})
		if err != nil {
			return err
		}
		now := ""
		if old != nil {
			now = old.Head().Etag
		}
		if now != a.expected[name] {
			return fault.New(fault.Conflict, fault.ReasonStaleEtag, "%s has changed since the documents were written; read it again and repeat the change", name)
		}
	}
	return nil
}

// merge answers a document's resource with what it leaves to what is stored: credentials, a sync's state, and the label
// of the apply set that brought it in, which only an apply that prunes replaces by its own.
func (a *application) merge(it document.Item, old resource.Resource) (resource.Resource, []fault.Violation) {
	k := keyOf(it.Resource)
	r := clone(it.Resource)
	var out []fault.Violation
	if c, ok := a.sealed[k]; ok {
		r = clone(c)
		out = keepSecrets(secretsOf(r), secretsOf(old), nil)
		out = append(out, refuseMoved(secretsOf(it.Resource), secretsOf(r), secretsOf(old))...)
	}
	m := r.Head()
	m.Workspace, m.Labels = a.workspace, maps.Clone(m.Labels)
	label := a.set
	if old != nil && !a.prune {
		label = cmp.Or(old.Head().Labels[resource.LabelApplySet], label)
	}
	if label != "" {
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		m.Labels[resource.LabelApplySet] = label
	}
	sync, ok := r.(*resource.Sync)
	was, had := old.(*resource.Sync)
	if !ok {
		return r, out
	}
	if had {
		sync.Status, sync.Reason, sync.NextStep = was.Status, was.Reason, was.NextStep
	}
	if had && !it.HasState {
		sync.State = was.State
	}
	if sync.State == resource.Active && (!had || was.State != resource.Active) {
		sync.Status, sync.Reason, sync.NextStep = resource.Healthy, "", ""
	}
	return r, out
}

// withSecrets writes behind each credential what becomes of it.
func withSecrets(fields []string, became map[string]string) []string {
	for i, f := range fields {
		if w, ok := became[f]; ok {
			fields[i] = f + " " + w
		}
	}
	for _, f := range slices.Sorted(maps.Keys(became)) {
		if text := f + " " + became[f]; !slices.Contains(fields, text) {
			fields = append(fields, text)
		}
	}
	return fields
}

// planRemoval removes what carries the label of this apply set and stands in no document, users before what they use.
func (a *application) planRemoval(ctx context.Context, v *view, named map[key]bool) error {
	if !a.prune || a.set == "" {
		return nil
	}
	carriers, err := labelled(ctx, v.tx, v.workspace, resource.LabelApplySet, a.set)
	if err != nil {
		return fmt.Errorf("find what the apply set brought in: %w", err)
	}
	for _, kind := range slices.Backward(resource.Kinds()) {
		for _, k := range carriers {
			if k.kind == kind && !named[k] {
				old, err := v.before(ctx, k)
				if err != nil {
					return err
				}
				v.remove(k)
				a.lines = append(a.lines, planned{action: destroy, key: k, etag: old.Head().Etag})
			}
		}
	}
	return nil
}

// locate says where in the documents each violation stands. What follows from one that is said of the same field already
// is left out.
func (a *application) locate(vs, said []fault.Violation) []fault.Violation {
	var out []fault.Violation
	for _, v := range vs {
		if slices.ContainsFunc(said, func(s fault.Violation) bool { return s.Kind == v.Kind && s.ID == v.ID && related(s.Field, v.Field) }) {
			continue
		}
		for _, it := range a.items {
			if k := keyOf(it.Resource); string(k.kind) == v.Kind && k.id == v.ID {
				v = it.Locate(v)
			}
		}
		out = append(out, v)
	}
	return out
}

// related says whether two fields are the same, or one is above the other.
func related(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a)
	return ok && (rest == "" || a != "" && (rest[0] == '.' || rest[0] == '['))
}
