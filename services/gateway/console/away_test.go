package console

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

// A page shows what the services know that can be reached.

func TestSyncsAreShownWhileTheSchedulerIsAway(t *testing.T) {
	c := open(t, answers{"ListSyncs": says(&configv1.ListSyncsResponse{Syncs: []*configv1.Sync{
		{Meta: &configv1.Meta{Id: "customers", DisplayName: "Customers"}, State: configv1.SyncState_SYNC_STATE_ACTIVE},
	}})})
	w := get(t, c, "/w/default/syncs")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.Contains(t, w.Body.String(), "<bdi>Customers</bdi>")
	require.Contains(t, w.Body.String(), "Runs can not be shown: The service can not be reached")
	require.Contains(t, w.Body.String(), "not known")
	require.NotContains(t, w.Body.String(), "none yet")
}

func TestAProfileIsShownWhileConfigIsAway(t *testing.T) {
	c := open(t, answers{
		"GetProfile":        says(&ingestionv1.GetProfileResponse{Profile: &ingestionv1.Profile{Mpid: "42"}}),
		"ListProfileEvents": says(&ingestionv1.ListProfileEventsResponse{}),
		"ListMerges":        says(&ingestionv1.ListMergesResponse{}),
	})
	w := get(t, c, "/w/default/profiles/42")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.Contains(t, w.Body.String(), "Groups can not be shown: The service can not be reached")
}
