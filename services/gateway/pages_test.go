package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPagesAreServedBesideREST(t *testing.T) {
	w := start(t, Settings{}, &peer{})
	r := w.send("GET", "/w/default/nothing", "")
	require.Equal(t, http.StatusNotFound, r.status)
	require.Contains(t, r.header.Get("Content-Type"), "text/html")
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	require.Contains(t, r.header.Get("Content-Security-Policy"), "script-src 'self'")
	r = w.send("GET", "/wrong", "", "Accept", "text/html,*/*")
	require.Equal(t, http.StatusNotFound, r.status)
	require.Contains(t, r.text, "There is no such page")
	require.Contains(t, w.send("GET", "/metrics", "").text, `millrace_gateway_requests_total{method="GET",route="/",status="404"} 2`)
}

func TestPagesAreBounded(t *testing.T) {
	w := start(t, Settings{MaxBody: 1 << 10, MaxRequests: 1}, &peer{})
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	w.problem(w.send("POST", "/w/default/syncs", strings.Repeat("x", 1<<11), form...), http.StatusRequestEntityTooLarge, "invalid_argument")
	in, err := w.service.gate.enter(requests)
	require.NoError(t, err)
	w.problem(w.send("GET", "/w/default/syncs", ""), http.StatusTooManyRequests, "limit_exceeded")
	r := w.send("GET", "/w/default/syncs", "", "Accept", "text/html")
	require.Equal(t, http.StatusTooManyRequests, r.status)
	require.Equal(t, "3", r.header.Get("Refresh"), "a page asks again by itself")
	require.Contains(t, r.header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, r.text, "Too much at once")
	in.leave()
	w.problem(w.send("POST", "/w/default/syncs", "a=b", append(form, "Sec-Fetch-Site", "cross-site")...), http.StatusForbidden, "invalid_argument")
}
