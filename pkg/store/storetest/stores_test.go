package storetest_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/pebble"
	"millrace.dev/pkg/store/postgres"
	"millrace.dev/pkg/store/storetest"
	"millrace.dev/pkg/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testenv.Leaks()...) }

// TestBothStoresAgree plays the same histories into both stores, each in ways of its own: one digest comes of each history.
func TestBothStoresAgree(t *testing.T) {
	storetest.Agree(t, func(t *testing.T) func() store.Store {
		return func() store.Store {
			s, err := pebble.Open(t.Context(), "store", pebble.Options{FS: vfs.NewMem(), Cache: 8 << 20, MemTable: 256 << 10, Filter: 4 << 10, Bindings: 4 << 10})
			require.NoError(t, err)
			return s
		}
	}, func(t *testing.T) func() store.Store {
		url := testenv.Postgres(t)
		return func() store.Store {
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			require.NoError(t, err)
			return s
		}
	})
}
