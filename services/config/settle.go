package config

import (
	"context"
	"fmt"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// settle reports what the changes of a view break between resources: names that are taken, references to nothing, users
// of what is removed, parts that do not go together, and syncs that wait for each other.
func (v *view) settle(ctx context.Context) ([]fault.Violation, error) {
	var out []fault.Violation
	for _, k := range v.order {
		check := v.checkChanged
		if v.removed[k] {
			check = v.checkRemoved
		}
		vs, err := check(ctx, k)
		if err != nil {
			return nil, err
		}
		out = append(out, vs...)
	}
	affected, err := v.affected(ctx)
	if err != nil {
		return nil, err
	}
	said := map[string]bool{}
	for _, k := range affected {
		s, whole, err := v.snapshot(ctx, k)
		if err != nil {
			return nil, err
		}
		if !whole {
			continue // said where the reference stands
		}
		for _, f := range s.Validate() {
			if !said[f.String()] {
				out = append(out, f)
			}
			said[f.String()] = true
		}
	}
	return out, nil
}

func violation(k key, field, fix, format string, args ...any) fault.Violation {
	return fault.Violation{Kind: string(k.kind), ID: k.id, Field: field, Message: fmt.Sprintf(format, args...), Fix: fix}
}

func (v *view) checkChanged(ctx context.Context, k key) ([]fault.Violation, error) {
	r := v.changed[k]
	out, err := v.checkName(ctx, k, r.Head().DisplayName)
	if err != nil {
		return nil, err
	}
	refs, err := v.checkReferences(ctx, k, r)
	if err != nil {
		return nil, err
	}
	out = append(out, refs...)
	if s, ok := r.(*resource.Sync); ok && len(s.Schedule.After) > 0 {
		loop, err := v.waits(ctx, k, s.Schedule.After, map[string]bool{})
		if err != nil {
			return nil, err
		}
		if loop {
			out = append(out, violation(k, "schedule.after", "break the circle", "%s would wait for itself", k.id))
		}
	}
	return out, nil
}

func (v *view) checkName(ctx context.Context, k key, name string) ([]fault.Violation, error) {
	taken, err := namedAlike(ctx, v.tx, v.workspace, k.kind, name)
	if err != nil {
		return nil, err
	}
	for _, other := range v.order {
		if r := v.changed[other]; r != nil && other.kind == k.kind && r.Head().DisplayName == name {
			taken = append(taken, other)
		}
	}
	for _, other := range taken {
		if other == k || v.removed[other] {
			continue
		}
		if r := v.changed[other]; r != nil && r.Head().DisplayName != name {
			continue
		}
		return []fault.Violation{violation(k, "display_name", "choose another name", "%q is also that of %s", name, other.id)}, nil
	}
	return nil, nil
}

func (v *view) checkReferences(ctx context.Context, k key, r resource.Resource) ([]fault.Violation, error) {
	var out []fault.Violation
	syncs, list := 0, "schedule.after"
	if k.kind == resource.KindAlert {
		list = "syncs"
	}
	for _, to := range references(r) {
		field := fieldOf(to.kind)
		if to.kind == resource.KindSync {
			field = fmt.Sprintf("%s[%d]", list, syncs)
			syncs++
		}
		if to.id == "" || to.kind == resource.KindFeed && to.id == resource.DefaultFeed {
			continue
		}
		target, err := v.get(ctx, to)
		if err != nil {
			return nil, err
		}
		if target == nil && to != k {
			out = append(out, violation(k, field, "create it, or name another", "there is no %s", to))
		}
	}
	return out, nil
}

// fieldOf answers the field that refers to a kind.
func fieldOf(k resource.Kind) string {
	switch k {
	case resource.KindConnection:
		return "connection"
	case resource.KindDataModel:
		return "data_model"
	case resource.KindMapping:
		return "mapping"
	default:
		return "feed"
	}
}

// waits says whether k is among what the syncs wait for, directly or not. seen are those looked at before.
func (v *view) waits(ctx context.Context, k key, after []string, seen map[string]bool) (bool, error) {
	for _, id := range after {
		if id == k.id && len(seen) > 0 {
			return true, nil
		}
		if seen[id] || id == k.id {
			continue
		}
		seen[id] = true
		r, err := v.get(ctx, key{resource.KindSync, id})
		if err != nil {
			return false, err
		}
		if s, ok := r.(*resource.Sync); ok {
			if loop, err := v.waits(ctx, k, s.Schedule.After, seen); loop || err != nil {
				return loop, err
			}
		}
	}
	return false, nil
}

func (v *view) checkRemoved(ctx context.Context, k key) ([]fault.Violation, error) {
	users, err := v.users(ctx, k)
	if err != nil || len(users) == 0 || isBuiltIn(k) {
		return nil, err
	}
	return []fault.Violation{violation(k, "", "delete them first, or let them name another", "cannot be deleted: it is used by %s", names(users))}, nil
}

// isBuiltIn says whether k is there without being stored.
func isBuiltIn(k key) bool { return k == key{resource.KindFeed, resource.DefaultFeed} }

// maxNamed bounds how many users a message names.
const maxNamed = 20

// names lists resources for people.
func names(ks []key) string {
	var out []string
	for i, k := range ks {
		if i == maxNamed {
			out = append(out, fmt.Sprintf("%d more", len(ks)-i))
			break
		}
		out = append(out, k.String())
	}
	return strings.Join(out, ", ")
}
