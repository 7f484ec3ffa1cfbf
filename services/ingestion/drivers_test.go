package ingestion

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/testenv"
)

func TestStoresAreOpenedByURL(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, url := range []string{"pebble:" + t.TempDir(), testenv.Postgres(t)} {
		s, err := openStore(t.Context(), url, Settings{}, log)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
	for _, url := range []string{"", "pebble:", "redis://localhost", "/path"} {
		_, err := openStore(t.Context(), url, Settings{}, log)
		require.Equal(t, fault.Invalid, fault.ClassOf(err), url)
	}
}
