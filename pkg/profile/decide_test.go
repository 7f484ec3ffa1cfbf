package profile_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/row"
)

// TestAnySplitOrderAndRepetition ingests one table in two ways; the documents hold the same. No two row keys share
// an identity, and a row key's versions set the same attributes.
func TestAnySplitOrderAndRepetition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []recordtest.Row
		for k := range rapid.IntRange(1, 12).Draw(t, "keys") {
			for version := range rapid.IntRange(1, 3).Draw(t, "versions") {
				rows = append(rows, recordtest.Row{
					Key: fmt.Sprint("k", k), Time: time.Unix(int64(1000*version), 0),
					Identities: map[string]string{"customer_id": fmt.Sprint("c", k)}, Attributes: map[string]any{"version": version},
				})
			}
		}
		one, other := newModel(), newModel()
		one.apply(t, recordtest.Batch(record.Users, rows, recordtest.Options{}), origin(1, 1, 1, 0), profile.Rules{})

		again := append(slices.Clone(rows), rapid.SliceOfN(rapid.SampledFrom(rows), 0, 10).Draw(t, "repeated")...)
		again = rapid.Permutation(again).Draw(t, "order")
		created := int64(0)
		for seq := uint32(0); len(again) > 0; seq++ {
			n := rapid.IntRange(1, len(again)).Draw(t, "cut")
			e := other.apply(t, recordtest.Batch(record.Users, again[:n], recordtest.Options{}), origin(1, 1+seq%2, 1, seq), profile.Rules{})
			created += e.Result.Counts.Created
			again = again[n:]
		}
		require.Equal(t, one.content(t), other.content(t))
		require.Equal(t, one.identities, other.identities)
		require.EqualValues(t, len(one.docs), created, "each key is created once")
	})
}

// TestReadAgainCountsTheSame: a part that is cut off anywhere and read again counts what an undisturbed one counts. One row
// key has one content at one time: where a read holds two, which of them stands depends on what was met.
func TestReadAgainCountsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []recordtest.Row
		for range rapid.IntRange(1, 20).Draw(t, "rows") {
			k, at := rapid.IntRange(0, 5).Draw(t, "key"), rapid.IntRange(1, 5).Draw(t, "time")
			rows = append(rows, recordtest.Row{
				Key: fmt.Sprint(k), Time: time.Unix(int64(at), 0), Late: k == 3,
				Identities: map[string]string{"customer_id": fmt.Sprint("c", k)},
				Attributes: map[string]any{"v": at / 2}, // times 2 and 3 differ in nothing but time
			})
		}
		before := rapid.SliceOfN(rapid.SampledFrom(rows), 0, 5).Draw(t, "known before")
		history := func() *model {
			m := newModel()
			if len(before) > 0 {
				m.apply(t, recordtest.Batch(record.Users, before, recordtest.Options{}), origin(1, 1, 1, 0), profile.Rules{})
			}
			return m
		}
		read := func(m *model, epoch uint32, rows []recordtest.Row) record.Counts {
			var sum record.Counts
			for seq := uint32(0); len(rows) > 0; seq++ {
				n := min(len(rows), 4)
				e := m.apply(t, recordtest.Batch(record.Users, rows[:n], recordtest.Options{}), origin(2, 1, epoch, seq), profile.Rules{})
				sum = sum.Add(e.Result.Counts)
				rows = rows[n:]
			}
			return sum
		}
		undisturbed := history()
		want := read(undisturbed, 1, rows)

		disturbed := history()
		read(disturbed, 1, rows[:rapid.IntRange(0, len(rows)).Draw(t, "cut off")])
		disturbed.fences[profile.RunPart{RunNo: 2, Part: 1}] = 2
		got := read(disturbed, 2, rows)
		require.Equal(t, undisturbed.content(t), disturbed.content(t))
		// A repeat that was unchanged before its key was counted is told from it only by the entry, which is there by now.
		want.Collapsed, got.Collapsed = 0, 0
		require.Equal(t, want, got)
	})
}

func TestDigestIsOverAllRows(t *testing.T) {
	m := newModel()
	b := recordtest.Batch(record.Users, []recordtest.Row{{Key: "1", Identities: map[string]string{"email": "a@x.org"}}, {Key: "nobody"}}, recordtest.Options{})
	want := row.Digest(b.Record.Column(record.PosHash).(fixed))
	b.Rejects = []record.Reject{{Row: 3, Hash: row.Hash{Hi: 7, Lo: 1<<64 - 1}}}
	b.Filtered = []record.Filtered{{Row: 4, Hash: row.Hash{Hi: 1, Lo: 1}}}
	e := m.apply(t, b, origin(1, 1, 1, 0), profile.Rules{})
	require.Equal(t, want.Add(row.Hash{Hi: 9, Lo: 0}), e.Result.Digest)
	require.Equal(t, record.Counts{Read: 4, Filtered: 1, Rejected: 1, Mapped: 2, Created: 1, Refused: 1}, e.Result.Counts)
	require.Len(t, e.Rejects, 2)
	require.Len(t, b.Rejects, 1, "the batch stays as it was")
}

// TestIdsThatCollide: two people whose first choices of an id are the same get two ids.
func TestIdsThatCollide(t *testing.T) {
	b := recordtest.Batch(record.Users, []recordtest.Row{
		{Key: "1", Identities: map[string]string{"email": "a@x.org"}}, {Key: "2", Identities: map[string]string{"email": "b@x.org"}},
		{Key: "3", Identities: map[string]string{"email": "c@x.org"}},
	}, recordtest.Options{})
	k := profile.KeysOf(b, origin(1, 1, 1, 0), scope(), profile.Rules{})
	same := profile.Derive(scope(), "email", "b@x.org", 0)
	st := profile.State{Entries: make([]profile.Entry, 3), Profiles: [][]id.Profile{{0, 0, 0}}, Fresh: []id.Profile{same, same, same}}
	e := profile.Decide(b, k, st, profile.Rules{})
	require.EqualValues(t, 3, e.NewProfiles)
	require.Equal(t, same, e.Identities[0].Profile)
	require.Equal(t, profile.Derive(scope(), "email", "b@x.org", 1), e.Identities[1].Profile, "its next choice")
	require.Equal(t, profile.Derive(scope(), "email", "c@x.org", 0), e.Identities[2].Profile)
}

// TestASecondRunWithNothingChangedWritesNothing: all that a store writes of such a batch is its key with the result.
func TestASecondRunWithNothingChangedWritesNothing(t *testing.T) {
	rows := []recordtest.Row{
		{Key: "1", Time: time.Unix(1000, 0), Identities: map[string]string{"customer_id": "c1"}, Attributes: map[string]any{"v": 1}},
		{Key: "2", Time: time.Unix(2000, 0), Identities: map[string]string{"customer_id": "c2"}, Attributes: map[string]any{"v": 2}},
	}
	m := newModel()
	m.apply(t, recordtest.Batch(record.Users, rows, recordtest.Options{}), origin(1, 1, 1, 0), profile.Rules{})
	e := m.apply(t, recordtest.Batch(record.Users, rows, recordtest.Options{}), origin(2, 1, 1, 0), profile.Rules{})
	require.EqualValues(t, 2, e.Result.Counts.Unchanged)
	require.Empty(t, e.Entries)
	require.Empty(t, e.Identities)
	require.Empty(t, e.Contributions)
	require.Empty(t, e.Events)
	require.Empty(t, e.EventsGone)
	require.Empty(t, e.Rejects)
}

func TestAppliedBatchWritesNothing(t *testing.T) {
	b := recordtest.Batch(record.Users, []recordtest.Row{{Key: "1", Identities: map[string]string{"email": "a@x.org"}}}, recordtest.Options{})
	k := profile.KeysOf(b, origin(1, 1, 1, 0), scope(), profile.Rules{})
	r := profile.Result{Batch: k.Origin.Batch, Rows: 1, Counts: record.Counts{Read: 1, Mapped: 1, Created: 1}}
	e := profile.Decide(b, k, profile.State{Applied: &r}, profile.Rules{})
	require.Equal(t, r, e.Result)
	require.Empty(t, e.Entries)
}

func TestKeys(t *testing.T) {
	b := recordtest.Batch(record.Users, []recordtest.Row{
		{Key: "1", Identities: map[string]string{"email": "a@x.org", "customer_id": "0", identity.MPID: "12"}},
		{Key: "2", Identities: map[string]string{"email": "null", "customer_id": "2", identity.MPID: "012"}},
		{Key: "3", Identities: map[string]string{"custom": "x"}},
	}, recordtest.Options{})
	k := profile.KeysOf(b, origin(1, 1, 1, 0), scope(), profile.Rules{})
	var got []string
	for _, c := range k.Identities {
		got = append(got, fmt.Sprint(c.Type, " ", c.Values))
	}
	require.Equal(t, []string{
		`customer_id [(null) "2" (null)]`, `email ["a@x.org" (null) (null)]`, `mpid ["12" (null) (null)]`, `custom [(null) (null) "x"]`,
	}, got)

	// A slice of a batch has the positions of the slice.
	b.Record = b.Record.NewSlice(1, 3)
	k = profile.KeysOf(b, origin(1, 1, 1, 0), scope(), profile.Rules{Priority: []string{"custom"}})
	require.Equal(t, "custom", k.Identities[0].Type)
	require.Equal(t, `[(null) "x"]`, fmt.Sprint(k.Identities[0].Values))
	require.Equal(t, `["2" (null)]`, fmt.Sprint(k.Identities[1].Values))
}

func TestDeriveAndEventID(t *testing.T) {
	// These are stored: they must never change.
	require.Equal(t, id.Profile(9179162640027170022), profile.Derive(scope(), "customer_id", "1", 0))
	require.NotEqual(t, profile.Derive(scope(), "customer_id", "1", 0), profile.Derive(scope(), "customer_id", "1", 1))
	require.NotEqual(t, profile.Derive(scope(), "ab", "c", 0), profile.Derive(scope(), "a", "bc", 0))
	web := profile.EventIDOf(syncOf("web"), id.Row{1})
	require.Equal(t, "ab98a73d9a2a85a77c25c1f795d55f5e", hex.EncodeToString(web[:]))
	require.NotEqual(t, web, profile.EventIDOf(syncOf("app"), id.Row{1}))
	rapid.Check(t, func(t *rapid.T) {
		p := profile.Derive(scope(), rapid.String().Draw(t, "type"), rapid.String().Draw(t, "value"), rapid.IntRange(0, 3).Draw(t, "n"))
		require.Positive(t, int64(p))
	})
}
