package mapping

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

func FuzzPathsReadBackAsTheyAreWritten(f *testing.F) {
	for _, s := range []string{"a", "a.b", "*", "a.*", "$x.y[3].{{'any.text'}}", "{{'it''s'}}", "a[", "a..b", "{{'", "a[01]", "{{''}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, m := parsePath(s)
		if m.bad() {
			require.NotEmpty(t, m.fix)
			return
		}
		text := ""
		for i, seg := range p.segments {
			if i > 0 {
				text += "."
			}
			text += seg.text()
		}
		switch {
		case p.star && len(p.segments) > 0:
			text += ".*"
		case p.star:
			text = "*"
		}
		back, m := parsePath(text)
		require.False(t, m.bad(), "%q from %q: %s", text, s, m.what)
		require.Len(t, back.segments, len(p.segments))
		for i := range p.segments {
			require.Equal(t, p.segments[i].name, back.segments[i].name)
			require.Equal(t, p.segments[i].index, back.segments[i].index)
		}
	})
}

func FuzzCompileAnswersAProgramOrItsFaults(f *testing.F) {
	f.Add("user_identities.email", "row.a + 'x'", "user_attributes.*", "string", "trim", true)
	f.Add("events.event_name", "row.b / 0", "*", "integer", "sha256", false)
	f.Add("user_attributes.l[0]", "[row.c]", "user_attributes.l[1]", "json", "", true)
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "a", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "b", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "c", Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Float64, Nullable: true}), Nullable: true},
		{Name: "d", Type: arrow.FixedWidthTypes.Timestamp_us, Nullable: true},
	}, nil)
	f.Fuzz(func(t *testing.T, to, expression, rest, typ, transform string, users bool) {
		kind := resource.Events
		if users {
			kind = resource.Users
		}
		m := &resource.Mapping{Rules: []resource.Rule{
			{Column: "a", To: to, Type: typ, Transform: []string{transform}},
			{Object: rest, Rules: []resource.Rule{{Expression: expression, To: to, Type: typ}}},
			{Column: "c", To: rest},
			{Static: transform, HasStatic: true, To: rest + "." + to, Type: typ},
			{Column: unmapped, To: rest},
		}}
		p, err := Compile(m, resource.DataModel{Kind: kind}, schema)
		if err != nil {
			require.NotEmpty(t, fault.As(err).Violations)
			return
		}
		require.NotEmpty(t, p.Fields())
	})
}

func FuzzCanonicalJSONIsItsOwnCanonicalForm(f *testing.F) {
	for _, s := range []string{`{"b":1,"a":[true,null]}`, `"\u00e9"`, `-0.5e+3`, `{"a":1,"a":2}`, "[", "\"\xff\"", ` {} `} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var j canon
		once, ok := j.append(nil, s)
		if !ok {
			return
		}
		twice, ok := j.append(nil, string(once))
		require.True(t, ok, "%q from %q", once, s)
		require.Equal(t, string(once), string(twice))
	})
}
