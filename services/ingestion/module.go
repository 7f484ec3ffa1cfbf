package ingestion

import (
	"context"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/store"
)

// Name is the service's name in the mesh.
const Name = "ingestion"

// Module is the service as a binary lists it.
func Module() app.Module { return ModuleOver(func(s store.Store) store.Store { return s }) }

// ModuleOver is Module with the store that `over` makes of the one that the settings name, so that tests can make the
// store fail.
func ModuleOver(over func(store.Store) store.Store) app.Module {
	settings := &Settings{}
	return app.Module{
		Name:     Name,
		Settings: settings,
		UsesBus:  true,
		New: func(ctx context.Context, env *app.Env) (app.Service, error) {
			return open(ctx, env, *settings, over)
		},
	}
}
