package sqltext_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source/sqltext"
)

func TestBuckets(t *testing.T) {
	b := sqltext.Bucket{Index: 2, Of: 16, By: "hash of v1"}
	require.Equal(t, "bucket 3 of 16 by hash of v1", b.String())
	got, err := sqltext.ParseBucket(b.String(), "hash of v1")
	require.NoError(t, err)
	require.Equal(t, b, got)
	for _, unit := range []string{
		"", "bucket", "bucket 3 of 16", "bucket 3 of 16 by hash of v2", "bucket 0 of 16 by hash of v1", "bucket 17 of 16 by hash of v1",
		"bucket x of 16 by hash of v1", "bucket 1 of 99999 by hash of v1", "bucket 1) OR (1=1 of 16 by hash of v1",
	} {
		_, err := sqltext.ParseBucket(unit, "hash of v1")
		require.Equal(t, fault.ReasonSourceChanged, fault.ReasonOf(err), unit)
	}
}

func TestVaries(t *testing.T) {
	for sql, want := range map[string]bool{
		"SELECT * FROM t": false,
		"SELECT 'now()' AS a, \"random\" FROM t -- now()":   false,
		"SELECT known, nowadays, age, uuid FROM t":          false,
		"SELECT * FROM t WHERE ts > NOW() - INTERVAL 7 DAY": true,
		"SELECT * FROM t WHERE d = current_date":            true,
		"SELECT * FROM t TABLESAMPLE 10 PERCENT":            true,
		"SELECT * FROM t WHERE random() < 0.5":              true,
	} {
		require.Equal(t, want, sqltext.Varies(sql), sql)
	}
}
