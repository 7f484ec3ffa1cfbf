package mapping

import (
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// check is a field whose values must be words of the catalogue.
type check struct {
	leaf   int
	words  map[string]bool
	reason string
}

// need is a field that a record must have: one of the leaves must have a value.
type need struct {
	name   string // alternatives joined by a bar
	leaves []int
}

// requirements is what a record must have.
type requirements struct {
	always []need
	typ    int // leaf of an event type that differs from row to row; −1: none
	byType map[string][]need
}

// leavesOf answers the leaves of a node and everything below it.
func leavesOf(n *node) []int {
	if n == nil {
		return nil
	}
	var out []int
	if n.leaf > 0 {
		out = append(out, n.leaf-1)
	}
	out = append(out, n.opens...)
	for _, k := range n.kids {
		out = append(out, leavesOf(k)...)
	}
	return out
}

func (n *node) at(names ...string) *node {
	for _, name := range names {
		if n == nil {
			return nil
		}
		n = n.kid(name)
	}
	return n
}

// checkRequired reports what every record needs and no rule gives.
func (c *compiler) checkRequired() {
	if !c.events {
		if !c.about() {
			return
		}
		if len(leavesOf(c.root.kid("user_identities"))) == 0 {
			c.fault("rules", "map no identity, so that no row is anybody's", "map a column to user_identities.customer_id, user_identities.email or another identity")
		}
		return
	}
	event := c.root.kid("events")
	if len(leavesOf(event.at("event_type"))) == 0 {
		c.fault("rules", "leave out events.event_type, which every event needs", "add {static: custom_event, to: events.event_type}")
	}
	if len(leavesOf(event.at("data", "timestamp_unixtime_ms"))) == 0 {
		c.fault("rules", "leave out events.data.timestamp_unixtime_ms, which every event needs", "map the column that holds the event's time")
	}
	for _, name := range requiredData(c.staticType()) {
		if len(c.needOf(name).leaves) == 0 {
			c.fault("rules", "leave out "+alternatives(name)+", which events of type "+c.staticType()+" need", "map it")
		}
	}
	c.checkCommerce()
}

func alternatives(name string) string {
	parts := strings.Split(name, "|")
	for i, p := range parts {
		parts[i] = "events.data." + p
	}
	return strings.Join(parts, " or ")
}

// staticType answers the event type that every row has, "" where it differs from row to row.
func (c *compiler) staticType() string {
	n := c.root.at("events", "event_type")
	if n == nil || n.leaf == 0 {
		return ""
	}
	s, ok := c.leaves[n.leaf-1].static.(*array.String)
	if !ok || s.IsNull(0) {
		return ""
	}
	return s.Value(0)
}

func (c *compiler) needOf(name string) need {
	n := need{name: name}
	for _, one := range strings.Split(name, "|") {
		n.leaves = append(n.leaves, leavesOf(c.root.at("events", "data", one))...)
	}
	return n
}

// rowChecks answers what is checked row by row.
func (c *compiler) rowChecks() ([]check, requirements) {
	var checks []check
	c.walkWords(c.root, &checks)
	r := requirements{typ: -1}
	if !c.events {
		r.always = c.kindNeeds()
		return checks, r
	}
	typ := leavesOf(c.root.at("events", "event_type"))
	r.always = []need{{name: "event_type", leaves: typ}, c.needOf("timestamp_unixtime_ms")}
	for _, name := range requiredData(c.staticType()) {
		r.always = append(r.always, c.needOf(name))
	}
	if c.staticType() != "" || len(typ) != 1 {
		return checks, r
	}
	r.typ, r.byType = typ[0], map[string][]need{}
	for _, t := range words("event_type") {
		for _, name := range requiredData(t) {
			r.byType[t] = append(r.byType[t], c.needOf(name))
		}
	}
	return checks, r
}

func (c *compiler) walkWords(n *node, out *[]check) {
	for _, k := range n.kids {
		c.walkWords(k, out)
	}
	if n.leaf == 0 || n.spec.form != formWords || c.leaves[n.leaf-1].static != nil {
		return
	}
	set := map[string]bool{}
	for _, w := range n.spec.words {
		set[w] = true
	}
	*out = append(*out, check{n.leaf - 1, set, "is none of the words of " + n.spec.name + ": " + strings.Join(n.spec.words, ", ")})
}

// checkRows makes rejects of rows that lack what records need.
func (p *Program) checkRows(c *call, values []arrow.Array) {
	if p.wholeKey() {
		p.checkWholeKeys(c)
	}
	for _, k := range p.checks {
		c.cur = p.leaves[k.leaf]
		s := values[k.leaf].(*array.String) //nolint:forcetypeassert // words are text
		last := ""
		for i := range c.n {
			if s.IsNull(i) {
				continue
			}
			if v := s.Value(i); v != last {
				if !k.words[v] {
					c.fail(i, k.reason)
					continue
				}
				last = v
			}
		}
	}
	for _, n := range p.required.always {
		p.checkNeed(c, values, n)
	}
	p.checkTyped(c, values)
	p.checkEvents(c, values)
	if !p.wholeKey() {
		p.checkKeys(c)
	}
}

func (p *Program) checkNeed(c *call, values []arrow.Array, n need) {
	for _, at := range n.leaves {
		if values[at].NullN() == 0 {
			return
		}
	}
	for i := range c.n {
		if !anyValid(values, n.leaves, i) {
			p.lacks(c, n, i)
		}
	}
}

func anyValid(values []arrow.Array, leaves []int, i int) bool {
	for _, at := range leaves {
		if values[at].IsValid(i) {
			return true
		}
	}
	return false
}

// lacks makes row i a reject for want of a field, unless another fault explains it.
func (p *Program) lacks(c *call, n need, i int) {
	if _, bad := c.faults[i]; bad {
		return
	}
	column := ""
	if len(n.leaves) > 0 {
		column = p.leaves[n.leaves[0]].source
	}
	if n.name == "identity" {
		c.failAt(i, column, "no_identity", "has no identity: every identity column is NULL or empty")
		return
	}
	c.failAt(i, column, "required", strings.ReplaceAll(n.name, "|", " or ")+" is required and has no value")
}

func (p *Program) checkTyped(c *call, values []arrow.Array) {
	if p.required.typ < 0 {
		return
	}
	s := values[p.required.typ].(*array.String) //nolint:forcetypeassert // an event type is text
	for i := range c.n {
		if s.IsNull(i) {
			continue
		}
		for _, n := range p.required.byType[s.Value(i)] {
			if !anyValid(values, n.leaves, i) {
				p.lacks(c, n, i)
			}
		}
	}
}

// checkKeys makes rejects of rows whose key values are all NULL: they would be taken for one row.
func (p *Program) checkKeys(c *call) {
	if len(p.keys) == 0 {
		return
	}
	for _, at := range p.keys {
		if c.rec.Column(at).NullN() == 0 {
			return
		}
	}
	for i := range c.n {
		null := true
		for _, at := range p.keys {
			null = null && c.rec.Column(at).IsNull(i)
		}
		if null {
			c.failAt(i, p.columns[p.keys[0]], "key_null", "the key is NULL; leave such rows out in SQL, or choose other key_columns")
		}
	}
}
