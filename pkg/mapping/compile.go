package mapping

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
)

// compiler collects what a program is made of, and every fault on the way.
type compiler struct {
	limits  Limits
	model   resource.DataModel
	in      *arrow.Schema
	kind    record.Kind
	events  bool
	zone    *time.Location
	named   map[string]int // columns by name
	faults  []fault.Violation
	rules   int
	statics int // bytes

	assigned []assignment
	ignored  map[int]string // column → the rule that ignores it
	used     map[int]bool   // columns that a rule or the model uses

	root   *node
	leaves []*leaf
	cel    *celEnv
}

// Compile is Compile under these limits.
func (l Limits) Compile(m *resource.Mapping, model resource.DataModel, in *arrow.Schema) (*Program, error) {
	c := &compiler{
		limits: l, model: model, in: in, kind: KindOf(model.Kind), events: model.Kind == resource.Events, zone: time.UTC,
		named: map[string]int{}, ignored: map[int]string{}, used: map[int]bool{},
	}
	c.checkColumns()
	c.checkModel()
	if len(c.faults) > 0 && len(c.in.Fields()) > l.Columns {
		return nil, fault.Of(fault.ReasonMappingInvalid, c.faults)
	}
	c.root = &node{spec: catalogueOf(c.kind, c.model.GroupType != "")}
	if !c.collect(m) {
		return nil, fault.Of(fault.ReasonMappingInvalid, c.faults)
	}
	c.expandUnmapped()
	for _, a := range c.assigned {
		if !a.leadsNowhere() {
			c.place(a)
		}
	}
	c.modelLeaves()
	c.checkUnused()
	c.checkLists(c.root, "")
	c.checkRequired()
	p := c.program()
	if len(c.faults) > 0 {
		slices.SortStableFunc(c.faults, func(a, b fault.Violation) int { return slices.Compare(place(a.Field), place(b.Field)) })
		return nil, fault.Of(fault.ReasonMappingInvalid, c.faults)
	}
	return p, nil
}

// place answers the numbers of a rule's path, so that faults can be told in the order of the rules: those of the model
// and the columns first, those of the rules as a whole last.
func place(field string) []int {
	if !strings.HasPrefix(field, "rules") {
		return nil
	}
	var out []int
	for _, part := range strings.Split(field, "[")[1:] {
		digits, _, _ := strings.Cut(part, "]")
		n, err := strconv.Atoi(digits)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	if len(out) == 0 {
		return []int{math.MaxInt}
	}
	return out
}

func (c *compiler) fault(field, what, fix string) {
	c.faults = append(c.faults, fault.Violation{Field: field, Message: what, Fix: fix})
}

// collect turns the mapping, whatever its form, into assignments. It answers false where there is nothing to go on with.
func (c *compiler) collect(m *resource.Mapping) bool {
	switch {
	case m == nil && c.events:
		c.fault("mapping", "is missing", "events are not mapped by name: give rules, or events: {time: …, name: …}")
	case m == nil:
		c.byName()
		return true
	case m.Events != nil && !c.events:
		c.fault("events", "is the short form for events, and the model's record kind is "+string(c.model.Kind), "map by rules")
	case m.Events != nil && len(m.Rules) > 0:
		c.fault("events", "stands beside rules", "map by rules or by the short form, not both")
	case m.Events != nil:
		before := len(c.faults)
		c.short(m.Events)
		return len(c.faults) == before
	default:
		c.flatten(m.Rules, "rules", nil)
		return true
	}
	return false
}

// checkColumns checks the schema itself.
func (c *compiler) checkColumns() {
	fields := c.in.Fields()
	if len(fields) > c.limits.Columns {
		c.fault("columns", fmt.Sprintf("%d columns are selected, the limit is %d", len(fields), c.limits.Columns), "select fewer columns")
		return
	}
	folded := map[string]string{}
	for i, f := range fields {
		was, seen := folded[strings.ToLower(f.Name)]
		switch {
		case f.Name == "":
			c.fault("columns", fmt.Sprintf("column %d has no name", i+1), "give it an alias")
		case seen && was == f.Name:
			c.fault("columns", fmt.Sprintf("column %q is selected twice", f.Name), "give one of them an alias")
		case seen:
			c.fault("columns", fmt.Sprintf("columns %q and %q differ in case only", was, f.Name), "give one of them an alias")
		}
		if !seen {
			folded[strings.ToLower(f.Name)] = f.Name
		}
		if _, ok := c.named[f.Name]; !ok {
			c.named[f.Name] = i
		}
	}
}

// checkModel checks the model's own columns against the schema.
func (c *compiler) checkModel() {
	switch c.model.Kind {
	case resource.Users, resource.Events, resource.Groups, resource.Lookup, resource.ProfileHistory:
	default:
		c.fault("record_kind", fmt.Sprintf("has the unknown word %q", c.model.Kind), "use users, events, groups, lookup or profile_history")
	}
	if c.model.StartTime != "" {
		if at, ok := c.column(c.model.StartTime, "start_time"); ok {
			c.used[at] = true
		}
	}
	for i, k := range c.model.KeyColumns {
		field := fmt.Sprintf("key_columns[%d]", i)
		if at, ok := c.column(k, field); ok {
			c.used[at] = true
			if slices.Index(c.model.KeyColumns, k) < i {
				c.fault(field, fmt.Sprintf("column %q is a key column twice", k), "name it once")
			}
		}
	}
	it := c.model.Iterator
	if it.TimeZone != "" {
		z, err := time.LoadLocation(it.TimeZone)
		if err != nil {
			c.fault("iterator.time_zone", fmt.Sprintf("%q is no time zone", it.TimeZone), "use an IANA name such as Europe/Berlin")
		} else {
			c.zone = z
		}
	}
	if it.Column == "" {
		return
	}
	at, ok := c.column(it.Column, "iterator.column")
	if !ok {
		return
	}
	c.used[at] = true
	if m := iteratorFits(c.in.Field(at), it.Type); m.bad() {
		c.fault("iterator.type", fmt.Sprintf("column %q %s", it.Column, m.what), m.fix)
	}
}

// iteratorFits says what is wrong with a column as an iterator of a declared type.
func iteratorFits(f arrow.Field, want resource.IteratorType) mend {
	fix := "choose a column that is a timestamp, date, integer or decimal"
	id := f.Type.ID()
	is := resource.IteratorType("")
	switch {
	case arrow.IsFloating(id):
		return mend{"is a floating-point number, which does not order change losslessly", fix + ", or cast it in SQL"}
	case id == arrow.BOOL:
		return mend{"is a boolean", fix}
	case isJSONField(f), arrow.IsNested(id):
		return mend{"is a VARIANT, JSON or nested value", fix + ", or cast it in SQL"}
	case id == arrow.TIMESTAMP:
		is = resource.IteratorTimestamp
	case id == arrow.DATE32, id == arrow.DATE64:
		is = resource.IteratorDate
	case arrow.IsInteger(id):
		is = resource.IteratorInteger
	case arrow.IsDecimal(id):
		is = resource.IteratorDecimal
		if f.Type.(arrow.DecimalType).GetScale() <= 0 && want == resource.IteratorInteger { //nolint:forcetypeassert // IsDecimal
			is = resource.IteratorInteger
		}
	default:
		return mend{"is of type " + typeName(f), fix + ", or cast it in SQL"}
	}
	if want != is {
		return mend{fmt.Sprintf("is declared %q and is of type %s", want, typeName(f)), "declare " + string(is)}
	}
	return mend{}
}

// column answers the position of a column, or reports that it is not selected.
func (c *compiler) column(name, field string) (int, bool) {
	if at, ok := c.named[name]; ok {
		return at, true
	}
	for _, f := range c.in.Fields() {
		if strings.EqualFold(f.Name, name) {
			c.fault(field, fmt.Sprintf("column %q is not selected", name), fmt.Sprintf("write %q: names are compared with their case", f.Name))
			return 0, false
		}
	}
	c.fault(field, fmt.Sprintf("column %q is not selected", name), "select it, or mend the name")
	return 0, false
}

// markNamed marks the columns that the assignments name, and answers the rule that takes the rest, "" where none does.
func (c *compiler) markNamed() string {
	rest := ""
	for _, a := range c.assigned {
		switch {
		case a.rule.Column == unmapped && rest != "":
			c.fault(a.at+".column", "is the second $unmapped; "+rest+" takes those columns", "leave one of them out")
		case a.rule.Column == unmapped:
			rest = a.at
		case a.rule.Column != "":
			if at, ok := c.named[a.rule.Column]; ok {
				c.used[at] = true
				if was, both := c.ignored[at]; both {
					c.fault(was+".ignore", fmt.Sprintf("column %q is mapped by %s", a.rule.Column, a.at), "leave one of them out")
				}
			}
		case a.rule.Expression != "":
			for _, at := range c.namedBy(a) {
				c.used[at] = true
			}
		}
	}
	for at := range c.ignored {
		c.used[at] = true
	}
	return rest
}

// expandUnmapped puts one assignment per left column in the place of $unmapped.
func (c *compiler) expandUnmapped() {
	rest := c.markNamed()
	var out []assignment
	for _, a := range c.assigned {
		if a.rule.Column != unmapped {
			out = append(out, a)
			continue
		}
		if a.at != rest {
			continue
		}
		for i, f := range c.in.Fields() {
			if c.used[i] {
				continue
			}
			c.used[i] = true
			one := a
			one.rule.Column = f.Name
			out = append(out, one)
		}
	}
	c.assigned = out
}

// checkUnused lists every column that nothing uses.
func (c *compiler) checkUnused() {
	var names []string
	for i, f := range c.in.Fields() {
		if !c.used[i] {
			names = append(names, f.Name)
		}
	}
	if len(names) > 0 {
		c.fault("rules", "leaves columns unused: "+strings.Join(names, ", "), "map them, ignore them, or take them with {column: $unmapped, to: "+c.restGoes()+"}")
	}
}

// restGoes answers where unmapped columns commonly go.
func (c *compiler) restGoes() string {
	if c.events {
		return `"events.custom_attributes.*"`
	}
	return `"` + c.attributes() + `.*"`
}

// program assembles what was collected. It is of use only where there is no fault.
func (c *compiler) program() *Program {
	p := &Program{kind: c.kind, leaves: c.leaves}
	for _, f := range c.in.Fields() {
		p.columns = append(p.columns, f.Name)
	}
	for i, l := range c.leaves {
		if l.identity != "" {
			p.identities = append(p.identities, i)
		}
	}
	p.body = c.body()
	p.keys = c.keyColumns()
	p.checks, p.required = c.rowChecks()
	p.eventRules = c.eventRules()
	if len(c.faults) == 0 {
		p.schema = p.recordSchema()
		p.fixedHash = p.constantHash()
	}
	return p
}

// keyColumns answers the positions of the model's key columns, or of the column of the identity of the highest priority.
func (c *compiler) keyColumns() []int {
	var out []int
	for _, k := range c.model.KeyColumns {
		if at, ok := c.named[k]; ok {
			out = append(out, at)
		}
	}
	if len(out) > 0 || c.kind != record.Users {
		return out
	}
	for _, t := range identity.DefaultPriority() {
		for _, l := range c.leaves {
			if l.identity == t && l.column >= 0 {
				return []int{l.column}
			}
		}
	}
	return nil
}

// constantHash answers what op and static values add to the hash of every record.
func (p *Program) constantHash() row.Hash {
	sums := make([]row.Hash, 1)
	row.AddColumn(sums, "op", textArray("upsert"))
	for _, l := range p.leaves {
		if l.static != nil {
			row.AddColumn(sums, l.path, l.static)
			if l.clears && l.static.IsNull(0) {
				sums[0] = sums[0].Add(l.clearHash)
			}
		}
	}
	return sums[0]
}
