// Package document reads and writes resources as YAML documents, with the place of every field.
//
// Parse never stops at the first fault: it answers every resource that it could read, and every violation with file, line
// and column. Write answers documents that Parse reads back as the same resources.
package document

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// Bounds of what Parse reads.
const (
	MaxFile      = 1 << 20 // bytes of one file
	MaxDocuments = 10_000  // in all files together
	maxDepth     = 100     // levels of nesting, aliases followed
	maxNodes     = 100_000 // values of one file, aliases followed
	maxFaults    = 500     // violations that are answered; the rest is counted
)

// File is one YAML file of one or more documents.
type File struct {
	Name    string // for violations
	Content string
	// Secrets has what the client read for the references of the file, by env:NAME or file:PATH with PATH as the document
	// writes it. A missing one is a violation.
	Secrets map[string]string
	// BaseDir is what relative paths are relative to; empty: relative paths are violations.
	BaseDir string
}

// Place is where something stands: line and column count from 1.
type Place struct {
	File         string
	Line, Column int
}

// Item is one resource as a document gives it, normalized.
type Item struct {
	Resource resource.Resource
	// HasState says that a sync's document gives its state; without, what is stored stays.
	HasState bool

	start  Place
	places map[string]Place
}

// At answers where a field stands, such as rules[0].to; a field that the document lacks stands where its parent does.
func (it Item) At(field string) Place {
	for f := field; f != ""; f = parent(f) {
		if p, ok := it.places[f]; ok {
			return p
		}
	}
	return it.start
}

// parent answers the path above a field: a.b[1] → a.b → a → "".
func parent(field string) string {
	i := strings.LastIndexAny(field, ".[")
	if i < 0 {
		return ""
	}
	return field[:i]
}

// Locate answers v with its place in the document and the resource's kind and id.
func (it Item) Locate(v fault.Violation) fault.Violation {
	p := it.At(v.Field)
	v.File, v.Line, v.Column = p.File, p.Line, p.Column
	v.Kind, v.ID = string(it.Resource.ResourceKind()), it.Resource.Head().ID
	return v
}

// Set is what files hold.
type Set struct {
	Items []Item // in the order of the files
	// Warnings are worth a look and stop nothing, such as a literal secret; in the form of violations.
	Warnings []fault.Violation
}

// Parse reads files. Where there is any violation, nothing of the set should be applied; it is answered all the same, so
// that further checks can be made and everything is said at once. At most 500 violations are listed, the last of them
// says how many more there are.
func Parse(files []File) (Set, []fault.Violation) {
	var p parser
	for _, f := range files {
		p.file(f)
	}
	p.checkUnique()
	Sort(files, p.violations)
	return p.set, bounded(p.violations)
}

// Sort orders violations by where they stand, those that stand in no file last.
func Sort(files []File, vs []fault.Violation) {
	order := map[string]int{}
	for i, f := range files {
		order[f.Name] = i - len(files)
	}
	slices.SortStableFunc(vs, func(a, b fault.Violation) int {
		return cmp.Or(order[a.File]-order[b.File], a.Line-b.Line, a.Column-b.Column)
	})
}

func bounded(vs []fault.Violation) []fault.Violation {
	if len(vs) <= maxFaults {
		return vs
	}
	more := fault.Violation{Message: fmt.Sprintf("%d further violations are not listed", len(vs)-maxFaults), Fix: "mend these first"}
	return append(vs[:maxFaults:maxFaults], more)
}

// parser collects what files hold.
type parser struct {
	set        Set
	violations []fault.Violation
	documents  int
}

// checkUnique reports resources that stand twice, by id and by display name.
func (p *parser) checkUnique() {
	type key struct {
		kind  resource.Kind
		field string
		value string
	}
	first := map[key]Item{}
	for _, it := range p.set.Items {
		head := it.Resource.Head()
		if head.ID == "" {
			continue
		}
		ids := key{it.Resource.ResourceKind(), "id", head.ID}
		if other, ok := first[ids]; ok {
			p.violations = append(p.violations, it.Locate(fault.Violation{
				Field: "id", Message: "stands already at " + other.At("id").String(), Fix: "choose another id or remove one",
			}))
			continue
		}
		first[ids] = it
		names := key{it.Resource.ResourceKind(), "display_name", head.DisplayName}
		if other, ok := first[names]; ok {
			p.violations = append(p.violations, it.Locate(fault.Violation{
				Field:   "display_name",
				Message: fmt.Sprintf("is also that of %s at %s", other.Resource.Head().ID, other.At("display_name")), Fix: "choose another name",
			}))
		}
		first[names] = it
	}
}

func (p Place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }
