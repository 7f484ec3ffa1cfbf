package mapping

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// node is a field of the records as rules fill it: a value, an object or a list.
type node struct {
	name  string
	index int // of an element of a list
	spec  *spec
	list  bool
	kids  []*node
	leaf  int // position in leaves + 1; 0: none
	opens []int
}

func (n *node) kid(name string) *node {
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	return nil
}

func (n *node) ensure(s *spec, name string) *node {
	if k := n.kid(name); k != nil {
		return k
	}
	k := &node{name: name, spec: s}
	n.kids = append(n.kids, k)
	return k
}

// element answers the node of an element of the list n, keeping elements in order.
func (n *node) element(index int) *node {
	n.list = true
	at, ok := slices.BinarySearchFunc(n.kids, index, func(k *node, i int) int { return k.index - i })
	if !ok {
		s := *n.spec
		s.list = false
		n.kids = slices.Insert(n.kids, at, &node{name: "[" + strconv.Itoa(index) + "]", index: index, spec: &s})
	}
	return n.kids[at]
}

// leaf is a value of the records: where it comes from, what is done to it and how it is kept.
type leaf struct {
	path     string // canonical
	rule     string // rules[1].rules[0]
	source   string // column, or columns of an expression, for rejects
	column   int    // −1: none
	member   int    // of a STRUCT column that is opened; −1: none
	static   arrow.Array
	expr     *expression
	ops      []op
	typ      arrow.DataType
	json     bool
	open     bool
	clears   bool
	identity string

	clearHash row.Hash // what a NULL that clears adds to the record hash
}

// place finds the node that an assignment leads to and fills it.
func (c *compiler) place(a assignment) {
	segments := a.dest.segments
	if a.dest.star {
		segments = append(slices.Clone(segments), segment{name: a.rule.Column, index: -1})
	}
	c.placeAt(a, segments, -1)
}

func (c *compiler) placeAt(a assignment, segments []segment, member int) {
	n, path, ok := c.descend(a, segments)
	if !ok {
		return
	}
	if n.spec.isObject() && !n.list {
		c.fillObject(a, n, path, segments)
		return
	}
	if n.leaf > 0 {
		c.twice(a, n, path)
		return
	}
	if len(n.kids) > 0 || len(n.opens) > 0 {
		c.fault(a.at+".to", path+" is filled field by field by other rules", "give one value, or its fields")
		return
	}
	l, ok := c.newLeaf(a, n.spec, path, member)
	if !ok {
		return
	}
	c.leaves = append(c.leaves, l)
	n.leaf = len(c.leaves)
}

func (c *compiler) twice(a assignment, n *node, path string) {
	was := c.leaves[n.leaf-1]
	what := "two rules fill " + path
	switch {
	case n.spec.identity:
		what = fmt.Sprintf("columns %q and %q are mapped to one identity, %s", was.source, a.sourceName(), path)
	case was.source != "" && a.sourceName() != "":
		what = fmt.Sprintf("columns %q and %q are mapped to one field, %s", was.source, a.sourceName(), path)
	}
	if was.rule != a.at {
		what += " (the other rule is " + was.rule + ")"
	}
	c.fault(a.at+".to", what, "leave one of them out, or merge them in an expression")
}

func (a assignment) sourceName() string { return a.rule.Column }

// descend walks the tree along the segments, making nodes, and answers the node and its canonical path.
func (c *compiler) descend(a assignment, segments []segment) (*node, string, bool) {
	n, path := c.root, ""
	if len(segments) > 1 && segments[0].name == "device_info" {
		segments = c.deviceInfo(segments)
	}
	for i := 0; i < len(segments); i++ {
		seg := segments[i]
		if n.leaf > 0 {
			c.fault(a.at+".to", fmt.Sprintf("%s is a value by rule %s", path, c.leaves[n.leaf-1].rule), "give one value, or its fields")
			return nil, "", false
		}
		s, m := step(n.spec, path, segments[i:])
		if m.bad() {
			c.fault(a.at+".to", m.what, m.fix)
			return nil, "", false
		}
		if s == n.spec.implied && s != nil && s.name != seg.name {
			i-- // the implied object is entered, the segment is still to be walked
			seg = segment{name: s.name, index: -1}
		}
		n = n.ensure(s, s.name)
		path = strings.TrimPrefix(path+"."+escape(s.name), ".")
		last := i == len(segments)-1
		if n, path, m = c.indexed(n, path, seg, last); m.bad() {
			c.fault(a.at+".to", m.what, m.fix)
			return nil, "", false
		}
	}
	if n == c.root {
		c.fault(a.at+".to", "names no field", "begin with "+c.root.spec.names())
		return nil, "", false
	}
	return n, path, true
}

// deviceInfo turns device_info.NAME into the identity that it is, or for events into data.device_info.NAME.
func (c *compiler) deviceInfo(segments []segment) []segment {
	if t := identityType(segments[1].name); len(segments) == 2 && isDeviceType(t) {
		return []segment{{name: "user_identities", index: -1}, {name: t, index: -1}}
	}
	if !c.events {
		return segments
	}
	return append([]segment{{name: "events", index: -1}, {name: "data", index: -1}}, segments...)
}

// step answers the field of s that the first of the segments names. An implied object is answered in its field's stead.
func step(s *spec, path string, segments []segment) (*spec, mend) {
	seg := segments[0]
	switch {
	case s.form == formOpen:
		return freeField(path, segments)
	case len(s.fields) == 0:
		return nil, mend{path + " is a value and has no fields", "a dot means descent; end the path with " + s.name}
	}
	name := seg.name
	if s.name == "user_identities" && identityType(name) != "" {
		name = identityType(name)
	}
	if f := s.find(name); f != nil {
		return f, mend{}
	}
	if s.implied != nil && s.implied.find(name) != nil {
		return s.implied, mend{}
	}
	return nil, unknownField(s, path, segments)
}

// freeField answers the field of an object of any fields.
func freeField(path string, segments []segment) (*spec, mend) {
	seg := segments[0]
	if len(segments) > 1 {
		full := path + "." + seg.text()
		return nil, mend{full + " is no known object, and a dot means descent", "write a name with a dot as " + path + "." + dotted(segments)}
	}
	if seg.reserved && (path != "user_attributes" || !slices.Contains(reservedAttributes(), seg.name)) {
		return nil, mend{
			fmt.Sprintf("%s is no reserved attribute", seg.name),
			"use one of " + strings.Join(reservedAttributes(), " ") + " in user_attributes, or write {{'" + seg.name + "'}} for a name of your own",
		}
	}
	return &spec{name: seg.name}, mend{}
}

// dotted answers the segments as one escaped name.
func dotted(segments []segment) string {
	names := make([]string, len(segments))
	for i, s := range segments {
		names[i] = s.name
	}
	return "{{'" + strings.ReplaceAll(strings.Join(names, "."), "'", "''") + "'}}"
}

func unknownField(s *spec, path string, segments []segment) mend {
	name := segments[0].text()
	switch {
	case path == "" && slices.Contains([]string{"user_identities", "user_attributes", "events", record.ColumnGroup, record.ColumnLookup}, segments[0].name):
		return mend{name + " are mapped by models of another record kind", "begin with " + s.names()}
	case path == "" && len(segments) == 1:
		return mend{name + " is no known object", "begin with " + s.names() + ", as in " + s.fields[len(s.fields)-1].name + "." + name}
	case path == "":
		return mend{name + " is no known object", "begin with " + s.names() + "; a dot means descent, a name with a dot is written as " + dotted(segments)}
	case s.name == "user_identities":
		return mend{name + " is no identity type", "use one of " + s.names()}
	case path == "events":
		return mend{name + " is no field of events", "use event_type or a field of data; values of your own go to events.data.custom_attributes." + name}
	case path == "events.data":
		return mend{name + " is no field of events.data", "values of your own go to events.data.custom_attributes." + dottedOrPlain(segments)}
	}
	return mend{name + " is no field of " + path, "use one of " + s.names()}
}

func dottedOrPlain(segments []segment) string {
	if len(segments) == 1 {
		return segments[0].text()
	}
	return dotted(segments)
}

// indexed applies a segment's index.
func (c *compiler) indexed(n *node, path string, seg segment, last bool) (*node, string, mend) {
	switch {
	case seg.index >= 0 && !n.spec.list && (n.spec.form != formValue || n.spec.identity):
		return n, path, mend{path + " is no list", "leave the index out"}
	case seg.index >= 0 && (n.leaf > 0 || len(n.opens) > 0):
		return n, path, mend{path + " is filled as a whole by another rule", "give the list, or its elements"}
	case seg.index >= 0:
		return n.element(seg.index), path + "[" + strconv.Itoa(seg.index) + "]", mend{}
	case n.list:
		return n, path, mend{path + " is filled element by element by other rules", "write " + path + "[0]"}
	case n.spec.list && !last:
		return n, path, mend{path + " is a list", "write " + path + "[0]"}
	}
	return n, path, mend{}
}

// fillObject opens a STRUCT or JSON value into the fields of an object.
func (c *compiler) fillObject(a assignment, n *node, path string, segments []segment) {
	if n.spec.list {
		c.fillList(a, n, path)
		return
	}
	if st, ok := c.structColumn(a); ok {
		for i, f := range st.Fields() {
			c.placeAt(a, append(slices.Clone(segments), segment{name: f.Name, index: -1}), i)
		}
		return
	}
	if n == c.root || path == "user_identities" || path == "events" || path == "events.data" {
		c.fault(a.at+".to", path+" is an object whose fields are mapped one by one", "map to its fields: "+n.spec.names())
		return
	}
	l, ok := c.openLeaf(a, n, path)
	if !ok {
		return
	}
	c.leaves = append(c.leaves, l)
	n.opens = append(n.opens, len(c.leaves)-1)
}

// fillList fills a whole list from a list or JSON value.
func (c *compiler) fillList(a assignment, n *node, path string) {
	if n.leaf > 0 {
		c.twice(a, n, path)
		return
	}
	l, ok := c.newLeaf(a, &spec{name: n.name}, path, -1)
	if !ok {
		return
	}
	if l.typ.ID() != arrow.LIST && !l.json {
		c.fault(a.at+".to", path+" is a list", "write "+path+"[0], or map a list or JSON value")
		return
	}
	c.leaves = append(c.leaves, l)
	n.leaf = len(c.leaves)
}

// structColumn answers the type of a STRUCT column that is to be opened.
func (c *compiler) structColumn(a assignment) (*arrow.StructType, bool) {
	at, ok := c.named[a.rule.Column]
	if !ok || a.rule.Type == "json" {
		return nil, false
	}
	st, ok := c.in.Field(at).Type.(*arrow.StructType)
	return st, ok
}

// checkLists finds lists with gaps, and lists whose elements cannot stand in one Arrow list.
func (c *compiler) checkLists(n *node, path string) {
	for _, k := range n.kids {
		here := path + "." + escape(k.name)
		if n.list {
			here = path + k.name
		}
		here = strings.TrimPrefix(here, ".")
		c.checkLists(k, here)
	}
	if !n.list {
		return
	}
	for i, k := range n.kids {
		if k.index != i {
			c.fault("rules", fmt.Sprintf("%s[%d] is mapped, %s[%d] is not", path, k.index, path, i), "number the elements from 0 without gaps")
			return
		}
	}
	if _, m := c.elementType(n); m.bad() {
		c.fault("rules", path+" "+m.what, m.fix)
	}
}
