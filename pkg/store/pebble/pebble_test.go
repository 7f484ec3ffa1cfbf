package pebble_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/pebble"
	"millrace.dev/pkg/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small are options under which tests meet what large stores meet: flushes, compactions, a crowded filter.
func small(fs vfs.FS) pebble.Options {
	return pebble.Options{FS: fs, Cache: 8 << 20, MemTable: 256 << 10, Filter: 4 << 10, Bindings: 4 << 10}
}

func TestSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Store {
		fs := vfs.NewMem()
		return func() store.Store {
			s, err := pebble.Open(t.Context(), "store", small(fs))
			require.NoError(t, err)
			return s
		}
	}, storetest.Exceptions{})
}
