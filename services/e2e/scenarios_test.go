package e2e_test

import (
	"encoding/csv"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// scenario is one thing that users rely on. Each runs in a workspace of its own, in every shape of the mesh.
type scenario struct {
	name string
	run  func(t *testing.T, m mesh)
}

func scenarios() []scenario {
	return []scenario{
		{"a second run with nothing changed changes nothing", nothingChanged},
		{"touching one percent updates exactly those rows", onePercent},
		{"a bumped timestamp or an ignored column changes nothing", ignoredChange},
		{"an edited mapping updates exactly the rows whose result differs", editedMapping},
		{"rows that share the timestamp at the window's edge are neither lost nor doubled", sharedEdge},
		{"a row committed late inside the lookback is counted late", lateRow},
		{"bad rows become rejects and the rest goes on", badRows},
		{"rejects are counted and exported and replayed through a mended mapping", replayedRejects},
		{"erased people are gone from every place and stay away", erasedPeople},
		{"a batch that grows tenfold in mapping arrives", tenfold},
		{"every record kind arrives and is read in its own way", everyKind},
		{"each batch leaves one trace and the run's leads to it", tracedBatches},
		{"taxi rides arrive as the file has them", taxis},
	}
}

// play runs every scenario against one mesh.
func play(t *testing.T, m mesh) {
	for i, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) { s.run(t, m.in(fmt.Sprintf("scenario-%d", i))) })
	}
}

func nothingChanged(t *testing.T, m mesh) {
	const n = 20_000
	w := newWarehouse(t, n)
	m.apply(t, "", w.documents("customers", asIs))
	first := m.run(t, "customers")
	require.EqualValues(t, n, first.GetCounts().GetRead())
	require.EqualValues(t, n, first.GetCounts().GetCreated())
	before := m.digest(t)
	require.EqualValues(t, n, before.GetProfiles())
	require.EqualValues(t, 2*n, before.GetIdentities())

	second := m.run(t, "customers")
	require.EqualValues(t, 601, second.GetCounts().GetRead(), "the lookback of ten minutes, both ends included")
	require.EqualValues(t, 601, second.GetCounts().GetUnchanged())
	again := m.run(t, "customers", full)
	require.EqualValues(t, n, again.GetCounts().GetUnchanged())
	require.Equal(t, before, m.digest(t))

	p := m.profile(t, "email", "user7@example.com")
	require.Equal(t, "First7", p.GetUserAttributes().GetFields()["$firstname"].GetStringValue())
	require.Equal(t, first.GetId(), p.GetProvenance()["plan"].GetRun())
	require.Equal(t, "customers", p.GetProvenance()["plan"].GetSync())
	require.Equal(t, []string{"7"}, p.GetProvenance()["plan"].GetKeyValues())
}

func onePercent(t *testing.T, m mesh) {
	const n = 20_000
	w := newWarehouse(t, n)
	m.apply(t, "", w.documents("customers", asIs))
	m.run(t, "customers")
	w.exec(t, `UPDATE customers SET visits = 99, updated_at = TIMESTAMP '2024-02-01' WHERE id % 100 = 3`)
	second := m.run(t, "customers")
	require.EqualValues(t, n/100, second.GetCounts().GetUpdated())
	require.Zero(t, second.GetCounts().GetCreated())
	p := m.profile(t, "customer_id", 103)
	require.InDelta(t, 99, p.GetUserAttributes().GetFields()["visits"].GetNumberValue(), 0)
	require.Equal(t, second.GetId(), p.GetProvenance()["visits"].GetRun())
	require.InDelta(t, 4, m.profile(t, "customer_id", 104).GetUserAttributes().GetFields()["visits"].GetNumberValue(), 0)
}

func ignoredChange(t *testing.T, m mesh) {
	const n = 5_000
	w := newWarehouse(t, n)
	m.apply(t, "", w.documents("customers", asIs))
	m.run(t, "customers")
	attributes := m.profile(t, "customer_id", 5).GetUserAttributes()
	w.exec(t,
		`UPDATE customers SET etl_batch = 2, updated_at = TIMESTAMP '2024-02-01' WHERE id < 1000`,
		`UPDATE customers SET updated_at = TIMESTAMP '2024-02-02' WHERE id BETWEEN 1000 AND 1999`)
	second := m.run(t, "customers")
	require.Zero(t, second.GetCounts().GetUpdated())
	require.GreaterOrEqual(t, second.GetCounts().GetUnchanged(), int64(2000))
	require.Equal(t, attributes, m.profile(t, "customer_id", 5).GetUserAttributes())
}

func editedMapping(t *testing.T, m mesh) {
	const n = 5_000
	w := newWarehouse(t, n)
	m.apply(t, "", w.documents("customers", asIs))
	m.run(t, "customers")
	m.apply(t, "", w.documents("customers", `{expression: "row.plan == 'pro' ? 'professional' : row.plan", to: plan}`))
	second := m.run(t, "customers", full)
	require.EqualValues(t, n/2, second.GetCounts().GetUpdated(), "the rows whose plan is pro")
	require.EqualValues(t, n/2, second.GetCounts().GetUnchanged())
	require.Equal(t, "professional", m.profile(t, "customer_id", 1).GetUserAttributes().GetFields()["plan"].GetStringValue())
	require.Equal(t, "free", m.profile(t, "customer_id", 2).GetUserAttributes().GetFields()["plan"].GetStringValue())
}

func sharedEdge(t *testing.T, m mesh) {
	const shared = 50_000
	w := newWarehouse(t, 100)
	add := func(from, until int) {
		w.exec(t, fmt.Sprintf(`INSERT INTO customers SELECT i, 'edge' || i || '@example.com', 'Edge', 'free', 1, TIMESTAMP '2024-03-01 12:00:00.123456', 1 FROM range(%d, %d) t(i)`, from, until))
	}
	add(1000, 1000+shared/2)
	m.apply(t, "", strings.Replace(w.documents("customers", asIs), "lookback: 10m", "lookback: 0s", 1))
	first := m.run(t, "customers")
	require.EqualValues(t, 100+shared/2, first.GetCounts().GetCreated())
	add(1000+shared/2, 1000+shared)
	second := m.run(t, "customers")
	require.EqualValues(t, shared, second.GetCounts().GetRead())
	require.EqualValues(t, shared/2, second.GetCounts().GetCreated())
	require.EqualValues(t, shared/2, second.GetCounts().GetUnchanged())
	require.EqualValues(t, 100+shared, m.digest(t).GetProfiles())
}

func lateRow(t *testing.T, m mesh) {
	w := newWarehouse(t, 1_000)
	m.apply(t, "", w.documents("customers", asIs))
	m.run(t, "customers")
	// Five minutes below the checkpoint of 00:16:39, within the lookback of ten.
	w.exec(t, `INSERT INTO customers VALUES (5000, 'late@example.com', 'Late', 'free', 1, TIMESTAMP '2024-01-01 00:11:39.5', 1)`)
	second := m.run(t, "customers")
	require.EqualValues(t, 1, second.GetCounts().GetCreated())
	require.EqualValues(t, 1, second.GetCounts().GetLateRows())
	m.profile(t, "email", "late@example.com")
}

func badRows(t *testing.T, m mesh) {
	const n = 1_000
	w := newWarehouse(t, n)
	w.exec(t, `ALTER TABLE customers ALTER visits TYPE TEXT`, `UPDATE customers SET visits = 'many' WHERE id % 100 = 0`)
	m.apply(t, "", strings.Replace(w.documents("customers", asIs), "{column: visits, to: visits}", "{column: visits, to: visits, type: integer}", 1))
	r := m.end(t, m.trigger(t, "customers"))
	requireState(t, r, schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
	require.EqualValues(t, n/100, r.GetCounts().GetRejected())
	require.EqualValues(t, n-n/100, r.GetCounts().GetCreated())
	res, err := m.ingestion.ListRejects(t.Context(), &ingestionv1.ListRejectsRequest{Workspace: m.workspace, Run: r.GetId()})
	require.NoError(t, err)
	require.Len(t, res.GetRejects(), n/100)
	keys := map[string]bool{}
	for _, reject := range res.GetRejects() {
		require.Equal(t, "visits", reject.GetColumn())
		require.NotContains(t, reject.GetReason(), "many", "a reason holds no row value")
		keys[reject.GetKeyValues()[0]] = true
	}
	require.True(t, keys["300"])
}

func tenfold(t *testing.T, m mesh) {
	const n = 20_000
	w := newWarehouse(t, n)
	// Ten fields of 64 hexadecimal digits for each e-mail address; they do not compress.
	var rules strings.Builder
	for i := range 10 {
		fmt.Fprintf(&rules, "\n      - {expression: \"row.email + '%d'\", to: hash_%d, transform: [sha256]}", i, i)
	}
	m.apply(t, "", strings.Replace(w.documents("customers", asIs), "\n      - {column: visits, to: visits}", "\n      - {column: visits, to: visits}"+rules.String(), 1))
	r := m.run(t, "customers")
	require.EqualValues(t, n, r.GetCounts().GetCreated())
	fields := m.profile(t, "customer_id", n-1).GetUserAttributes().GetFields()
	require.Len(t, fields["hash_9"].GetStringValue(), 64)
}

// ride is a line of the file, as its event should be.
type ride struct {
	at     int64
	fields map[string]string
}

func taxis(t *testing.T, m mesh) {
	dir, err := filepath.Abs("testdata/taxis")
	require.NoError(t, err)
	want := rides(t, filepath.Join(dir, "../../../../../shared/data/taxis.csv"))
	documents, err := os.ReadFile(filepath.Join(dir, "taxis.yaml"))
	require.NoError(t, err)
	m.apply(t, dir, string(documents))
	r := m.run(t, "rides")
	require.EqualValues(t, len(want), r.GetCounts().GetRead())
	require.EqualValues(t, len(want), r.GetCounts().GetCreated())
	require.EqualValues(t, len(want), r.GetCounts().GetUnattributed())

	left := map[string]int{}
	for _, w := range want {
		left[w.String()]++
	}
	got := m.events(t, "rides")
	require.Len(t, got, len(want))
	for _, e := range got {
		key := rideOf(t, e).String()
		require.Positive(t, left[key], "no such ride in the file: %s", key)
		left[key]--
	}
	require.EqualValues(t, len(want), m.run(t, "rides", full).GetCounts().GetUnchanged())
}

// decimals are the columns whose value must be the file's, whatever zeros trail.
func decimals() []string { return []string{"distance", "fare", "tip", "tolls", "total"} }

func (r ride) String() string {
	s := strconv.FormatInt(r.at, 10)
	for _, f := range append(decimals(), "passengers", "color", "payment", "pickup_zone", "dropoff") {
		s += "|" + r.fields[f]
	}
	return s
}

// rides reads the file without any of the code under test.
func rides(t *testing.T, path string) []ride {
	t.Helper()
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		t.Skipf("the taxi rides are not at %s; put NYC TLC's sample of 6,433 rides of March 2019 there", path)
	}
	require.NoError(t, err)
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	zone, err := time.LoadLocation("America/New_York")
	require.NoError(t, err)
	instant := func(s string) time.Time {
		at, err := time.ParseInLocation(time.DateTime, s, zone)
		require.NoError(t, err)
		return at
	}
	out := make([]ride, 0, len(lines)-1)
	for _, line := range lines[1:] {
		r := ride{fields: map[string]string{}}
		for i, name := range lines[0] {
			r.fields[name] = line[i]
		}
		for _, d := range decimals() {
			r.fields[d] = plain(t, r.fields[d])
		}
		r.at = instant(r.fields["pickup"]).UnixMilli()
		r.fields["dropoff"] = instant(r.fields["dropoff"]).UTC().Format(time.RFC3339)
		out = append(out, r)
	}
	return out
}

// rideOf reads an event as stored.
func rideOf(t *testing.T, e *ingestionv1.Event) ride {
	t.Helper()
	require.Equal(t, "custom_event", e.GetEventType())
	data := e.GetData().GetFields()
	require.Equal(t, "taxi_ride", data["event_name"].GetStringValue())
	r := ride{at: int64(data["timestamp_unixtime_ms"].GetNumberValue()), fields: map[string]string{}}
	for name, v := range data["custom_attributes"].GetStructValue().GetFields() {
		r.fields[name] = v.GetStringValue()
		if name == "passengers" {
			r.fields[name] = strconv.FormatFloat(v.GetNumberValue(), 'f', -1, 64)
		}
	}
	for _, d := range decimals() {
		r.fields[d] = plain(t, r.fields[d])
	}
	return r
}

// plain answers a decimal without trailing zeros.
func plain(t *testing.T, s string) string {
	t.Helper()
	x, ok := new(big.Rat).SetString(s)
	require.True(t, ok, "no decimal: %q", s)
	return strings.TrimSuffix(strings.TrimRight(x.FloatString(9), "0"), ".")
}
