package profile_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/row"
)

// value draws any stored value.
func value(t *rapid.T, depth int) profile.Value {
	kinds := []profile.ValueKind{
		profile.Cleared, profile.String, profile.Int, profile.Float, profile.False, profile.True, profile.Decimal,
		profile.Instant, profile.Date, profile.JSON, profile.Bytes,
	}
	if depth < 3 {
		kinds = append(kinds, profile.Object, profile.List)
	}
	v := profile.Value{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	switch v.Kind {
	case profile.String, profile.Bytes:
		v.Text = rapid.String().Draw(t, "text")
	case profile.Decimal:
		v.Text = rapid.SampledFrom([]string{"0", "7.00", "-12.5", "1e"}).Draw(t, "decimal")
	case profile.JSON:
		v.Text = rapid.SampledFrom([]string{`{"b":1,"a":[2]}`, `[]`, `1.50`}).Draw(t, "json")
	case profile.Int, profile.Date:
		v.Int = rapid.Int64().Draw(t, "int")
	case profile.Instant:
		v.Int, v.Nanos = rapid.Int64().Draw(t, "seconds"), rapid.Int32Range(0, 999_999_999).Draw(t, "nanos")
	case profile.Float:
		v.Float = rapid.Float64().Draw(t, "float")
	case profile.Object:
		for i := range rapid.IntRange(0, 3).Draw(t, "members") {
			v.Members = append(v.Members, profile.Member{Name: fmt.Sprint("m", i), Value: value(t, depth+1)})
		}
	case profile.List:
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			v.Items = append(v.Items, value(t, depth+1))
		}
	case profile.Cleared, profile.False, profile.True:
	}
	return v
}

// contribution draws one of few syncs, runs and attributes, so that they meet. Snapshots are in the order of runs. Sync
// "turned" has changed its mode between its runs.
func contribution(t *rapid.T) []byte {
	name := rapid.SampledFrom([]string{"crm", "full", "turned"}).Draw(t, "sync")
	run := rapid.Int64Range(1, 4).Draw(t, "run")
	c := profile.Contribution{From: profile.Provenance{
		Sync: syncOf(name), SyncID: name, SyncVersion: 1, Batch: origin(run, 1, 1, 0).Batch, Model: "m", Provider: "p",
		Full: name == "full" || (name == "turned" && run > 2), Snapshot: 1000 * run,
		KeyValues: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "key"),
		HasTime:   rapid.Bool().Draw(t, "has time"),
		Version:   profile.Version{RunNo: run, Time: 1000 * run, RowHash: row.Hash{Hi: 1, Lo: rapid.Uint64Range(0, 2).Draw(t, "hash")}},
	}}
	if c.From.HasTime {
		c.From.Version.Time = rapid.Int64Range(1, 5).Draw(t, "time") * 900
	}
	c.Seen = rapid.SampledFrom([]int64{0, 5, c.From.Version.Time}).Draw(t, "seen")
	for range rapid.IntRange(0, 2).Draw(t, "identities") {
		c.Identities = append(c.Identities, profile.Identity{
			Type: rapid.SampledFrom([]string{"customer_id", "email"}).Draw(t, "type"), Value: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "value"),
		})
	}
	for _, a := range []string{"a", "b", "c"} {
		if rapid.Bool().Draw(t, a) {
			c.Attributes = append(c.Attributes, profile.Attribute{Name: a, Value: value(t, 2)})
		}
	}
	return profile.AppendContribution(nil, c)
}

// document draws what rows of mirrors bring and withdraw as well, and runs that a sync withdraws.
func document(t *rapid.T) []byte {
	switch rapid.IntRange(0, 5).Draw(t, "form") {
	case 0:
		first := rapid.Int64Range(1, 4).Draw(t, "first")
		return profile.AppendWithdrawal(nil, profile.Withdrawal{
			Sync: syncOf(rapid.SampledFrom([]string{"crm", "full", "mirror"}).Draw(t, "sync")), First: first, Last: rapid.Int64Range(first, 4).Draw(t, "last"),
		})
	case 1, 2:
		run := rapid.Int64Range(1, 4).Draw(t, "run")
		c := profile.Contribution{From: profile.Provenance{
			Sync: syncOf("mirror"), SyncID: "mirror", Batch: origin(run, 1, 1, 0).Batch, Full: true, HasTime: true,
			Version: profile.Version{RunNo: run, Time: rapid.Int64Range(1, 2).Draw(t, "time"), RowHash: row.Hash{Lo: rapid.Uint64Range(0, 1).Draw(t, "hash")}},
		}, Seen: 7}
		key := recordtest.Key(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "row"))
		if rapid.Bool().Draw(t, "withdrawn") {
			return profile.AppendWithdrawal(nil, profile.Withdrawal{From: c.From, Row: key})
		}
		c.Identities = []profile.Identity{{Type: "email", Value: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "value")}}
		c.Attributes = []profile.Attribute{{Name: "a", Value: value(t, 2)}}
		return profile.AppendRow(nil, key, c)
	}
	return contribution(t)
}

func documents(t *rapid.T) [][]byte {
	docs := make([][]byte, rapid.IntRange(1, 8).Draw(t, "documents"))
	for i := range docs {
		docs[i] = document(t)
	}
	return docs
}

func TestSettleChangesNothingThatIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs := documents(t)
		before, err := profile.Decode(bytes.Join(docs, nil))
		require.NoError(t, err)
		settled := profile.Settle(docs...)
		require.Equal(t, settled, profile.Settle(profile.Fold(docs...)), "whatever was folded before")
		require.Equal(t, settled, profile.Settle(settled), "settling twice is settling once")
		if settled == nil {
			require.Empty(t, before.Identities)
			require.Empty(t, before.Attributes)
			return
		}
		after, err := profile.Decode(settled)
		require.NoError(t, err)
		require.Equal(t, before, after)
	})
}

func TestFoldIsAMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs := documents(t)
		whole := profile.Fold(docs...)
		require.Equal(t, whole, profile.Fold(bytes.Join(docs, nil)), "documents may stand one behind the other")
		require.Equal(t, whole, profile.Fold(whole), "folding twice is folding once")
		require.Equal(t, whole, profile.Fold(append(docs, docs...)...), "idempotent")
		shuffled := rapid.Permutation(docs).Draw(t, "order")
		require.Equal(t, whole, profile.Fold(shuffled...), "commutative")
		cut := rapid.IntRange(0, len(docs)).Draw(t, "cut")
		left, right := profile.Fold(shuffled[:cut]...), profile.Fold(shuffled[cut:]...)
		require.Equal(t, whole, profile.Fold(left, right), "associative")
		require.Equal(t, whole, profile.Fold(append(left, right...)))
	})
}

func TestFoldChangesNothingThatIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs := documents(t)
		before, err := profile.Decode(bytes.Join(docs, nil))
		require.NoError(t, err)
		after, err := profile.Decode(profile.Fold(docs...))
		require.NoError(t, err)
		require.Equal(t, before, after)
	})
}

func TestFoldDropsWhatIsSuperseded(t *testing.T) {
	var docs [][]byte
	for n := range int64(200) {
		docs = append(docs, profile.AppendContribution(nil, profile.Contribution{
			From: profile.Provenance{
				Sync: syncOf("crm"), Batch: origin(1, 1, 1, uint32(n)).Batch, HasTime: true, Version: profile.Version{Time: n + 1, RunNo: 1},
			},
			Seen:       n + 1,
			Identities: []profile.Identity{{Type: "customer_id", Value: "1"}},
			Attributes: []profile.Attribute{{Name: "n", Value: profile.Value{Kind: profile.Int, Int: n}}},
		}))
	}
	doc := profile.Fold(docs...)
	require.Less(t, len(doc), 2*len(docs[0]))
	p, err := profile.Decode(doc)
	require.NoError(t, err)
	require.Equal(t, int64(199), p.Attributes[0].Value.Int)
	require.Equal(t, time.Unix(0, 1).UTC(), p.FirstSeen)
	require.Equal(t, time.Unix(0, 200).UTC(), p.LastSeen)
}

func TestFoldLosesNothingOfWhatItCanNotRead(t *testing.T) {
	good := profile.AppendContribution(nil, profile.Contribution{Attributes: []profile.Attribute{{Name: "a", Value: profile.Value{Kind: profile.True}}}})
	bad := []byte{3, 9, 9, 9}
	require.Equal(t, slices.Concat(good, bad), profile.Fold(good, bad))
	_, err := profile.Decode(slices.Concat(good, bad))
	require.Equal(t, fault.Internal, fault.ClassOf(err))
	require.Empty(t, profile.Fold())
	p, err := profile.Decode(nil)
	require.NoError(t, err)
	require.Empty(t, p.Attributes)
}

func TestValuesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := value(t, 0)
		e := profile.Event{
			From: profile.Provenance{Sync: syncOf("web"), SyncID: "web", Batch: origin(3, 2, 1, 9).Batch, Version: profile.Version{RunNo: 3}},
			Type: "custom_event", Data: profile.Value{Kind: profile.Object, Members: []profile.Member{{Name: "v", Value: v}}},
		}
		doc := profile.AppendEvent(nil, e)
		back, err := profile.DecodeEvent(doc)
		require.NoError(t, err)
		require.Equal(t, e, back)
		require.EqualValues(t, 3, profile.EventRun(doc))
		require.Equal(t, v.AppendCanonical(nil), back.Data.Members[0].Value.AppendCanonical(nil))
	})
}

func TestCanonicalValues(t *testing.T) {
	same := func(a, b profile.Value) {
		t.Helper()
		require.Equal(t, a.AppendCanonical(nil), b.AppendCanonical(nil))
	}
	same(profile.Value{Kind: profile.Decimal, Text: "7.00"}, profile.Value{Kind: profile.Decimal, Text: "7"})
	same(profile.Value{Kind: profile.JSON, Text: `{"b": 1, "a": [1.50]}`}, profile.Value{Kind: profile.JSON, Text: `{"a":[1.50],"b":1}`})
	require.NotEqual(t, profile.Value{Kind: profile.Decimal, Text: "700"}.AppendCanonical(nil), profile.Value{Kind: profile.Decimal, Text: "7"}.AppendCanonical(nil))
	require.NotEqual(t, profile.Value{Kind: profile.String, Text: "1"}.AppendCanonical(nil), profile.Value{Kind: profile.JSON, Text: "1"}.AppendCanonical(nil))
}

func FuzzDecode(f *testing.F) {
	f.Add(profile.AppendContribution(nil, profile.Contribution{Identities: []profile.Identity{{Type: "t", Value: "v"}}, Attributes: []profile.Attribute{{Name: "a"}}}))
	f.Add(profile.AppendEvent(nil, profile.Event{Type: "custom_event"}))
	f.Add(profile.Fold(profile.AppendContribution(nil, profile.Contribution{Seen: 7})))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := profile.Decode(b); err == nil {
			folded := profile.Fold(b)
			require.Equal(t, folded, profile.Fold(folded))
		}
		_, _ = profile.DecodeEvent(b)
		_ = profile.EventRun(b)
	})
}
