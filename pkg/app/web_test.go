package app_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/app"
)

// webber answers each request with its path.
type webber struct{ service }

func (*webber) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "path "+r.URL.Path) })
}

// guard is a webber that hears nobody but those who ask for their health.
type guard struct{ webber }

func (*guard) Guard(own http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			http.Error(w, "refused", http.StatusForbidden)
			return
		}
		own.ServeHTTP(w, r)
	})
}

// webbed answers a module of a service that answers HTTP.
func webbed(s *service, web app.Service) app.Module {
	m := module(s)
	plain := m.New
	m.New = func(ctx context.Context, env *app.Env) (app.Service, error) {
		_, err := plain(ctx, env)
		return web, err
	}
	return m
}

func TestAServiceThatBrowsersCallGuardsThePathsOfItsProcess(t *testing.T) {
	g := &guard{webber{service{name: "web", log: &events{}}}}
	p := start(t, app.Options{Settings: app.Settings{Pprof: true}, Modules: []app.Module{webbed(&g.service, g)}})
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/metrics": http.StatusForbidden, "/debug/pprof/cmdline": http.StatusForbidden, "/v1/x": http.StatusOK,
	} {
		status, _ := get(t, "http://"+p.HTTPAddr()+path)
		require.Equal(t, want, status, path)
	}
}

func TestAServiceThatAnswersHTTPHasThePathsThatAreNotTheProcesss(t *testing.T) {
	w := &webber{service{name: "web", log: &events{}}}
	p := start(t, app.Options{Modules: []app.Module{webbed(&w.service, w), module(&service{name: "mapper", log: w.log})}})
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ok\n", "/": "path /", "/v1/x:y": "path /v1/x:y", "//x": "path //x"} {
		status, text := get(t, "http://"+p.HTTPAddr()+path)
		require.Equal(t, http.StatusOK, status, path)
		require.Equal(t, want, text)
	}
}
