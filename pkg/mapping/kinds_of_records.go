package mapping

import (
	"fmt"
	"slices"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
)

// KindOf answers what the rows of a model become.
func KindOf(k resource.RecordKind) record.Kind {
	switch k {
	case resource.Events:
		return record.Events
	case resource.Groups:
		return record.Groups
	case resource.Lookup:
		return record.Lookup
	case resource.ProfileHistory:
		return record.History
	case resource.Users:
	}
	return record.Users
}

// catalogueOf answers the root of the fields of a record kind; groups says that its records are of groups.
func catalogueOf(k record.Kind, groups bool) *spec {
	open := func(name string) *spec { return &spec{name: name, form: formOpen} }
	switch {
	case k == record.Lookup:
		return &spec{form: formObject, fields: []*spec{open(record.ColumnLookup)}}
	case groups:
		return &spec{form: formObject, fields: []*spec{open(record.ColumnGroup)}}
	}
	return catalogue(k == record.Events)
}

// about says whether the records are about people, whose identities rules map.
func (c *compiler) about() bool { return c.kind != record.Lookup && c.model.GroupType == "" }

// attributes answers the object that takes what is not mapped elsewhere.
func (c *compiler) attributes() string {
	switch {
	case c.kind == record.Lookup:
		return record.ColumnLookup
	case c.model.GroupType != "":
		return record.ColumnGroup
	}
	return record.ColumnAttributes
}

// modelLeaves makes the values that the model itself names: the id of a group, the start of a version, and the key of a
// lookup row beside its other fields.
func (c *compiler) modelLeaves() {
	if c.model.GroupType != "" {
		c.modelLeaf("key_columns", c.groupColumn(), &spec{name: c.model.GroupType, form: formText, identity: true}, "group_id", "string")
	}
	if c.kind == record.History {
		c.refuseNested()
		c.modelLeaf("start_time", c.model.StartTime, &spec{name: record.FieldStartTime, form: formMillis}, record.FieldStartTime, "")
	}
}

// groupColumn answers the key column that holds the group's id.
func (c *compiler) groupColumn() string {
	for _, k := range c.model.KeyColumns {
		if k != c.model.StartTime {
			return k
		}
	}
	return ""
}

func (c *compiler) modelLeaf(field, column string, s *spec, path, typ string) {
	if _, ok := c.named[column]; !ok {
		return // said by checkModel
	}
	l, ok := c.newLeaf(assignment{rule: resource.Rule{Column: column, Type: typ}, at: field}, s, path, -1)
	if !ok {
		c.faults[len(c.faults)-1].Field = field
		return
	}
	c.leaves = append(c.leaves, l)
}

// refuseNested reports attributes of a history that are lists or objects.
func (c *compiler) refuseNested() {
	n := c.root.kid(c.attributes())
	if n == nil {
		return
	}
	for _, at := range leavesOf(n) {
		l := c.leaves[at]
		if l.json || l.open || slices.Contains([]string{"list", "struct", "map"}, l.typ.Name()) {
			c.fault(l.rule, fmt.Sprintf("%s is a list or an object, which profile_history cannot hold", l.path), "cast it to text in SQL, or ignore the column")
		}
	}
}

// leafOf answers the position of the leaf of a path; −1: none.
func (c *compiler) leafOf(path string) int {
	return slices.IndexFunc(c.leaves, func(l *leaf) bool { return l.path == path })
}

// body answers the node that the body column is built from.
func (c *compiler) body() *node {
	name := c.attributes()
	if c.events {
		name = "events"
	}
	n := c.root.kid(name)
	if n == nil {
		n = &node{name: name, spec: c.root.spec.find(name)}
	}
	if c.kind != record.History {
		return n
	}
	attributes := *n
	attributes.name = record.FieldAttributes
	return &node{name: record.ColumnHistory, spec: &spec{form: formObject}, kids: []*node{
		{name: record.FieldStartTime, spec: &spec{form: formMillis}, leaf: c.leafOf(record.FieldStartTime) + 1}, &attributes,
	}}
}

// kindNeeds answers what records that are no events must have.
func (c *compiler) kindNeeds() []need {
	var out []need
	if c.about() {
		out = append(out, need{name: "identity", leaves: leavesOf(c.root.kid("user_identities"))})
	}
	if at := c.leafOf("group_id"); at >= 0 {
		out = append(out, need{name: "group_id", leaves: []int{at}})
	}
	if at := c.leafOf(record.FieldStartTime); at >= 0 {
		out = append(out, need{name: record.FieldStartTime, leaves: []int{at}})
	}
	return out
}

// wholeKey says whether a NULL in any key column makes a row a reject, and not only one in all of them.
func (p *Program) wholeKey() bool { return p.kind != record.Users && p.kind != record.Events }

// checkWholeKeys makes rejects of rows with a NULL in the key.
func (p *Program) checkWholeKeys(c *call) {
	for _, at := range p.keys {
		col := c.rec.Column(at)
		if col.NullN() == 0 {
			continue
		}
		for i := range c.n {
			if col.IsNull(i) {
				c.failAt(i, p.columns[at], "key_null", "the key is NULL; leave such rows out in SQL, or choose other key_columns")
			}
		}
	}
}
