// Package console is the pages that people watch and steer syncs by. Each page is made on the server of what the services
// answer by gRPC; the browser gets HTML that works as it is, and small scripts (assets) that keep it live. Nothing is asked
// of any other host, and nothing is held here but copies of what can be asked for again: a page that was left open through a restart goes on.
//
// A page is a route (routes.go), a function that asks and answers a view (view.go), and a template of the same name.
package console

import (
	"context"
	"html/template"
	"log/slog"
	"net/http"

	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	tracev1 "millrace.dev/gen/millrace/trace/v1"
)

// Console answers pages. Safe for concurrent use.
type Console struct {
	log       *slog.Logger
	config    configv1.ConfigServiceClient
	scheduler schedulerv1.SchedulerServiceClient
	mapper    mapperv1.MapperServiceClient
	ingestion ingestionv1.IngestionServiceClient
	trace     tracev1.TraceServiceClient
	samples   *samples
	templates map[string]*template.Template
	assets    assets
	mux       *http.ServeMux
	lasting   map[string]bool // patterns that are answered by a stream of events or a download
	stop      context.Context //nolint:containedctx // ends to make streams end
}

// Conns are the connections to the services that pages are made of.
type Conns struct {
	Config, Scheduler, Mapper, Ingestion, Trace grpc.ClientConnInterface
}

// New prepares the pages. Streams end with stop.
func New(stop context.Context, log *slog.Logger, c Conns) (*Console, error) {
	files, err := readAssets()
	if err != nil {
		return nil, err
	}
	t, err := readTemplates(files)
	if err != nil {
		return nil, err
	}
	v := &Console{
		log: log, templates: t, assets: files, samples: newSamples(), mux: http.NewServeMux(), lasting: map[string]bool{}, stop: stop,
		config: configv1.NewConfigServiceClient(c.Config), scheduler: schedulerv1.NewSchedulerServiceClient(c.Scheduler),
		mapper: mapperv1.NewMapperServiceClient(c.Mapper), ingestion: ingestionv1.NewIngestionServiceClient(c.Ingestion),
		trace: tracev1.NewTraceServiceClient(c.Trace),
	}
	v.mux.Handle("GET /assets/{version}/{name}", v.assets)
	for _, r := range v.routes() {
		v.mux.HandleFunc(r.pattern, v.page(r.answer))
	}
	for _, r := range v.streams() {
		v.lasting[r.pattern] = true
		v.mux.HandleFunc(r.pattern, v.stream(r.answer))
	}
	for _, r := range v.downloads() {
		v.lasting[r.pattern] = true
		v.mux.HandleFunc(r.pattern, v.page(r.answer))
	}
	v.mux.HandleFunc("/", v.page(nowhere))
	return v, nil
}

// ServeHTTP answers a page, an asset or a stream of events.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	policed(w.Header())
	c.mux.ServeHTTP(w, r)
}

// policed says in a header what a page may do.
func policed(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// policy lets pages load what this origin has, and nothing inline: a value of a warehouse that is HTML stays text, and were
// it not, it could do nothing.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// Route answers the pattern that a request is answered by, and whether it is a stream.
func (c *Console) Route(r *http.Request) (pattern string, stream bool) {
	_, pattern = c.mux.Handler(r)
	return pattern, c.lasting[pattern]
}
