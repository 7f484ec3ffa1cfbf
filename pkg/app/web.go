package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"millrace.dev/pkg/fault"
)

// web is the HTTP side of a process: /healthz, /readyz, /metrics, by setting /debug/pprof/, and the paths of its Webber.
type web struct {
	listener net.Listener // nil where none is wanted
	server   *http.Server
	work     sync.WaitGroup
}

func serveWeb(p *Process) (*web, error) {
	w := &web{}
	addr := p.settings.httpAddr()
	if addr == "" {
		return w, nil
	}
	l, err := listen(p.soft, addr, "http")
	if err != nil {
		return nil, err
	}
	w.listener = l
	w.server = &http.Server{
		Handler: routes(p), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	w.work.Go(func() {
		if err := w.server.Serve(crowded(l, 8, p.log)); err != nil && !errors.Is(err, http.ErrServerClosed) {
			p.endSoft(fault.New(fault.Internal, fault.ReasonInternal, "the HTTP server failed: %w", err))
		}
	})
	return w, nil
}

func routes(p *Process) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := p.Ready(); err != nil {
			f := fault.As(err)
			answer(w, http.StatusServiceUnavailable, f.Reason.Word()+": "+f.Message)
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.tel.Registry(), promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	if p.settings.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	for _, s := range p.services {
		if h, ok := s.service.(Webber); ok {
			return beside(mux, h)
		}
	}
	return mux
}

// beside answers what own answers, to those that web hears if it says so, and by web all else. Web gets paths as they came.
func beside(own *http.ServeMux, web Webber) http.Handler {
	guarded, other := http.Handler(own), web.Handler()
	if g, ok := web.(Guard); ok {
		guarded = g.Guard(own)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := own.Handler(r); pattern != "" {
			guarded.ServeHTTP(w, r)
			return
		}
		other.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n")) // a caller that left needs no answer
}

// close ends the server; ctx has not ended.
func (w *web) close(ctx context.Context) error {
	if w.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		_ = w.server.Close()
	}
	w.work.Wait()
	return nil
}

// HTTPAddr answers the address that HTTP is served on, empty where there is none.
func (p *Process) HTTPAddr() string {
	if p.web.listener == nil {
		return ""
	}
	return p.web.listener.Addr().String()
}
