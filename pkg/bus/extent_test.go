package bus_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/bus"
)

// TestAnExtentSaysWhatIsDoneWith: whoever notes the last message sees by the first one when all up to it are.
func TestAnExtentSaysWhatIsDoneWith(t *testing.T) {
	b := openBus(t, bus.Settings{Dir: t.TempDir(), MaxBytes: 64 << 20})
	x, err := b.Extent(t.Context(), bus.Rows)
	require.NoError(t, err)
	require.Zero(t, x.Last)
	publish(t, b, bus.Rows, "m", "n")
	x, err = b.Extent(t.Context(), bus.Rows)
	require.NoError(t, err)
	require.Equal(t, bus.Extent{First: 1, Last: 2}, x)
	consume(t, b, bus.Rows, bus.ConsumeOptions{}, handler{handle: func(context.Context, bus.Delivery) error { return nil }})
	settles(t, b, bus.Rows, 0)
	x, err = b.Extent(t.Context(), bus.Rows)
	require.NoError(t, err)
	require.Equal(t, bus.Extent{First: 3, Last: 2}, x, "an empty stream begins behind its last message")
}
