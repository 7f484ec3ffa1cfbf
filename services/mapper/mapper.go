// Package mapper is the service that turns rows into records: it applies compiled mappings to the batches of ROWS and
// publishes the results to RECORDS, and answers for mappings before anything runs.
//
// A batch is acked on ROWS once every fragment of its result is durable on RECORDS. Mapping and cutting are pure, so a
// second delivery publishes the same messages under the same ids.
package mapper

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/bus"
)

// Service maps. Safe for concurrent use.
type Service struct {
	log       *slog.Logger
	tracer    trace.Tracer
	settings  Settings
	bus       *bus.Bus
	publisher *bus.Publisher
	peers     *peers
	programs  *programs
	metrics   *metrics
}

// New makes the service. Nothing is consumed before Run.
func New(env *app.Env, s Settings) (*Service, error) {
	p, err := newPeers(env.Dial)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, err
	}
	return &Service{
		log: env.Log, tracer: env.Tracer, settings: s, bus: env.Bus, publisher: env.Bus.Publisher(bus.Records, s.Window),
		peers: p, programs: newPrograms(s.Programs), metrics: m,
	}, nil
}

// Run works on ROWS until soft ends; batches in hand go by hard.
func (s *Service) Run(soft, hard context.Context) error {
	o := bus.ConsumeOptions{Workers: s.settings.Workers, Into: bus.Records, Hard: hard}
	return s.bus.Consume(soft, bus.Rows, Name, o, &worker{s}) //nolint:wrapcheck // classified by bus
}

// Close has nothing to free: the bus is the process's.
func (s *Service) Close() error { return nil }
