package ingestion

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/store"
)

// brokenStore must be opened again.
type brokenStore struct{ store.Store }

func (brokenStore) Ready() error {
	return fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "store: commit: the disk is full; mend that and start this process again")
}

// silentStore has no word on whether it is ready.
type silentStore struct{ store.Store }

func TestAStoreThatMustBeOpenedAgainMakesTheServiceUnready(t *testing.T) {
	require.NoError(t, newWorld(t, nil).Ready())
	require.NoError(t, newWorld(t, func(s store.Store) store.Store { return silentStore{s} }).Ready())
	err := newWorld(t, func(s store.Store) store.Store { return brokenStore{s} }).Ready()
	require.Equal(t, fault.ReasonStoreUnavailable, fault.ReasonOf(err))
	require.ErrorContains(t, err, "start this process again")
}
