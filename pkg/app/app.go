// Package app is the life of a process: it hosts the modules that a binary lists, serves them on TCP and in memory, and
// stops in two stages (no new work and finish what is in hand; after the grace, cut).
package app

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"millrace.dev/pkg/bus"
)

// Module is a service as a binary lists it.
type Module struct {
	// Name is the service's: config, scheduler, extractor, mapper, ingestion, trace, gateway.
	Name string
	// Settings points to a struct of the module's own flags (kong tags), or is nil. Filled before New is called. A field
	// Workers is the flag --<name>-workers (in a process of this one module also --workers), MILLRACE_<NAME>_WORKERS, and
	// `workers` in the section <name> of the file.
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
	// by hard, which ends when the grace is over. An error ends the process, unless soft has ended and it says no more
	// than that.
	Run(soft, hard context.Context) error
	// Close frees what New opened, after Run has returned and the servers have stopped.
	Close() error
}

// Readier is a service that may be unable to do its work although its process lives; while it says so the process is not
// ready.
type Readier interface{ Ready() error }

// Webber is a service that answers HTTP as well, on the process's own address: every path that the process does not answer
// itself (/healthz, /readyz, /metrics, /debug/pprof/) is the handler's, which bounds the time that a request may take to be
// read and answered. At most one service of a process is one. Requests come from Start on; those that come when Run has
// returned are cut off soon.
type Webber interface{ Handler() http.Handler }

// Guard is a Webber that browsers call. It answers a handler that passes on to own, the process's own paths, the requests that
// it would hear itself, and refuses the others.
type Guard interface {
	Guard(own http.Handler) http.Handler
}

// Env is what a process gives to a module. Everything in it is the module's own or safe for concurrent use.
type Env struct {
	Name    string
	Log     *slog.Logger
	Tracer  trace.Tracer // of the module's own resource (service.name = Name)
	Metrics prometheus.Registerer
	Bus     *bus.Bus // nil unless UsesBus
	Alone   bool     // the process hosts no other module
	Hosted  []string // the names of all modules that the process hosts
	HTTP    string   // the address that the process will serve HTTP on, as its settings have it; empty where it serves none
	Shared  Shared
	// Dial answers a connection to a service of the mesh by name, in memory where this process hosts it. It does not
	// block; calls wait for the service, at most rpc.CallTimeout unless they have a deadline. Owned by the process.
	Dial func(service string) (grpc.ClientConnInterface, error)
}

// Shared is the settings that services have in common.
type Shared struct {
	Data  string // folder of everything embedded
	SQL   string // control database: sqlite:PATH or postgres://…
	Store string // platform store: pebble:DIR or postgres://…
	Quota string // memory or redis://…
	Keys  string // key set of credentials: file:PATH or a KMS URI
	// OwnKeys says that nobody named Keys: it is a file in Data, which the process makes where there is none.
	OwnKeys bool
	// AllInOne process: files of the machine's user may be read. A separate extractor reads none unless its settings say so.
	FilesAnywhere bool
}

// Settings is what an operator sets of a process, besides its modules' own.
type Settings struct {
	GRPC string `name:"grpc" placeholder:"ADDR" help:"Address of the gRPC services; a service alone has its own of 127.0.0.1:7001 to 7007, more than one 127.0.0.1:7080."`
	HTTP string `name:"http" placeholder:"ADDR" help:"Address of /healthz, /readyz, /metrics and, where the gateway runs, of the REST API; a service alone has its own of 127.0.0.1:7101 to 7107, more than one 127.0.0.1:7081. 'none' serves none."`

	Data  string `default:"./millrace-data" placeholder:"DIR" help:"Folder of everything embedded (${default})."`
	NATS  string `name:"nats" default:"embedded" placeholder:"URL" help:"Broker: embedded, or nats://… (${default})."`
	SQL   string `name:"sql" placeholder:"URL" help:"Control tables: sqlite:PATH or postgres://… (sqlite: control.db in the data folder)."`
	Store string `placeholder:"URL" help:"Platform store: pebble:DIR or postgres://… (pebble: store in the data folder)."`
	Quota string `default:"memory" placeholder:"URL" help:"Counters and limits: memory or redis://… (${default})."`
	Keys  string `placeholder:"URI" help:"Key set of credentials: file:PATH or a KMS URI (file: keys.json in the data folder)."`

	NATSReplicas int   `name:"nats-replicas" default:"1" help:"Copies of each stream on a NATS cluster."`
	NATSBacklog  int64 `name:"nats-backlog" default:"0" placeholder:"BYTES" help:"What may wait in a data stream before reading pauses; 0 is 32 MiB."`
	NATSMaxBytes int64 `name:"nats-max-bytes" default:"0" placeholder:"BYTES" help:"Bound of each data stream; 0 is 8 GiB, or what fits 70 % of the free disk."`
	NATSLazySync bool  `name:"nats-lazy-sync" help:"Let the embedded broker ack before the disk has the message; a power loss then costs time."`

	OTLP       string        `name:"otlp" placeholder:"ENDPOINT" help:"OTLP gRPC endpoint that spans are sent to beside the trace service, host:port or http(s)://host:port."`
	Reflection bool          `negatable:"" help:"Serve gRPC reflection, which grpcurl needs."`
	Pprof      bool          `help:"Serve /debug/pprof/ on the HTTP address."`
	LogLevel   string        `default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error (${default})."`
	LogFormat  string        `default:"text" enum:"text,json" help:"text or json (${default})."`
	Grace      time.Duration `default:"20s" help:"How long a stop waits for what is in hand (${default})."`

	ConfigAddr    string `default:"127.0.0.1:7001" placeholder:"ADDR" help:"Where the config service is, unless it runs here."`
	SchedulerAddr string `default:"127.0.0.1:7002" placeholder:"ADDR" help:"Where the scheduler is, unless it runs here."`
	ExtractorAddr string `default:"127.0.0.1:7003" placeholder:"ADDR" help:"Where the extractor is, unless it runs here."`
	MapperAddr    string `default:"127.0.0.1:7004" placeholder:"ADDR" help:"Where the mapper is, unless it runs here."`
	IngestionAddr string `default:"127.0.0.1:7005" placeholder:"ADDR" help:"Where the ingestion service is, unless it runs here."`
	// TraceAddr has no default but on a command line: who starts a process in a program says where its spans go.
	TraceAddr string `default:"127.0.0.1:7006" placeholder:"ADDR" help:"Where the trace service is, which spans are sent to, unless it runs here; 'none': there is none, here neither, and no trace is kept."`
}

// none is the address of a server that is not wanted.
const none = "none"

// place is where a service stands unless settings say otherwise.
type place struct{ name, grpc, http string }

// mesh lists the services that a process may call.
func mesh(s Settings) []place {
	return []place{
		{"config", s.ConfigAddr, "127.0.0.1:7101"},
		{"scheduler", s.SchedulerAddr, "127.0.0.1:7102"},
		{"extractor", s.ExtractorAddr, "127.0.0.1:7103"},
		{"mapper", s.MapperAddr, "127.0.0.1:7104"},
		{"ingestion", s.IngestionAddr, "127.0.0.1:7105"},
		{traceService, s.traceAddr(), "127.0.0.1:7106"},
		{"gateway", "127.0.0.1:7007", "127.0.0.1:7107"}, // which nobody calls
	}
}

// traceService is the service that every process sends its spans to.
const traceService = "trace"

// traceAddr answers where the trace service is, empty where there is none.
func (s Settings) traceAddr() string {
	if s.TraceAddr == none {
		return ""
	}
	return s.TraceAddr
}

// httpAddr answers where HTTP is served, empty where it is not.
func (s Settings) httpAddr() string {
	if s.HTTP == none {
		return ""
	}
	return s.HTTP
}

// complete fills what follows from other settings and from the modules hosted.
func (s Settings) complete(modules []Module) Settings {
	def := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	def(&s.ConfigAddr, "127.0.0.1:7001")
	def(&s.SchedulerAddr, "127.0.0.1:7002")
	def(&s.ExtractorAddr, "127.0.0.1:7003")
	def(&s.MapperAddr, "127.0.0.1:7004")
	def(&s.IngestionAddr, "127.0.0.1:7005")
	grpcAddr, httpAddr := "127.0.0.1:7080", "127.0.0.1:7081"
	if len(modules) == 1 {
		for _, p := range mesh(s) {
			if p.name == modules[0].Name {
				grpcAddr, httpAddr = p.grpc, p.http
			}
		}
		if modules[0].Name == traceService && s.traceAddr() == "" {
			grpcAddr = "127.0.0.1:7006"
		}
	}
	def(&s.GRPC, grpcAddr)
	def(&s.HTTP, httpAddr)
	def(&s.Data, "./millrace-data")
	def(&s.NATS, bus.Embedded)
	def(&s.SQL, "sqlite:"+filepath.Join(s.Data, "control.db"))
	def(&s.Store, "pebble:"+filepath.Join(s.Data, "store"))
	def(&s.Quota, "memory")
	def(&s.Keys, "file:"+filepath.Join(s.Data, "keys.json"))
	def(&s.LogLevel, "info")
	def(&s.LogFormat, "text")
	if s.Grace <= 0 {
		s.Grace = 20 * time.Second
	}
	return s
}

func (s Settings) shared(anywhere bool) Shared {
	return Shared{Data: s.Data, SQL: s.SQL, Store: s.Store, Quota: s.Quota, Keys: s.Keys, FilesAnywhere: anywhere}
}
