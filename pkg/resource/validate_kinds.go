package resource

import (
	"fmt"
	"slices"
	"strings"
)

// validateKind checks the fields that go with some record kinds only.
func (m *DataModel) validateKind(c *faults) {
	history, groups := m.Kind == ProfileHistory, m.Kind == Groups
	given := func(field, value string, fits bool, kinds string) {
		if value != "" && !fits {
			c.add(field, "remove it", "goes with record_kind %s only", kinds)
		}
	}
	given("group_type", m.GroupType, groups || history, "groups and profile_history")
	given("start_time", m.StartTime, history, "profile_history")
	given("enrich", strings.Join(m.Enrich, " "), m.Kind == Lookup, "lookup")
	switch m.Kind {
	case Groups:
		if m.GroupType == "" {
			c.add("group_type", "say what kind of groups the rows are, such as company", "is missing")
		}
		if len(m.KeyColumns) != 1 {
			c.add("key_columns", "name the one column that holds the group's id", "has %d columns", len(m.KeyColumns))
		}
	case Lookup:
		if len(m.KeyColumns) == 0 {
			c.add("key_columns", "name the columns that tell the table's rows apart", "is missing")
		}
		m.validateEnrich(c)
	case ProfileHistory:
		c.text("start_time", m.StartTime, true)
		if m.StartTime != "" && !slices.Contains(m.KeyColumns, m.StartTime) {
			c.add("key_columns", fmt.Sprintf("name the columns of the id and %s", m.StartTime), "do not have %s, so that versions of one id cannot be told apart", m.StartTime)
		}
		if m.GroupType != "" && len(m.KeyColumns) != 2 {
			c.add("key_columns", "name the one column that holds the group's id and "+m.StartTime, "has %d columns", len(m.KeyColumns))
		}
	case Users, Events:
	}
	if m.GroupType != "" && !ValidID(m.GroupType) {
		c.add("group_type", "group types match "+patternID, "%q cannot be a group type", clip(m.GroupType))
	}
}

// maxEnrich bounds how many fields a lookup table enriches.
const maxEnrich = 16

func (m *DataModel) validateEnrich(c *faults) {
	if len(m.Enrich) > maxEnrich {
		c.add("enrich", fmt.Sprintf("name at most %d fields", maxEnrich), "names %d", len(m.Enrich))
		return
	}
	if len(m.Enrich) > 0 && len(m.KeyColumns) > 1 {
		c.add("enrich", "use one key column", "a field has one value, and the key has %d", len(m.KeyColumns))
	}
	for i, path := range m.Enrich {
		if rest, ok := strings.CutPrefix(path, "data."); !ok || rest == "" {
			c.add(fmt.Sprintf("enrich[%d]", i), "write it as data.custom_attributes.sku", "%q is no field of events' data", clip(path))
		}
	}
}
