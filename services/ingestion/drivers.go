package ingestion

import (
	"context"
	"log/slog"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/pebble"
	"millrace.dev/pkg/store/postgres"
)

// storeSystem answers what a store is, by the conventions of spans.
func storeSystem(url string) string {
	if strings.HasPrefix(url, "pebble:") {
		return "pebble"
	}
	return "postgresql"
}

// openStore opens the platform store of a URL: pebble:DIR or postgres://… It is the one place that names drivers.
func openStore(ctx context.Context, url string, s Settings, log *slog.Logger) (store.Store, error) {
	if dir, ok := strings.CutPrefix(url, "pebble:"); ok && dir != "" {
		st, err := pebble.Open(ctx, dir, pebble.Options{Log: log})
		if err != nil {
			return nil, err //nolint:wrapcheck // classified by the driver
		}
		return st, nil
	}
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		st, err := postgres.Open(ctx, url, postgres.Options{MaxConns: s.MaxConns})
		if err != nil {
			return nil, err //nolint:wrapcheck // classified by the driver
		}
		return st, nil
	}
	scheme, _, _ := strings.Cut(url, ":")
	return nil, &fault.Error{
		Class: fault.Invalid, Reason: fault.ReasonInvalidArgument, Field: "store",
		Message: "no store is known for the scheme \"" + scheme + "\"; write pebble:DIR or postgres://…",
	}
}
