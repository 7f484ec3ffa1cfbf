package bigquery

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// TestRangesAreOfADayAtMost holds the calls of CHANGES to what BigQuery takes: each of a day at most, both instants within,
// and no time between two of them.
func TestRangesAreOfADayAtMost(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 1000, time.UTC)
	for length, calls := range map[time.Duration]int{
		0: 1, time.Microsecond: 1, time.Hour: 1, day - 2*edge: 1, day - edge: 2, day: 2, day + time.Hour: 2, 2*day - 4*edge: 2, 2 * day: 3, 6*day + 23*time.Hour: 7, 7 * day: 8,
	} {
		out := ranges(from, from.Add(length))
		require.Len(t, out, calls, length)
		require.True(t, out[0][0].Before(from), "however a start is meant")
		require.True(t, out[calls-1][1].After(from.Add(length)), "however an end is meant")
		for i, r := range out {
			require.Positive(t, r[1].Sub(r[0]))
			require.LessOrEqual(t, r[1].Sub(r[0]), day)
			if i > 0 {
				require.True(t, r[0].Before(out[i-1][1]), "however the end of one and the start of the next are meant")
			}
		}
	}
}

// TestTablesByTheirPaths has each form in which a query can name one table.
func TestTablesByTheirPaths(t *testing.T) {
	b := resource.BigQuery{ProjectID: "acme-prod", DatasetID: "marts"}
	for text, want := range map[string]string{
		"people": "acme-prod/marts/people", "People": "acme-prod/marts/People", "other.people": "acme-prod/other/people", "other-project.other.people": "other-project/other/people",
		"`people`": "acme-prod/marts/people", "`other.people`": "acme-prod/other/people", "`x.y.my people`": "x/y/my people", "`x`.y.`größe`": "x/y/größe",
		"people AS p": "acme-prod/marts/people", "people--a comment": "acme-prod/marts/people", "people\nWHERE n > 1": "acme-prod/marts/people",
		"": "", "(SELECT 1)": "", "`people": "", "a.b.c.d": "", "`a.b.c.d`": "", "a.": "", "a..b": "", "`events_*`": "", "`people$20260101`": "", "`people@-3600`": "", "marts.INFORMATION_SCHEMA.TABLES": "", "``": "",
	} {
		names, _ := tablePath(text)
		got := reference(names, b)
		if want == "" {
			require.Nil(t, got, text)
			continue
		}
		require.NotNil(t, got, text)
		require.Equal(t, want, resultName(got), text)
	}
	require.Nil(t, reference([]string{"people"}, resource.BigQuery{ProjectID: "acme-prod"}), "no data set")
}

// TestInstantsSayWhatTheyAre writes instants and reads them again; what is none is none.
func TestInstantsSayWhatTheyAre(t *testing.T) {
	for _, i := range []instant{
		{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), made: fingerprint("a"), columns: fingerprint("b"), query: fingerprint("c"), result: nothing, partial: true},
		{at: time.Date(2026, 12, 31, 23, 59, 59, 999_999_000, time.UTC), rows: 1 << 50, made: fingerprint(""), columns: fingerprint("b"), query: fingerprint("c"), result: "example.com:p/_d/anon0"},
	} {
		got, ok := parseInstant(i.state())
		require.True(t, ok, i.state())
		require.Equal(t, i, got)
	}
	for _, odd := range []string{"", "at", "at 2026-01-01T00:00:00Z of -1 rows of table", "m_1_2"} {
		_, ok := parseInstant(source.State(odd))
		require.False(t, ok, odd)
	}
}
