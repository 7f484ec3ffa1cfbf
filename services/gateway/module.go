package gateway

import (
	"context"

	"millrace.dev/pkg/app"
)

// Name is the service's name in the mesh.
const Name = "gateway"

// Module is the service as a binary lists it.
func Module() app.Module {
	settings := &Settings{}
	return app.Module{
		Name:     Name,
		Settings: settings,
		New: func(ctx context.Context, env *app.Env) (app.Service, error) {
			return New(ctx, env, *settings)
		},
	}
}
