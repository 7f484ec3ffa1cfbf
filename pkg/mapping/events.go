package mapping

import (
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Rules of rejects that events make beside those of the fields they break.
const (
	ruleEventTime = "event_time"
	ruleOneOf     = "one_of"
)

// eventRules is what is checked of events row by row beside requirements.
type eventRules struct {
	time     int // leaf of the event's time; −1: not checked
	from, to int64
	exactly  []branch // of which a commerce event has one
	static   bool     // every row is a commerce event
	actions  []branch // objects, each of which needs an action
}

// branch is an object of an event as rules fill it.
type branch struct {
	name   string
	leaves []int
	action []int
}

// commerceObjects are the objects of which a commerce event has exactly one.
func commerceObjects() []string { return strings.Split(requiredData("commerce_event")[0], "|") }

// withAction says whether an object of a commerce event needs an action.
func withAction(object string) bool { return object != "product_impressions" }

// branches answers the commerce objects that rules fill.
func (c *compiler) branches() []branch {
	var out []branch
	for _, name := range commerceObjects() {
		n := c.root.at("events", "data", name)
		if leaves := leavesOf(n); len(leaves) > 0 {
			out = append(out, branch{name, leaves, leavesOf(n.at("action"))})
		}
	}
	return out
}

// opened says whether JSON is opened into an object, so that its fields are known only row by row.
func (c *compiler) opened(object string) bool {
	n := c.root.at("events", "data", object)
	return n != nil && (len(n.opens) > 0 || n.leaf > 0)
}

// checkCommerce reports commerce objects that can be right in no row.
func (c *compiler) checkCommerce() {
	var always []string
	for _, b := range c.branches() {
		if withAction(b.name) && len(b.action) == 0 && !c.opened(b.name) {
			c.fault("rules", "fill events.data."+b.name+" and leave out its action", "map events.data."+b.name+".action")
		}
		if c.alwaysFilled(b.leaves) {
			always = append(always, b.name)
		}
	}
	if c.staticType() == "commerce_event" && len(always) > 1 {
		c.fault("rules", "fill "+strings.Join(always, " and ")+" of a commerce event in every row, which has one of them", "leave the others out, or fill them from columns that are NULL where they do not apply")
	}
}

// alwaysFilled says whether one of the leaves has a value in every row.
func (c *compiler) alwaysFilled(leaves []int) bool {
	for _, at := range leaves {
		if l := c.leaves[at]; l.static != nil && l.static.IsValid(0) {
			return true
		}
	}
	return false
}

// eventRules answers what is checked of events row by row.
func (c *compiler) eventRules() eventRules {
	r := eventRules{time: -1, static: c.staticType() == "commerce_event"}
	if at := leavesOf(c.root.at("events", "data", "timestamp_unixtime_ms")); len(at) == 1 && !c.limits.EventsUntil.IsZero() {
		r.time, r.from, r.to = at[0], c.limits.EventsFrom.UnixMilli(), c.limits.EventsUntil.UnixMilli()
	}
	all := c.branches()
	if len(all) > 1 {
		r.exactly = all
	}
	for _, b := range all {
		if len(b.action) > 0 && !c.alwaysFilled(b.action) {
			r.actions = append(r.actions, b)
		}
	}
	return r
}

// checkEvents makes rejects of rows that are no event that could be.
func (p *Program) checkEvents(c *call, values []arrow.Array) {
	p.checkEventTime(c, values)
	for _, b := range p.eventRules.actions {
		for i := range c.n {
			if anyValid(values, b.leaves, i) && !anyValid(values, b.action, i) {
				p.lacks(c, need{name: b.name + ".action", leaves: b.action}, i)
			}
		}
	}
	p.checkExactlyOne(c, values)
}

// checkExactlyOne makes rejects of commerce events with more than one of their objects.
func (p *Program) checkExactlyOne(c *call, values []arrow.Array) {
	r := &p.eventRules
	if len(r.exactly) == 0 || !r.static && p.required.typ < 0 {
		return
	}
	for i := range c.n {
		if !r.static {
			if typ := values[p.required.typ].(*array.String); typ.IsNull(i) || typ.Value(i) != "commerce_event" { //nolint:forcetypeassert // an event type is text
				continue
			}
		}
		var has []string
		for _, b := range r.exactly {
			if anyValid(values, b.leaves, i) {
				has = append(has, b.name)
			}
		}
		if len(has) > 1 {
			c.failAt(i, p.leaves[r.exactly[1].leaves[0]].source, ruleOneOf,
				"has "+strings.Join(has, " and ")+"; a commerce event has exactly one of "+strings.Join(commerceObjects(), ", "))
		}
	}
}

func (p *Program) checkEventTime(c *call, values []arrow.Array) {
	r := &p.eventRules
	if r.time < 0 {
		return
	}
	col, ok := values[r.time].(*array.Int64)
	if !ok {
		return
	}
	reason := ""
	for i, v := range col.Int64Values() {
		if (v >= r.from && v < r.to && v <= c.until) || col.IsNull(i) || c.faults[i] != nil {
			continue
		}
		if v >= r.from && v < r.to {
			c.failAt(i, p.leaves[r.time].source, ruleEventTime, "the event's time lies ahead of when the row was read; its clock or its time zone may be wrong")
			continue
		}
		if reason == "" {
			reason = fmt.Sprintf("the event's time is not within %s and %s; seconds or microseconds may have been taken for milliseconds",
				time.UnixMilli(r.from).UTC().Format(time.DateOnly), time.UnixMilli(r.to).UTC().Format(time.DateOnly))
		}
		c.failAt(i, p.leaves[r.time].source, ruleEventTime, reason)
	}
}
