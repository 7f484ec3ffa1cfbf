package resource

import (
	"fmt"
	"math"
	"slices"

	"millrace.dev/pkg/fault"
)

// exact is the bound below which every whole number is exact in a double, as which values travel.
const exact = 1 << 53

// ResourceKind answers KindMapping.
func (*Mapping) ResourceKind() Kind { return KindMapping }

// Normalize fills in what was left out, and each rule's Path.
func (m *Mapping) Normalize() {
	m.normalize()
	SetPaths(m.Rules, "")
}

// SetPaths writes each rule's Path below a parent, such as "rules[0].".
func SetPaths(rules []Rule, parent string) {
	for i := range rules {
		rules[i].Path = fmt.Sprintf("%srules[%d]", parent, i)
		SetPaths(rules[i].Rules, rules[i].Path+".")
	}
}

// Validate reports every rule of the mapping's form that m breaks. Whether it fits the columns, package mapping says.
func (m *Mapping) Validate() []fault.Violation {
	c := newFaults(m)
	c.meta(m.Meta)
	switch {
	case m.Events != nil && len(m.Rules) > 0:
		c.add("events", "keep one of them", "stands beside rules")
	case m.Events == nil && len(m.Rules) == 0:
		c.add("rules", "add at least one rule, or leave the mapping out and users are mapped by name", "is missing")
	}
	if e := m.Events; e != nil {
		e.validate(c)
	}
	left := maxRules
	validateRules(c, m.Rules, MaxRuleDepth, &left)
	if left < 0 {
		c.add("rules", "take columns over with $unmapped, or split the mapping", "there are more than %d rules", maxRules)
	}
	return c.out
}

func (e *EventsMapping) validate(c *faults) {
	c.text("events.time", e.Time, true)
	switch {
	case e.Name == "" && e.NameStatic == "":
		c.add("events.name", "name a column, or write {static: NAME}", "is missing")
	case e.Name != "" && e.NameStatic != "":
		c.add("events.name", "keep the column or the static name", "is given twice")
	}
	c.text("events.name", e.Name, false)
	c.text("events.name", e.NameStatic, false)
	c.text("events.user_id", e.UserID, false)
	c.text("events.device_id", e.DeviceID, false)
	c.text("events.properties", e.Properties, false)
}

func validateRules(c *faults, rules []Rule, depth int, left *int) {
	for i := range rules {
		if *left--; *left < 0 {
			return
		}
		r := &rules[i]
		if r.Object != "" && depth == 0 {
			c.add(r.Path+".object", fmt.Sprintf("nest at most %d objects", MaxRuleDepth), "nests too deep")
			continue
		}
		r.validate(c)
		validateRules(c, r.Rules, depth-1, left)
	}
}

func (r *Rule) validate(c *faults) {
	at := func(field string) string { return r.Path + "." + field }
	if !r.validateForm(c) {
		return
	}
	c.text(at("column"), r.Column, false)
	c.text(at("ignore"), r.Ignore, false)
	c.text(at("object"), r.Object, false)
	c.text(at("to"), r.To, false)
	c.body(at("expression"), r.Expression)
	c.oneOf(at("type"), r.Type, false, "string", "number", "integer", "decimal", "boolean", "timestamp", "json")
	c.oneOf(at("on_null"), r.OnNull, false, "skip", "clear")
	c.oneOf(at("on_loss"), r.OnLoss, false, "reject", "round")
	for i, t := range r.Transform {
		c.oneOf(fmt.Sprintf("%s[%d]", at("transform"), i), t, true, "trim", "lower", "upper", "sha256", "mask")
	}
	if r.HasStatic {
		c.value(at("static"), r.Static)
	}
	if r.HasDefault {
		c.value(at("default"), r.Default)
	}
}

// validateForm checks which fields stand together.
func (r *Rule) validateForm(c *faults) bool {
	forms := map[string]bool{"column": r.Column != "", "static": r.HasStatic, "expression": r.Expression != "", "ignore": r.Ignore != "", "object": r.Object != ""}
	n := 0
	for _, given := range forms {
		if given {
			n++
		}
	}
	const fix = "write exactly one of column, static, expression, ignore and object"
	if n != 1 {
		c.add(r.Path, fix, "a rule of %d forms", n)
		return false
	}
	maps := forms["column"] || forms["static"] || forms["expression"]
	refuse := func(field string, given, fits bool) {
		if given && !fits {
			c.add(r.Path+"."+field, "remove it", "does not go with this rule")
		}
	}
	if maps && r.To == "" {
		c.add(r.Path+".to", "add the destination", "is missing")
	}
	if forms["object"] && len(r.Rules) == 0 {
		c.add(r.Path+".rules", "add at least one rule", "is missing")
	}
	options := forms["column"] || forms["expression"]
	refuse("to", r.To != "", maps)
	refuse("rules", len(r.Rules) > 0, forms["object"])
	refuse("type", r.Type != "", maps)
	refuse("on_null", r.OnNull != "", options)
	refuse("default", r.HasDefault, options)
	refuse("on_loss", r.OnLoss != "", options)
	refuse("transform", len(r.Transform) > 0, options)
	return true
}

// value checks what a rule writes as it stands.
func (f *faults) value(field string, v any) {
	switch v := v.(type) {
	case nil, bool:
	case string:
		f.body(field, v)
	case int64:
		if v > exact || v < -exact {
			f.add(field, "write it as text, in quotes", "the number is beyond 2^53 and would not be exact")
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			f.add(field, "use a finite number", "is not a finite number")
		}
	case []any:
		for i, e := range v {
			f.value(fmt.Sprintf("%s[%d]", field, i), e)
		}
	case map[string]any:
		for _, k := range sortedKeys(v) {
			f.value(field+"."+k, v[k])
		}
	default:
		f.add(field, "use text, a number, a boolean, null, a list or an object", "is a %T", v)
	}
}

// takesRest says whether m maps columns that it does not name.
func (m *Mapping) takesRest() bool {
	var takes func(rules []Rule) bool
	takes = func(rules []Rule) bool {
		return slices.ContainsFunc(rules, func(r Rule) bool { return r.Column == "$unmapped" || takes(r.Rules) })
	}
	return m.Events != nil || takes(m.Rules)
}
