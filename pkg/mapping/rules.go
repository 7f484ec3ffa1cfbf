package mapping

import (
	"fmt"
	"slices"
	"strings"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
)

// unmapped is the column name that stands for every column that is used nowhere else.
const unmapped = "$unmapped"

// assignment is one flat rule: a source, a destination and options.
type assignment struct {
	rule resource.Rule
	at   string // the rule's place: rules[1].rules[0]
	dest path
}

// flatten turns nested rules into assignments and collects the columns that are ignored.
func (c *compiler) flatten(rules []resource.Rule, at string, prefix []segment) {
	for i, r := range rules {
		c.rules++
		if c.rules > c.limits.Rules {
			if c.rules == c.limits.Rules+1 {
				c.fault(at, fmt.Sprintf("has more than %d rules", c.limits.Rules), "map columns with $unmapped")
			}
			return
		}
		here := fmt.Sprintf("%s[%d]", at, i)
		if !c.oneSource(r, here) {
			continue
		}
		switch {
		case r.Object != "":
			c.object(r, here, prefix)
		case r.Ignore != "":
			c.ignore(r, here)
		default:
			c.assign(r, here, prefix)
		}
	}
}

// oneSource says whether exactly one of the kinds of a rule is given.
func (c *compiler) oneSource(r resource.Rule, at string) bool {
	var has []string
	for name, set := range map[string]bool{
		"column": r.Column != "", "static": r.HasStatic, "expression": r.Expression != "", "ignore": r.Ignore != "", "object": r.Object != "",
	} {
		if set {
			has = append(has, name)
		}
	}
	slices.Sort(has)
	switch len(has) {
	case 1:
		return true
	case 0:
		c.fault(at, "has no source", "give one of column, static, expression, ignore and object")
	default:
		c.fault(at, "has "+strings.Join(has, " and "), "give exactly one of column, static, expression, ignore and object")
	}
	return false
}

func (c *compiler) object(r resource.Rule, at string, prefix []segment) {
	c.noOptions(r, at, "an object")
	p, m := parsePath(r.Object)
	switch {
	case m.bad():
		c.fault(at+".object", m.what, m.fix)
		return
	case p.star:
		c.fault(at+".object", "has a star", "name the object")
		return
	case len(prefix)+len(p.segments) > maxDepth:
		c.fault(at+".object", "is nested too deeply", "name the object by its path")
		return
	case len(r.Rules) == 0:
		c.fault(at+".rules", "is empty", "add rules to the object, or leave it out")
	}
	c.flatten(r.Rules, at+".rules", slices.Concat(prefix, p.segments))
}

// maxDepth bounds a path.
const maxDepth = 16

// noOptions refuses what belongs to rules that carry a value.
func (c *compiler) noOptions(r resource.Rule, at, what string) {
	for _, o := range []struct {
		name string
		set  bool
	}{
		{"to", r.To != ""}, {"type", r.Type != ""}, {"on_null", r.OnNull != ""}, {"default", r.HasDefault},
		{"on_loss", r.OnLoss != ""}, {"transform", len(r.Transform) > 0}, {"rules", len(r.Rules) > 0 && r.Object == ""},
	} {
		if o.set {
			c.fault(at+"."+o.name, "has no meaning for "+what, "leave it out")
		}
	}
}

func (c *compiler) ignore(r resource.Rule, at string) {
	c.noOptions(r, at, "an ignored column")
	if i, ok := c.column(r.Ignore, at+".ignore"); ok {
		if was, twice := c.ignored[i]; twice {
			c.fault(at+".ignore", fmt.Sprintf("column %q is ignored by %s already", r.Ignore, was), "leave one of them out")
			return
		}
		c.ignored[i] = at
	}
}

// assign parses a rule's destination and checks its options' words.
func (c *compiler) assign(r resource.Rule, at string, prefix []segment) {
	ok := c.options(r, at)
	p, m := parsePath(r.To)
	if m.bad() {
		if r.To == "" {
			c.fault(at+".to", m.what, m.fix)
		} else {
			c.fault(at+".to", fmt.Sprintf("%q %s", r.To, m.what), m.fix)
		}
		ok = false
	}
	if len(prefix)+len(p.segments) > maxDepth {
		c.fault(at+".to", "is nested too deeply", "use a shorter path")
		ok = false
	}
	p.segments = slices.Concat(prefix, p.segments)
	switch {
	case !ok:
	case p.star && r.Column == "":
		c.fault(at+".to", "has a star, but the rule has no column whose name it could keep", "name the field")
		ok = false
	case r.Column == unmapped && !p.star:
		c.fault(at+".to", "sends many columns to one field", `end it with ".*", or with "*" inside an object`)
		ok = false
	}
	if r.Column != "" && r.Column != unmapped {
		_, known := c.column(r.Column, at+".column")
		ok = ok && known
	}
	c.assigned = append(c.assigned, assignment{rule: r, at: at, dest: p})
	if !ok {
		c.assigned[len(c.assigned)-1].dest = path{} // it uses its column, and leads nowhere
	}
}

func (a assignment) leadsNowhere() bool { return len(a.dest.segments) == 0 && !a.dest.star }

// options checks the words of a rule's options.
func (c *compiler) options(r resource.Rule, at string) bool {
	before := len(c.faults)
	one := func(name, value string, allowed ...string) {
		if value != "" && !slices.Contains(allowed, value) {
			c.fault(at+"."+name, fmt.Sprintf("has the unknown word %q", value), "use one of "+strings.Join(allowed, ", "))
		}
	}
	one("type", r.Type, "string", "number", "integer", "decimal", "boolean", "timestamp", "json")
	one("on_null", r.OnNull, "skip", "clear")
	one("on_loss", r.OnLoss, "reject", "round")
	for i, t := range r.Transform {
		one(fmt.Sprintf("transform[%d]", i), t, "trim", "lower", "upper", "sha256", "mask")
	}
	if len(r.Transform) > maxTransforms {
		c.fault(at+".transform", fmt.Sprintf("has more than %d steps", maxTransforms), "leave some out")
	}
	if len(r.Rules) > 0 {
		c.fault(at+".rules", "belongs to an object", "give the rule an object, or leave it out")
	}
	if r.HasStatic {
		for _, o := range []struct {
			name string
			set  bool
		}{{"default", r.HasDefault}, {"on_loss", r.OnLoss != ""}, {"transform", len(r.Transform) > 0}} {
			if o.set {
				c.fault(at+"."+o.name, "has no meaning for a static value", "leave it out")
			}
		}
	}
	if r.HasDefault && r.OnNull == "clear" {
		c.fault(at+".default", "never applies, because on_null: clear is given too", "leave one of them out")
	}
	return len(c.faults) == before
}

const maxTransforms = 16

// byName answers the rules of a users model without a mapping: identity columns to identities, the iterator left out,
// the rest to attributes.
func (c *compiler) byName() {
	for i, f := range c.in.Fields() {
		r := resource.Rule{Column: f.Name}
		switch {
		case f.Name == c.model.Iterator.Column:
			c.used[i] = true
			continue
		case c.kind != record.Users && c.used[i] && !c.about():
			continue // the key is the record's own
		case c.about() && identityByName(f.Name) != "":
			r.To = "user_identities." + identityByName(f.Name)
		case c.about() && c.kind != record.Users && c.used[i]:
			continue
		case c.about() && slices.Contains(reservedAttributes(), strings.ToLower(f.Name)):
			r.To = "user_attributes." + strings.ToLower(f.Name)
		default:
			r.To = c.attributes() + ".{{'" + strings.ReplaceAll(f.Name, "'", "''") + "'}}"
		}
		c.assign(r, "by_name", nil)
	}
}

// short answers the rules of Mixpanel's short form.
func (c *compiler) short(e *resource.EventsMapping) {
	add := func(field string, r resource.Rule) { c.assign(r, "events."+field, nil) }
	add("event_type", resource.Rule{Static: "custom_event", HasStatic: true, To: "events.event_type"})
	add("custom_event_type", resource.Rule{Static: "other", HasStatic: true, To: "events.custom_event_type"})
	taken := map[string]bool{c.model.Iterator.Column: true}
	column := func(field, name, to, typ string) {
		if name == "" {
			return
		}
		taken[name] = true
		add(field, resource.Rule{Column: name, To: to, Type: typ})
	}
	if e.Time == "" {
		c.fault("events.time", "is missing", "name the column that holds the event's time")
	}
	column("time", e.Time, "events.timestamp_unixtime_ms", "")
	switch {
	case e.Name == "" && e.NameStatic == "":
		c.fault("events.name", "is missing", "name the column that holds the event's name, or write {static: NAME}")
	case e.Name != "" && e.NameStatic != "":
		c.fault("events.name", "is a column and a static name", "give one of them")
	case e.NameStatic != "":
		add("name", resource.Rule{Static: e.NameStatic, HasStatic: true, To: "events.event_name"})
	}
	column("name", e.Name, "events.event_name", "")
	column("user_id", e.UserID, "user_identities.customer_id", "string")
	column("device_id", e.DeviceID, "user_identities.mp_deviceid", "string")
	column("properties", e.Properties, "events.custom_attributes", "json")
	for i, f := range c.in.Fields() {
		if taken[f.Name] {
			c.used[i] = true
			continue
		}
		add("other_columns", resource.Rule{Column: f.Name, To: "events.custom_attributes.*"})
	}
}
