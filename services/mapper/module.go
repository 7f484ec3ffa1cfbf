package mapper

import (
	"context"
	_ "time/tzdata" // zones of iterators, on machines that have none

	"millrace.dev/pkg/app"
)

// Name is the service's name in the mesh.
const Name = "mapper"

// Module is the service as a binary lists it.
func Module() app.Module {
	settings := &Settings{}
	return app.Module{
		Name:     Name,
		Settings: settings,
		UsesBus:  true,
		New: func(_ context.Context, env *app.Env) (app.Service, error) {
			return New(env, *settings)
		},
	}
}
