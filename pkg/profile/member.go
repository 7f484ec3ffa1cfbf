package profile

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/id"
)

// membership is an attribute column whose values are ids of groups.
type membership struct {
	groupType string
	col       arrow.Array
	value     appender
}

// memberships finds the attribute columns that have the name of a group type.
func memberships(body *array.Struct, groupTypes []string) []membership {
	if len(groupTypes) == 0 {
		return nil
	}
	var out []membership
	t := body.DataType().(*arrow.StructType) //nolint:forcetypeassert // a struct array has a struct type
	for _, g := range groupTypes {
		if at, ok := t.FieldIdx(g); ok {
			out = append(out, membership{g, body.Field(at), appenderOf(body.Field(at), t.Field(at))})
		}
	}
	return out
}

// join enters p among the members of the groups that the row at i names.
func (d *decider) join(i int, p id.Profile, hasTime bool, v Version) {
	for _, m := range d.memberships {
		if m.col.IsNull(i) {
			continue
		}
		r := reader{b: m.value(nil, i)}
		for _, group := range GroupIDs(r.value(0)) {
			key := EventKey{Profile: MembersKey(d.k.Scope, m.groupType, group), ID: MemberID(p)}
			if d.joined == nil {
				d.joined = map[EventKey]bool{}
			}
			if d.joined[key] {
				continue
			}
			d.joined[key] = true
			doc := append(d.appendHeader([]byte{chunkEvent}, i, hasTime, v), 0) // no identities
			doc = AppendValue(appendText(doc, ""), Value{Kind: Object})
			d.eff.Events = append(d.eff.Events, EventWrite{key, d.docs.add(doc)})
		}
	}
}

// GroupIDs answers the ids of groups that the value of an attribute names: one, or a list of them. Text that is a JSON array
// is a list, as some warehouses have no other.
func GroupIDs(v Value) []string {
	var out []string
	add := func(v Value) {
		if text := v.text(); text != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	if items, ok := v.array(); ok {
		for _, item := range items {
			text := string(item)
			if item[0] == '"' {
				text = unquoteJSON(text)
			}
			add(Value{Kind: String, Text: text})
		}
		return out
	}
	if v.Kind != List {
		add(v)
	}
	for _, item := range v.Items {
		add(item)
	}
	return out
}

// array answers the items of a text that is a JSON array.
func (v Value) array() (items []json.RawMessage, ok bool) {
	if v.Kind != JSON && v.Kind != String || !strings.HasPrefix(v.Text, "[") {
		return nil, false
	}
	return items, json.Unmarshal([]byte(v.Text), &items) == nil
}

// text answers a scalar as text, a string without quotes; "" for NULL, lists and objects.
func (v Value) text() string {
	switch v.Kind {
	case String, Decimal:
		return v.Text
	case Cleared, List, Object, JSON:
		return ""
	case Int, Float, False, True, Instant, Date, Bytes:
	}
	text := string(v.AppendJSON(nil))
	if text[0] == '"' {
		return unquoteJSON(text)
	}
	return text
}
