package alerts

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
)

// receive answers the address of a receiver that answers by f; the path has a secret.
func receive(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL + "/canary-path"
}

func post(t *testing.T, address string, private bool) error {
	t.Helper()
	err := NewWebhooks(private).Send(t.Context(), address, []byte("key"), "msg_1", []byte(`{"event":"test"}`))
	if err != nil {
		require.NotContains(t, err.Error(), "canary")
	}
	return err
}

func TestAWebhookIsSigned(t *testing.T) {
	var got *http.Request
	var body []byte
	address := receive(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.WithoutCancel(r.Context()))
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	require.NoError(t, post(t, address, true))
	require.Equal(t, http.MethodPost, got.Method)
	require.JSONEq(t, `{"event":"test"}`, string(body))
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "msg_1", got.Header.Get("webhook-id"))
	require.Equal(t, "msg_1", got.Header.Get("Idempotency-Key"))
	seconds, err := strconv.ParseInt(got.Header.Get("webhook-timestamp"), 10, 64)
	require.NoError(t, err)
	require.Equal(t, sign([]byte("key"), "msg_1", time.Unix(seconds, 0), body), got.Header.Get("webhook-signature"))
}

func TestWhatAReceiverAnswersDecides(t *testing.T) {
	for status, want := range map[int]fault.Class{
		400: fault.Unavailable, 401: fault.Unavailable, 404: fault.Unavailable, 405: fault.Unavailable, 410: fault.NotFound, 429: fault.Unavailable, 500: fault.Unavailable, 503: fault.Unavailable,
	} {
		err := post(t, receive(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			http.Error(w, "canary of the receiver", status)
		}), true)
		require.Error(t, err)
		require.Equal(t, want, fault.ClassOf(err), status)
		require.Contains(t, err.Error(), strconv.Itoa(status))
		require.Equal(t, 7*time.Second, fault.As(err).RetryAfter)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	followed := false
	other := receive(t, func(http.ResponseWriter, *http.Request) { followed = true })
	err := post(t, receive(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other, http.StatusTemporaryRedirect) }), true)
	require.ErrorContains(t, err, "redirects are not followed")
	require.False(t, followed)
}

func TestAReceiverThatDoesNotAnswerIsGivenUpInTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address := receive(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel() // as the deadline would
		<-r.Context().Done()
	})
	err := NewWebhooks(true).Send(ctx, address, []byte("key"), "msg_1", []byte("{}"))
	require.ErrorContains(t, err, "does not answer in time")
}

func TestAnEndlessAnswerIsNotRead(t *testing.T) {
	left := make(chan struct{})
	require.NoError(t, post(t, receive(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(left)
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 64<<10)); err != nil {
				return
			}
		}
	}), true))
	<-left
	err := post(t, receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 2*maxHeaders))
	}), true)
	require.ErrorContains(t, err, "cannot be reached, or ended the connection")
}

func TestWhereAWebhookCanNotGo(t *testing.T) {
	address := receive(t, func(http.ResponseWriter, *http.Request) { t.Error("it was called") })
	require.ErrorContains(t, post(t, address, false), "--scheduler-alerts-private")
	require.ErrorContains(t, post(t, strings.Replace(address, "127.0.0.1", "localhost", 1), false), "--scheduler-alerts-private")
	require.ErrorContains(t, post(t, "http://169.254.169.254/canary", true), "link-local")
	require.ErrorContains(t, post(t, "http://host.invalid/canary", true), "cannot be looked up")
	require.ErrorContains(t, post(t, strings.Replace(address, "http:", "https:", 1), true), "does not speak TLS")
	require.ErrorContains(t, post(t, "http://127.0.0.1:1/canary", true), "refuses the connection")

	self := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	self.Config.ErrorLog = log.New(io.Discard, "", 0)
	self.StartTLS()
	t.Cleanup(self.Close)
	require.ErrorContains(t, post(t, self.URL+"/canary", true), "certificate")
}
