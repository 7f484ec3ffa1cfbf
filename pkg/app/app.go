// Package app is the life of a process: it hosts the modules that a binary lists, serves them on TCP and in memory, and
// stops in two stages (no new work and finish what is in hand; after the grace, cut).
package app

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"millrace.dev/pkg/bus"
)

// Module is a service as a binary lists it.
type Module struct {
	// Name is the service's: config, scheduler, extractor, mapper, ingestion.
	Name string
	// Settings points to a struct of the module's own flags (kong tags), or is nil. Filled before New is called.
	Settings any
	// UsesBus says that New needs Env.Bus.
	UsesBus bool
	// New builds the service. It opens what the service owns, and dials and spawns nothing.
	New func(ctx context.Context, env *Env) (Service, error)
}

// Service is a module at work.
type Service interface {
	// Register adds the service's gRPC servers.
	Register(r grpc.ServiceRegistrar)
	// Run works until soft ends, then takes no new work, finishes what is in hand and returns. What it has in hand goes
	// by hard, which ends when the grace is over. An error ends the process.
	Run(soft, hard context.Context) error
	// Close frees what New opened, after Run has returned and the servers have stopped.
	Close() error
}

// Env is what a process gives to a module. Everything in it is the module's own or safe for concurrent use.
type Env struct {
	Name    string
	Log     *slog.Logger
	Tracer  trace.Tracer // of the module's own resource (service.name = Name)
	Metrics prometheus.Registerer
	Bus     *bus.Bus // nil unless UsesBus
	Shared  Shared
	// Dial answers a connection to a service of the mesh by name, in memory where this process hosts it. It does not
	// block; calls wait for the service. Owned by the process.
	Dial func(service string) (grpc.ClientConnInterface, error)
}

// Shared is the settings that services have in common.
type Shared struct {
	Data  string // folder of everything embedded
	SQL   string // control database: sqlite:PATH or postgres://…
	Store string // platform store: pebble:DIR or postgres://…
	Quota string // memory or redis://…
	Keys  string // key set of credentials: file:PATH or a KMS URI
	// AllInOne process: files of the machine's user may be read. A separate extractor reads none unless its settings say so.
	FilesAnywhere bool
}
