package console

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"millrace.dev/pkg/fault"
)

func TestOnlyPagesOfErrorsAskAgainByThemselves(t *testing.T) {
	asked := "The page asks again by itself."
	away := get(t, open(t, answers{}), "/w/default/syncs")
	require.Contains(t, away.Body.String(), asked)
	require.Contains(t, away.Body.String(), `<h1 class="sr">Not reachable now</h1>`)
	c := open(t, answers{"GetRun": func(any) (proto.Message, error) {
		return nil, fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "away")
	}})
	w := post(t, c, "/w/default/runs/run-7", url.Values{"act": {"cancel"}})
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Empty(t, w.Header().Get("Refresh"), "what was sent is not sent again")
	require.NotContains(t, w.Body.String(), asked)
}

func TestARequestThatItsClientLeftIsNoFaultOfOurs(t *testing.T) {
	c := open(t, answers{"ListSyncs": func(any) (proto.Message, error) { return nil, context.Canceled }})
	require.Equal(t, statusClientClosed, get(t, c, "/w/default/syncs").Code)
}
