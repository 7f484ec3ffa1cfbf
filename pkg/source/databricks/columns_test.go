package databricks

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What the peer's engine has no type for.
func TestKindsOfOtherTypes(t *testing.T) {
	for own, read := range map[string]string{
		"void": "CAST(`v` AS STRING) AS `v`", "variant": "to_json(`v`, " + jsonOptions + ") AS `v`", "varchar(10)": "`v`", "char(3)": "`v`",
		"decimal": "`v`", "timestamp_ltz": "`v`", "string collate UTF8_LCASE": "`v`",
	} {
		k, ok := kindOf(own)
		require.True(t, ok, own)
		require.Equal(t, read, k.read("`v`"), own)
	}
	for _, own := range []string{
		"interval year to month", "interval day to second", "array<interval day to second>", "struct<a:interval year>", "geography(4326)", "geometry",
		"object", "decimal(39,0)", "decimal(10,11)", "something new", "",
	} {
		_, ok := kindOf(own)
		require.False(t, ok, own)
	}
}
