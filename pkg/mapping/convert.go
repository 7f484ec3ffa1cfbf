package mapping

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/row"
)

// newLeaf answers a leaf for a value: the source, then transforms, conversion and default.
func (c *compiler) newLeaf(a assignment, s *spec, path string, member int) (*leaf, bool) {
	if a.rule.HasStatic {
		return c.staticLeaf(a, s, path)
	}
	l, fl, ok := c.source(a, path, member)
	if !ok {
		return nil, false
	}
	want := wanted(a, s, fl)
	if len(a.rule.Transform) > 0 {
		fl.toTransformed(a.rule.Transform)
	}
	if m := c.convertTo(&fl, want, a); m.bad() {
		c.fault(a.at+"."+typeField(a), l.what()+" "+m.what+" ("+path+")", m.fix)
		return nil, false
	}
	if s.identity {
		fl.then(classText, utf8Type(), emptyToNull)
		l.identity = s.name
	}
	if a.rule.HasDefault && !c.defaultTo(&fl, a, want, s) {
		return nil, false
	}
	c.finish(l, fl, a)
	return l, true
}

func typeField(a assignment) string {
	if a.rule.Type != "" {
		return "type"
	}
	return "to"
}

func (l *leaf) what() string {
	if l.expr != nil {
		return "the expression"
	}
	return fmt.Sprintf("column %q", l.source)
}

func (c *compiler) finish(l *leaf, fl flow, a assignment) {
	l.ops, l.typ = fl.ops, fl.typ
	l.json = fl.class == classJSON
	l.clears = a.rule.OnNull == "clear"
	if l.clears {
		l.clearHash = hashOfText(l.path+"\x00", "clear")
	}
}

func hashOfText(name, value string) row.Hash {
	sums := make([]row.Hash, 1)
	row.AddColumn(sums, name, textArray(value))
	return sums[0]
}

// source answers a leaf with where its values come from, and the beginning of their way.
func (c *compiler) source(a assignment, path string, member int) (*leaf, flow, bool) {
	l := &leaf{path: path, rule: a.at, column: -1, member: -1}
	if a.rule.Expression != "" {
		e, fl, ok := c.expression(a)
		if !ok {
			return nil, fl, false
		}
		l.expr, l.source = e, strings.Join(e.columns(c.in), ", ")
		return l, fl, true
	}
	at := c.named[a.rule.Column]
	f := c.in.Field(at)
	l.column, l.source = at, f.Name
	if member >= 0 {
		st := f.Type.(*arrow.StructType) //nolint:forcetypeassert // by structColumn
		f, l.member = st.Field(member), member
	}
	fl, m := c.flowOf(f)
	if m.bad() {
		c.fault(a.at+".column", fmt.Sprintf("column %q %s", l.source, m.what), m.fix)
		return nil, fl, false
	}
	return l, fl, true
}

// Targets of conversions beside the words of `type`.
const (
	asIs      = ""
	canonical = "canonical" // an identity's text
	millis    = "millis"
)

// wanted answers what a value is to become.
func wanted(a assignment, s *spec, fl flow) string {
	name := s.name
	switch {
	case s.identity:
		return canonical
	case s.form == formMillis:
		return millis
	case s.form == formText, s.form == formWords:
		return "string"
	case strings.HasSuffix(name, "_ms") && (fl.class == classInstant || fl.class == classDate || a.rule.Type == "timestamp"):
		return millis
	}
	return a.rule.Type
}

// convertTo appends the ops that make a value what is wanted. `type` given for a field of a fixed form is a step on
// the way to it.
func (c *compiler) convertTo(fl *flow, want string, a assignment) mend {
	round := a.rule.OnLoss == "round" || want == millis && a.rule.OnLoss == ""
	switch t := a.rule.Type; {
	case t == "", t == want, t == "string" && want == canonical, t == "integer" && want == millis:
	default:
		if m := c.convertOne(fl, t, round); m.bad() {
			return m
		}
	}
	return c.convertOne(fl, want, round)
}

func (c *compiler) convertOne(fl *flow, want string, round bool) mend {
	no := func(fix string) mend {
		return mend{"is " + fl.class.String() + ", which cannot become " + targetName(want), fix}
	}
	switch want {
	case asIs:
		if fl.class == classJSON && fl.typ.ID() == arrow.STRING {
			fl.then(classJSON, utf8Type(), canonicalJSON(false))
		}
	case canonical:
		if slices.Contains([]class{classList, classStruct, classJSON}, fl.class) {
			return no("an identity is one value; choose a column of text or of numbers")
		}
		fl.then(classText, utf8Type(), canonicalText(fl.class))
	case "string":
		fl.toString()
	case "json":
		fl.toJSON(false)
	case "number":
		return fl.toNumber(round, no)
	case "integer":
		return fl.toInteger(round, no)
	case "decimal":
		return fl.toDecimal(no)
	case "boolean":
		return fl.toBoolean(no)
	case "timestamp":
		return c.toTimestamp(fl, round, no)
	case millis:
		return c.toMillis(fl, round, no)
	}
	return mend{}
}

func targetName(want string) string {
	switch want {
	case canonical:
		return "an identity"
	case millis:
		return "milliseconds"
	case "integer":
		return "an integer"
	}
	return "a " + want
}

// openLeaf answers a leaf whose JSON objects are opened into the object that they are mapped to.
func (c *compiler) openLeaf(a assignment, n *node, path string) (*leaf, bool) {
	if a.rule.HasStatic {
		return c.staticOpen(a, path)
	}
	l, fl, ok := c.source(a, path, -1)
	if !ok {
		return nil, false
	}
	switch {
	case len(a.rule.Transform) > 0 || a.rule.HasDefault:
		c.fault(a.at, "has transform or default, which have no meaning for an object", "leave them out")
		return nil, false
	case fl.class == classJSON, a.rule.Type == "json" && (fl.class == classText || fl.class == classStruct):
	default:
		c.fault(a.at+".to", fmt.Sprintf("%s is an object, and %s is %s", path, l.what(), fl.class),
			"map it to a field of the object, as in "+path+"."+exampleField(n, l)+", or give type: json if it holds JSON")
		return nil, false
	}
	if fl.class == classStruct {
		fl.then(classJSON, utf8Type(), jsonText(arrow.Field{Type: fl.typ}))
	}
	fl.then(classJSON, utf8Type(), canonicalJSON(true))
	c.finish(l, fl, a)
	l.open = true
	return l, true
}

func exampleField(n *node, l *leaf) string {
	if n.spec.form == formOpen && l.source != "" {
		return escape(l.source)
	}
	if len(n.spec.fields) > 0 {
		return n.spec.fields[0].name
	}
	return "NAME"
}

// eval answers the values of the leaf for the rows of c.
func (l *leaf) eval(c *call) arrow.Array {
	c.cur = l
	if l.static != nil {
		return repeat(l.static, c.n)
	}
	var col arrow.Array
	if l.expr != nil {
		col = l.expr.eval(c)
	} else {
		col = c.rec.Column(l.column)
	}
	if l.member >= 0 {
		s := col.(*array.Struct) //nolint:forcetypeassert // by the schema
		col = masked(s.Field(l.member), s)
	}
	for _, o := range l.ops {
		col = o(c, col)
	}
	return col
}
