package mapping_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/resource"
)

func TestNamedColumns(t *testing.T) {
	var fields []arrow.Field
	for _, name := range []string{"id", "at", "mail", "tier", "first", "last", "noise", "more"} {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true})
	}
	in := arrow.NewSchema(fields, nil)
	model := resource.DataModel{Kind: resource.Users, KeyColumns: []string{"id"}, Iterator: resource.Iterator{Column: "at", Type: resource.IteratorTimestamp}}
	for name, c := range map[string]struct {
		m    *resource.Mapping
		want []string
	}{
		"by name": {nil, []string{"at", "id"}},
		"rules": {&resource.Mapping{Rules: []resource.Rule{
			{Column: "mail", To: "user_identities.email", Path: "rules[0]"},
			{Expression: "row.first + row.last", To: "user_attributes.name", Path: "rules[1]"},
			{Ignore: "noise", Path: "rules[2]"},
			{Object: "user_attributes", Path: "rules[3]", Rules: []resource.Rule{{Column: "tier", To: "tier", Path: "rules[3].rules[0]"}}},
			{Column: "gone", To: "user_attributes.gone", Path: "rules[4]"},
			{Column: "$unmapped", To: "user_attributes.*", Path: "rules[5]"},
		}}, []string{"at", "first", "gone", "id", "last", "mail", "noise", "tier"}},
		"short form": {&resource.Mapping{Events: &resource.EventsMapping{Time: "at", Name: "tier", UserID: "id"}}, []string{"at", "id", "tier"}},
	} {
		require.Equal(t, c.want, slices.Sorted(maps.Keys(mapping.Named(c.m, model, in))), name)
	}
}
