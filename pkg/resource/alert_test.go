package resource_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

func TestAnAlertIsBounded(t *testing.T) {
	a := resource.Alert{
		Meta: resource.Meta{ID: "a"}, On: make([]resource.AlertEvent, 6), Syncs: make([]string, 1001),
		Webhook: &resource.Webhook{URL: "https://h/" + strings.Repeat("x", 2048), Secret: resource.Secret{Plain: strings.Repeat("x", 257)}},
		Email:   &resource.Email{To: make([]string, 21)},
	}
	a.Normalize()
	require.Equal(t, []string{"Alert on", "Alert syncs", "Alert webhook.url", "Alert webhook.secret", "Alert email.to"}, fields(a.Validate()))
	a.On, a.Syncs, a.Webhook, a.Email = resource.AlertEvents(), nil, nil, &resource.Email{}
	for i := range 20 {
		a.Email.To = append(a.Email.To, fmt.Sprintf("a%d@example.com", i))
	}
	require.Empty(t, a.Validate())
}

func TestAMailAddressIsBare(t *testing.T) {
	for _, s := range []string{"a@b.c", "first.last+tag@sub.example.com", "o'hara@example.com", "_x-y@example.com"} {
		require.True(t, resource.ValidAddress(s), s)
	}
	for _, s := range []string{
		"", "a", "a@", "@b.c", "Ann <a@b.c>", "<a@b.c>", "a@b.c, d@e.f", "a@b.c\nBcc: d@e.f", "a@b.c\r\n", "\"a b\"@c.d", "a@[127.0.0.1]", "a@b.c\x00", "a b@c.d",
		strings.Repeat("a", 251) + "@b.c",
	} {
		require.False(t, resource.ValidAddress(s), "%q", s)
	}
}

func TestASyncThatIsLateBeforeEachRunIsNoted(t *testing.T) {
	s := resource.Snapshot{
		Sync:      resource.Sync{Mode: resource.Incremental, Schedule: resource.Schedule{Every: "2h"}, Freshness: 2 * time.Hour},
		DataModel: resource.DataModel{Kind: resource.Users}, Connection: resource.Connection{DuckDB: &resource.DuckDB{}},
	}
	require.Equal(t, []string{"freshness is not longer than schedule.every, so that the sync is late before each run"}, s.Notes())
	s.Sync.Freshness = 3 * time.Hour
	require.Empty(t, s.Notes())
}
