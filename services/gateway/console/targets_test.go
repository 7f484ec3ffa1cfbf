package console

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

// TestSuggestedTargetsAreFieldsThatMappingsKnow compiles a rule to each of them.
func TestSuggestedTargetsAreFieldsThatMappingsKnow(t *testing.T) {
	in := arrow.NewSchema([]arrow.Field{{Name: "c", Type: arrow.BinaryTypes.String}, {Name: "k", Type: arrow.BinaryTypes.String}}, nil)
	for _, m := range []*configv1.DataModel{
		{RecordKind: configv1.RecordKind_RECORD_KIND_USERS}, {RecordKind: configv1.RecordKind_RECORD_KIND_EVENTS},
		{RecordKind: configv1.RecordKind_RECORD_KIND_GROUPS, GroupType: "company"}, {RecordKind: configv1.RecordKind_RECORD_KIND_LOOKUP},
	} {
		m.KeyColumns = []string{"k"}
		require.NotEmpty(t, targetsOf(m))
		for _, target := range targetsOf(m) {
			rule := &configv1.Rule{Column: "c", To: target}
			if strings.HasSuffix(target, "*") {
				rule.Column = unmapped
			}
			_, err := mapping.DefaultLimits().Compile(toMapping(rule), resourcepb.OfDataModel(m), in)
			if err == nil {
				continue
			}
			for _, v := range fault.As(err).Violations {
				require.NotEqual(t, "rules[0].to", v.Field, "%s: %s", target, v.Message)
			}
		}
	}
	_, err := mapping.DefaultLimits().Compile(toMapping(&configv1.Rule{Column: "c", To: "events.no_such_field"}), resource.DataModel{Kind: resource.Events}, in)
	require.Error(t, err)
	require.Equal(t, "rules[0].to", fault.As(err).Violations[0].Field, "a field that is not known is told there")
}

func toMapping(rules ...*configv1.Rule) *resource.Mapping {
	m := resourcepb.OfMapping(&configv1.Mapping{Rules: rules})
	m.Normalize()
	return &m
}
