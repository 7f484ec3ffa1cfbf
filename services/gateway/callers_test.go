package gateway

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
)

// answering is a peer that answers what the tests here ask.
func answering() *peer {
	return &peer{
		createSync: func(context.Context, *configv1.CreateSyncRequest) (*configv1.CreateSyncResponse, error) {
			return &configv1.CreateSyncResponse{}, nil
		},
		getSync: func(context.Context, *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error) {
			return &configv1.GetSyncResponse{}, nil
		},
	}
}

func TestFiguresAndProfilesOfTheProcessAreForThoseWhoAreHeard(t *testing.T) {
	w := startIn(t, app.Settings{Pprof: true}, Settings{Hosts: []string{"metrics.example"}}, others(&silent{}))
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/cmdline"} {
		require.Equal(t, http.StatusOK, w.send("GET", path, "").status, path)
		require.Equal(t, http.StatusOK, w.send("GET", path, "", "Host", "metrics.example:7081").status, path)
		w.problem(w.send("GET", path, "", "Host", "evil.example"), http.StatusMisdirectedRequest, "invalid_argument")
		w.problem(w.send("GET", path, "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), http.StatusForbidden, "invalid_argument")
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		require.Equal(t, http.StatusOK, w.send("GET", path, "", "Host", "probe.example").status, path)
	}
}

func TestPagesOfOtherSitesAreNotHeard(t *testing.T) {
	w := start(t, Settings{}, unasked(t))
	for _, headers := range [][]string{
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
		{"Origin", w.base + "0"},
		{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"},
		{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Origin", "http://127.0.0.1:3000"},
		{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
	} {
		w.problem(w.ask("POST", "/syncs", `{"mode":"full"}`, headers...), http.StatusForbidden, "invalid_argument")
		w.problem(w.ask("POST", "/syncs/x:pause", "", headers...), http.StatusForbidden, "invalid_argument")
		r := w.ask("GET", "/syncs/x", "", headers...)
		w.problem(r, http.StatusForbidden, "invalid_argument")
		require.Empty(t, r.header.Get("Access-Control-Allow-Origin"))
	}
	// A page that is followed to from elsewhere may be shown, and a form that is sent from elsewhere may not.
	form := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	w.problem(w.ask("POST", "/syncs/x:pause", "", form...), http.StatusForbidden, "invalid_argument")
	w = start(t, Settings{}, answering())
	require.Equal(t, http.StatusOK, w.ask("GET", "/syncs/x", "", form...).status)
}

func TestPagesOfItsOwnAndProgramsAreHeard(t *testing.T) {
	w := start(t, Settings{}, answering())
	for _, headers := range [][]string{
		nil,
		{"Origin", w.base},
		{"Sec-Fetch-Site", "same-origin", "Origin", w.base},
		{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"},
	} {
		require.Equal(t, http.StatusOK, w.ask("POST", "/syncs", `{"mode":"full"}`, headers...).status)
		require.Equal(t, http.StatusOK, w.ask("GET", "/syncs/x", "", headers...).status)
	}
}

func TestTheGatewayIsCalledByItsNames(t *testing.T) {
	w := start(t, Settings{}, answering())
	for _, host := range []string{"evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "7f000001.evil.example:7081"} {
		// The name of a page leads here, and its browser takes both for one site.
		r := w.ask("GET", "/syncs/x", "", "Host", host, "Sec-Fetch-Site", "same-origin", "Origin", "http://"+host)
		w.problem(r, http.StatusMisdirectedRequest, "invalid_argument")
		require.NotContains(t, r.text, "evil")
		w.problem(w.ask("POST", "/syncs", `{"mode":"full"}`, "Host", host), http.StatusMisdirectedRequest, "invalid_argument")
		w.problem(w.send("GET", "/v1/openapi.json", "", "Host", host), http.StatusMisdirectedRequest, "invalid_argument")
	}
	for _, host := range []string{"localhost", "LocalHost:7081", "localhost.", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:7081", "10.1.2.3:7081"} {
		require.Equal(t, http.StatusOK, w.ask("GET", "/syncs/x", "", "Host", host).status, host)
	}
	w = start(t, Settings{Hosts: []string{"API.example.com"}}, answering())
	require.Equal(t, http.StatusOK, w.ask("GET", "/syncs/x", "", "Host", "api.example.com:443").status)
	w.problem(w.ask("GET", "/syncs/x", "", "Host", "example.com"), http.StatusMisdirectedRequest, "invalid_argument")
	w = start(t, Settings{Hosts: []string{"*"}}, answering())
	require.Equal(t, http.StatusOK, w.ask("GET", "/syncs/x", "", "Host", "anything.example").status)
}

func TestOtherMachinesReachItOnlyWhereTheOperatorSaysSo(t *testing.T) {
	open := func(addr string, hosts ...string) error {
		own := app.Module{Name: Name, New: func(ctx context.Context, env *app.Env) (app.Service, error) {
			return New(ctx, env, Settings{Hosts: hosts})
		}}
		p, err := app.Start(t.Context(), app.Options{Modules: []app.Module{own}, Settings: app.Settings{Data: t.TempDir(), GRPC: "none", HTTP: addr}})
		if err == nil {
			require.NoError(t, p.Stop(t.Context()))
		}
		return err
	}
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "gateway.example:0"} {
		err := open(addr)
		require.Error(t, err, addr)
		require.Equal(t, fault.Precondition, fault.ClassOf(err), addr)
		require.Contains(t, err.Error(), "gateway-hosts", addr)
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0", "[::ffff:127.0.0.1]:0"} {
		require.NoError(t, open(addr), addr)
	}
	require.NoError(t, open("0.0.0.0:0", "api.example.com"))
	require.NoError(t, open("0.0.0.0:0", "*"))
	require.NoError(t, open("[::]:0", "2001:db8::1"))
	for _, name := range []string{"", "https://api.example.com", "api.example.com:443", "api.example.com/v1", "*.example.com", "a b"} {
		require.Equal(t, fault.Invalid, fault.ClassOf(open("0.0.0.0:0", name)), name)
	}
	require.ErrorContains(t, open("none"), "http is none")
}
