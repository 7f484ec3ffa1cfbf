package resource_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

func fields(vs []fault.Violation) []string {
	var out []string
	for _, v := range vs {
		out = append(out, v.Kind+" "+v.Field)
	}
	return out
}

func TestModesGoWithKinds(t *testing.T) {
	iterator := resource.Iterator{Column: "c", Type: resource.IteratorTimestamp}
	rules := &resource.Mapping{Rules: []resource.Rule{{Ignore: "a"}}}
	cases := []struct {
		name    string
		mode    resource.Mode
		model   resource.DataModel
		mapping *resource.Mapping
		want    []string
	}{
		{"users, incremental", resource.Incremental, resource.DataModel{Kind: resource.Users, Iterator: iterator}, nil, nil},
		{"users, incremental, no iterator", resource.Incremental, resource.DataModel{Kind: resource.Users}, nil, []string{"DataModel iterator"}},
		{"users, full", resource.Full, resource.DataModel{Kind: resource.Users}, nil, nil},
		{"events, incremental", resource.Incremental, resource.DataModel{Kind: resource.Events, Iterator: iterator}, rules, nil},
		{"events, full, with key", resource.Full, resource.DataModel{Kind: resource.Events, KeyColumns: []string{"id"}}, rules, nil},
		{"events, full, no key, no mapping", resource.Full, resource.DataModel{Kind: resource.Events}, nil, []string{"DataModel key_columns", "Sync mapping"}},
		{"users, mirror", resource.Mirror, resource.DataModel{Kind: resource.Users, KeyColumns: []string{"id"}}, nil, nil},
		{"users, mirror, no key", resource.Mirror, resource.DataModel{Kind: resource.Users}, nil, []string{"DataModel key_columns"}},
		{"events, mirror", resource.Mirror, resource.DataModel{Kind: resource.Events, KeyColumns: []string{"id"}}, rules, nil},
		{"groups, incremental", resource.Incremental, resource.DataModel{Kind: resource.Groups, Iterator: iterator}, nil, nil},
		{"groups, incremental, no iterator", resource.Incremental, resource.DataModel{Kind: resource.Groups}, nil, []string{"DataModel iterator"}},
		{"groups, full", resource.Full, resource.DataModel{Kind: resource.Groups}, rules, nil},
		{"lookup, incremental", resource.Incremental, resource.DataModel{Kind: resource.Lookup, Iterator: iterator}, nil, []string{"Sync mode"}},
		{"lookup, full", resource.Full, resource.DataModel{Kind: resource.Lookup}, nil, nil},
		{"lookup, mapping of events", resource.Full, resource.DataModel{Kind: resource.Lookup}, &resource.Mapping{Events: &resource.EventsMapping{}}, []string{"Sync mapping"}},
		{"history, incremental", resource.Incremental, resource.DataModel{Kind: resource.ProfileHistory, Iterator: iterator}, nil, []string{"Sync mode"}},
		{"history, full", resource.Full, resource.DataModel{Kind: resource.ProfileHistory}, nil, []string{"Sync mode"}},
		{"history, mirror", resource.Mirror, resource.DataModel{Kind: resource.ProfileHistory, KeyColumns: []string{"id", "since"}}, nil, nil},
		{"users, mapping of events", resource.Full, resource.DataModel{Kind: resource.Users}, &resource.Mapping{Events: &resource.EventsMapping{}}, []string{"Sync mapping"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := resource.Snapshot{Sync: resource.Sync{Mode: c.mode}, DataModel: c.model, Mapping: c.mapping}
			require.Equal(t, c.want, fields(s.Validate()))
		})
	}
}

func TestNewColumnsAreMappedOnlyByAMappingThatTakesThem(t *testing.T) {
	for name, c := range map[string]struct {
		mapping *resource.Mapping
		want    []string
	}{
		"by name":      {nil, nil},
		"$unmapped":    {&resource.Mapping{Rules: []resource.Rule{{Object: "user_attributes", Rules: []resource.Rule{{Column: "$unmapped", To: "*"}}}}}, nil},
		"no such rule": {&resource.Mapping{Rules: []resource.Rule{{Column: "a", To: "user_attributes.a"}}}, []string{"Sync drift.added"}},
	} {
		s := resource.Snapshot{Sync: resource.Sync{Mode: resource.Full, Drift: resource.Drift{Added: resource.DriftMap}}, DataModel: resource.DataModel{Kind: resource.Users}, Mapping: c.mapping}
		require.Equal(t, c.want, fields(s.Validate()), name)
		s.Sync.Drift.Added = resource.DriftIgnore
		require.Empty(t, s.Validate(), name)
	}
}

func TestUnusedSettingsAreNoted(t *testing.T) {
	s := resource.Snapshot{Sync: resource.Sync{Mode: resource.Full, Lookback: time.Minute, Delay: time.Second}}
	require.Equal(t, []string{"lookback is not used in mode full", "delay is not used in mode full"}, s.Notes())
	s.Sync.Mode = resource.Incremental
	require.Empty(t, s.Notes())
}

func TestMetaIsBounded(t *testing.T) {
	f := resource.Feed{Meta: resource.Meta{
		ID: strings.Repeat("a", 65), DisplayName: strings.Repeat("ä", 256),
		Labels: map[string]string{"": "x", "a b": "x", "ok": "line\nbreak", "millrace.dev/apply-set": "x"},
	}}
	f.Normalize()
	require.Equal(t, []string{"Feed id", "Feed display_name", "Feed labels", "Feed labels", "Feed labels.ok"}, fields(f.Validate()))
	f.Meta = resource.Meta{ID: "a-1_b", DisplayName: strings.Repeat("ä", 255)}
	require.Empty(t, f.Validate())
	f.DisplayName = "a\x00"
	require.Equal(t, []string{"Feed display_name"}, fields(f.Validate()))
}

func TestSecretsHideFromEveryVerb(t *testing.T) {
	s := resource.Secret{Plain: "canary"}
	c := resource.Connection{Postgres: &resource.Postgres{Password: s}}
	c.Normalize()
	require.Equal(t, "(set)", s.String())
	require.Equal(t, "(set)", s.GoString())
	for _, f := range c.Secrets() {
		require.NotContains(t, f.Value.String(), "canary")
	}
}

func TestACloneSharesNothing(t *testing.T) {
	c := resource.Connection{Postgres: &resource.Postgres{Host: "a"}, DuckDB: &resource.DuckDB{Path: "/a"}, Snowflake: &resource.Snowflake{Host: "a"}}
	d := c.Clone()
	d.Postgres.Host, d.DuckDB.Path, d.Snowflake.Host = "b", "/b", "b"
	require.Equal(t, "a", c.Snowflake.Host)
	require.Equal(t, "a", c.Postgres.Host)
	require.Equal(t, "/a", c.DuckDB.Path)
}

func TestACronExpressionIsReadWhateverItsZone(t *testing.T) {
	s := resource.Sync{Meta: resource.Meta{ID: "x"}, DataModel: "m", Mode: resource.Full, Schedule: resource.Schedule{Cron: "at noon", TimeZone: "Mars/Olympus"}}
	s.Normalize()
	var fields []string
	for _, v := range s.Validate() {
		fields = append(fields, v.Field)
	}
	require.Equal(t, []string{"schedule.time_zone", "schedule.cron"}, fields, "both are told at once")
}
