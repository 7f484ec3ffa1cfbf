package mapping_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/resource"
)

// TestNamingFindsTheIdentitiesOfARow: as the mapping makes them, without what the rest of the row is mapped to.
func TestNamingFindsTheIdentitiesOfARow(t *testing.T) {
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "Email", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "seats", Type: arrow.PrimitiveTypes.Int64}, {Name: "alias", Type: arrow.BinaryTypes.String},
	}, nil))
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues([]int64{42, 43}, nil)
	b.Field(1).(*array.StringBuilder).AppendValues([]string{" Ada@X.org ", ""}, []bool{true, false})
	b.Field(2).(*array.Int64Builder).AppendValues([]int64{7, 8}, nil)
	b.Field(3).(*array.StringBuilder).AppendValues([]string{"ada", "bob"}, nil)
	rec := b.NewRecordBatch()
	defer rec.Release()
	for name, c := range map[string]struct {
		mapping *resource.Mapping
		first   map[string][]string
	}{
		"rules": {&resource.Mapping{Rules: []resource.Rule{
			{Object: "user_identities", Rules: []resource.Rule{
				{Column: "id", To: "customerid"},
				{Column: "email", To: "email", Transform: []string{"trim", "lower"}},
			}},
			{Column: "alias", To: "user_attributes.alias"},
			{Column: "seats", To: "device_info.ios_idfa"},
			{Column: "$unmapped", To: "*"},
			{Ignore: "seats"},
		}}, map[string][]string{"customer_id": {"42"}, "email": {"ada@x.org"}, "ios_advertising_id": {"7"}}},
		"flat":       {&resource.Mapping{Rules: []resource.Rule{{Column: "alias", To: "twitter"}}}, map[string][]string{"twitter": {"ada"}}},
		"expression": {&resource.Mapping{Rules: []resource.Rule{{Expression: "string(row.id) + row.alias", To: "alias"}}}, map[string][]string{"alias": {"42", "ada"}}},
		"events":     {&resource.Mapping{Events: &resource.EventsMapping{UserID: "id"}}, map[string][]string{"customer_id": {"42"}}},
		"by name":    {nil, map[string][]string{"email": {" Ada@X.org "}}},
		"nobody":     {&resource.Mapping{Rules: []resource.Rule{{Column: "id", To: "a..b"}, {Column: "id", To: "*"}}}, map[string][]string{}},
	} {
		got := map[string][]string{}
		for _, n := range mapping.NamingOf(c.mapping, rec.Schema()) {
			got[n.Type] = append(got[n.Type], n.Values(rec, 0)...)
		}
		require.Equal(t, c.first, got, name)
	}
	for _, n := range mapping.NamingOf(nil, rec.Schema()) {
		require.Empty(t, n.Values(rec, 1), "NULL names nobody")
	}
}
