package histories_test

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/stretchr/testify/require"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

// stored is what the platform holds under a key.
type stored struct {
	key     string
	content string
	times   []int64 // of a profile's attributes; noTime for none
	named   bool    // it belongs to a profile
}

// compare says that what is stored is what the fold says: nothing lost, nothing doubled, nothing older than it should be.
func (p *player) compare() {
	found := p.profiles()
	if p.history.kind == "events" {
		found = p.events()
	}
	var lost, doubled int64
	var first string
	tell := func(n *int64, format string, args ...any) {
		if *n++; first == "" {
			first = fmt.Sprintf(format, args...)
		}
	}
	seen := map[string]bool{}
	for _, s := range found {
		key, err := strconv.ParseInt(s.key, 10, 64)
		require.NoError(p.t, err)
		want, ok := p.fold.entries[key]
		switch {
		case !ok || seen[s.key]:
			tell(&doubled, "key %d is stored once too often", key)
		case s.content != want.content || s.named == (key == 0):
			tell(&lost, "key %d is %s, want %s", key, s.content, want.content)
		case slices.ContainsFunc(s.times, func(t int64) bool { return !slices.Contains(want.times, t) }):
			tell(&lost, "the row times of key %d are %v, want one of %v", key, s.times, want.times)
		}
		seen[s.key] = true
	}
	for key := range p.fold.entries {
		if !seen[strconv.FormatInt(key, 10)] {
			tell(&lost, "key %d is missing", key)
		}
	}
	p.plot.judged(lost, doubled)
	require.Empty(p.t, first, "%d lost, %d doubled", lost, doubled)
	p.counted()
}

// counted says that the store's own count is the fold's.
func (p *player) counted() {
	digest, err := p.mesh.ingestion.GetStoreDigest(p.t.Context(), &ingestionv1.GetStoreDigestRequest{Workspace: p.workspace})
	require.NoError(p.t, err)
	named := len(p.fold.entries)
	if _, ok := p.fold.entries[0]; ok {
		named--
	}
	require.EqualValues(p.t, named, digest.GetProfiles())
	require.EqualValues(p.t, named, digest.GetIdentities())
	if p.history.kind == "events" {
		require.EqualValues(p.t, len(p.fold.entries), digest.GetEvents())
	}
}

// profiles answers every profile of the workspace.
func (p *player) profiles() []stored {
	var out []stored
	for token := ""; ; {
		res, err := p.mesh.ingestion.ListProfiles(p.t.Context(), &ingestionv1.ListProfilesRequest{Workspace: p.workspace, PageSize: 1000, PageToken: token})
		require.NoError(p.t, err)
		for _, q := range res.GetProfiles() {
			require.Len(p.t, q.GetIdentities(), 1)
			a := q.GetUserAttributes().GetFields()
			s := stored{
				key: q.GetIdentities()[0].GetValue(), named: true,
				content: fmt.Sprintf("%s|%.0f", a["name"].GetStringValue(), a["amount"].GetNumberValue()),
			}
			for _, name := range []string{"name", "amount"} {
				time := noTime
				if at := q.GetProvenance()[name].GetRowTime(); at != nil {
					time = at.AsTime().UnixNano()
				}
				s.times = append(s.times, time)
			}
			out = append(out, s)
		}
		if token = res.GetNextPageToken(); token == "" {
			return out
		}
	}
}

// events answers every event that the sync brought in.
func (p *player) events() []stored {
	var out []stored
	for token := ""; ; {
		res, err := p.mesh.ingestion.ListEvents(p.t.Context(), &ingestionv1.ListEventsRequest{Workspace: p.workspace, Sync: "s", PageSize: 1000, PageToken: token})
		require.NoError(p.t, err)
		for _, e := range res.GetEvents() {
			data := e.GetData().GetFields()
			a := data["custom_attributes"].GetStructValue().GetFields()
			out = append(out, stored{
				key: a["key"].GetStringValue(), named: e.GetMpid() != "",
				content: fmt.Sprintf("%s|%.0f|%.0f", a["name"].GetStringValue(), a["amount"].GetNumberValue(), data["timestamp_unixtime_ms"].GetNumberValue()),
			})
		}
		if token = res.GetNextPageToken(); token == "" {
			return out
		}
	}
}
