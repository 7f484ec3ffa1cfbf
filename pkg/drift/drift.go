// Package drift compares the columns of a query with those of the run before, and judges what to do about the difference.
// It is pure.
package drift

import (
	"fmt"
	"slices"

	"millrace.dev/pkg/resource"
)

// Column is a column of a query.
type Column struct {
	Name  string
	Type  string // the warehouse's own
	Arrow string // the Arrow type that it is read as, as Arrow prints it
}

// Kind is how a column differs.
type Kind string

// The kinds. A column that was renamed is dropped under its old name and added under the new one.
const (
	Added    Kind = "added"
	Dropped  Kind = "dropped"
	Widened  Kind = "widened"  // each value that it could hold, it still can, and reads the same
	Narrowed Kind = "narrowed" // the other way round
	Retyped  Kind = "retyped"  // all else
)

// Change is how one column differs. Was and Is are the warehouse's types, empty where there is no such column.
type Change struct {
	Column  string
	Kind    Kind
	Was, Is string
}

// Compare answers how the columns differ, those of `was` first, each in its order. Order alone is no difference.
func Compare(was, is []Column) []Change {
	var out []Change
	now := map[string]Column{}
	for _, c := range is {
		now[c.Name] = c
	}
	known := map[string]bool{}
	for _, c := range was {
		known[c.Name] = true
		n, ok := now[c.Name]
		switch k := kindOf(c, n); {
		case !ok:
			out = append(out, Change{Column: c.Name, Kind: Dropped, Was: c.Type})
		case k != "":
			out = append(out, Change{Column: c.Name, Kind: k, Was: c.Type, Is: n.Type})
		}
	}
	for _, c := range is {
		if !known[c.Name] {
			out = append(out, Change{Column: c.Name, Kind: Added, Is: c.Type})
		}
	}
	return out
}

// Action is what a run does about a change.
type Action string

// The actions.
const (
	Ignored Action = "ignored" // the column is not read
	Mapped  Action = "mapped"  // the column is read as it is now
	Held    Action = "held"    // the run is held
)

// Verdict is what a run does about a change, and what each choice of its owner would do.
type Verdict struct {
	Change
	Action  Action
	Choices string
}

// Terms are what changes are judged by.
type Terms struct {
	Policy resource.Drift
	// Named are the columns that the mapping or the model names; one of them that was added is read.
	Named map[string]bool
	// Approved says that the columns as they are now were approved: nothing holds the run.
	Approved bool
}

// Judge answers a verdict on each change.
func Judge(changes []Change, t Terms) []Verdict {
	out := make([]Verdict, 0, len(changes))
	for _, c := range changes {
		v := Verdict{Change: c, Action: t.action(c)}
		v.Choices = choices(v, t)
		out = append(out, v)
	}
	return out
}

// Holds says whether one of the verdicts holds the run.
func Holds(vs []Verdict) bool {
	return slices.ContainsFunc(vs, func(v Verdict) bool { return v.Action == Held })
}

// Leaves answers the columns that the run does not read.
func Leaves(vs []Verdict) []string {
	var out []string
	for _, v := range vs {
		if v.Action == Ignored {
			out = append(out, v.Column)
		}
	}
	return out
}

func (t Terms) action(c Change) Action {
	switch {
	case c.Kind == Widened:
		return Mapped
	case c.Kind == Added && (t.Named[c.Column] || t.Policy.Added == resource.DriftMap):
		return Mapped
	case c.Kind == Added && t.Policy.Added != resource.DriftHold:
		return Ignored
	case t.Approved:
		return Mapped
	default:
		return Held
	}
}

// choices says what the owner can do, and what comes of it.
func choices(v Verdict, t Terms) string {
	switch {
	case v.Action == Ignored:
		return "it is left out; name it in the mapping to read it, or write drift: {added: map} to take every new column"
	case v.Action == Mapped:
		return ""
	case v.Kind == Added:
		return "approve: it is read and mapped, which the mapping must allow; or leave it out of the query, or write drift: {added: ignore}"
	case v.Kind == Dropped && t.Named[v.Column]:
		return "approve: the run fails for as long as the mapping or the data model names it; take it out there, or bring it back in the query (for one that was renamed: AS " + v.Column + ")"
	case v.Kind == Dropped:
		return "approve: the runs go on without it, and what it brought stays as it is; or bring it back in the query (for one that was renamed: AS " + v.Column + ")"
	default:
		return fmt.Sprintf("approve: it is read as %s from now on, and rows whose values come out otherwise are updated; or cast it to %s in the query", v.Is, v.Was)
	}
}
