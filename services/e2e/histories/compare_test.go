package histories_test

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/stretchr/testify/require"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

// compare says that what is stored is what the fold says: nothing lost, nothing doubled, nothing older than it should be.
func (p *player) compare() {
	if p.history.kind == "events" {
		p.compareEvents()
	} else {
		p.compareProfiles()
	}
	digest, err := p.mesh.ingestion.GetStoreDigest(p.t.Context(), &ingestionv1.GetStoreDigestRequest{Workspace: p.workspace})
	require.NoError(p.t, err)
	entries, named := len(p.fold.entries), len(p.fold.entries)
	if _, ok := p.fold.entries[0]; ok {
		named--
	}
	require.EqualValues(p.t, named, digest.GetProfiles())
	require.EqualValues(p.t, named, digest.GetIdentities())
	if p.history.kind == "events" {
		require.EqualValues(p.t, entries, digest.GetEvents())
	}
}

func (p *player) compareProfiles() {
	t := p.t
	seen := map[int64]bool{}
	for token := ""; ; {
		res, err := p.mesh.ingestion.ListProfiles(t.Context(), &ingestionv1.ListProfilesRequest{Workspace: p.workspace, PageSize: 1000, PageToken: token})
		require.NoError(t, err)
		for _, q := range res.GetProfiles() {
			require.Len(t, q.GetIdentities(), 1)
			key, err := strconv.ParseInt(q.GetIdentities()[0].GetValue(), 10, 64)
			require.NoError(t, err)
			want, ok := p.fold.entries[key]
			require.True(t, ok, "nobody has the key %d", key)
			require.False(t, seen[key], "two profiles have the key %d", key)
			seen[key] = true
			a := q.GetUserAttributes().GetFields()
			require.Equal(t, want.content, fmt.Sprintf("%s|%.0f", a["name"].GetStringValue(), a["amount"].GetNumberValue()), "key %d", key)
			for _, name := range []string{"name", "amount"} {
				time := noTime
				if at := q.GetProvenance()[name].GetRowTime(); at != nil {
					time = at.AsTime().UnixNano()
				}
				require.True(t, slices.Contains(want.times, time), "the row time of %s of key %d is %d, want one of %v", name, key, time, want.times)
			}
		}
		if token = res.GetNextPageToken(); token == "" {
			break
		}
	}
	require.Len(t, seen, len(p.fold.entries), "profiles are missing")
}

func (p *player) compareEvents() {
	t := p.t
	seen := map[int64]bool{}
	for token := ""; ; {
		res, err := p.mesh.ingestion.ListEvents(t.Context(), &ingestionv1.ListEventsRequest{Workspace: p.workspace, Sync: "s", PageSize: 1000, PageToken: token})
		require.NoError(t, err)
		for _, e := range res.GetEvents() {
			data := e.GetData().GetFields()
			a := data["custom_attributes"].GetStructValue().GetFields()
			key, err := strconv.ParseInt(a["key"].GetStringValue(), 10, 64)
			require.NoError(t, err)
			want, ok := p.fold.entries[key]
			require.True(t, ok, "no event has the key %d", key)
			require.False(t, seen[key], "two events have the key %d", key)
			seen[key] = true
			got := fmt.Sprintf("%s|%.0f|%.0f", a["name"].GetStringValue(), a["amount"].GetNumberValue(), data["timestamp_unixtime_ms"].GetNumberValue())
			require.Equal(t, want.content, got, "key %d", key)
			require.Equal(t, key == 0, e.GetMpid() == "", "key %d", key)
		}
		if token = res.GetNextPageToken(); token == "" {
			break
		}
	}
	require.Len(t, seen, len(p.fold.entries), "events are missing")
}
