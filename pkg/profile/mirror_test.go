package profile_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
)

// held answers what each customer or email has, in words, without ids, versions and provenance.
func held(t require.TestingT, m *model) []string {
	var out []string
	for _, doc := range m.docs {
		d, err := profile.Decode(doc)
		require.NoError(t, err)
		s := title(d)
		for _, a := range d.Attributes {
			s += fmt.Sprintf(" %s=%s", a.Name, a.Value.AppendJSON(nil))
		}
		out = append(out, s)
	}
	for i, p := range m.identities {
		out = append(out, fmt.Sprintf("%s %s bound: %t", i.Type, i.Value, m.docs[p] != nil))
	}
	slices.Sort(out)
	return out
}

// table is rows by key. No two rows share an identity.
type table map[string]recordtest.Row

func (b table) edit(t *rapid.T) {
	for range rapid.IntRange(0, 6).Draw(t, "edits") {
		key := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "row"))
		if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
			delete(b, key)
			continue
		}
		r := recordtest.Row{Key: key, Identities: map[string]string{}, Attributes: map[string]any{}}
		if key < "4" { // a row that loses its id would stay with the person that its email has come to name
			r.Identities["customer_id"] = key
		}
		r.Identities["email"] = key + rapid.SampledFrom([]string{"a@x", "b@x"}).Draw(t, "email")
		for _, name := range []string{"plan", "city"} {
			if n := rapid.IntRange(0, 3).Draw(t, name); n > 0 {
				r.Attributes[name] = n
			}
		}
		b[key] = r
	}
}

// mirrorRun plays a run of a mirror: the rows in any order, cut anywhere, then the keys that are known and were not read.
func mirrorRun(t *rapid.T, m *model, b table, run int64) record.Counts {
	var sum record.Counts
	seq := uint32(0)
	keys := slices.Sorted(maps.Keys(b))
	if len(keys) > 0 {
		keys = rapid.Permutation(keys).Draw(t, "order")
	}
	next := func(part uint32) record.Origin {
		seq++
		o := origin(run, part, 1, seq)
		o.Full, o.Mirror = true, true
		return o
	}
	read := map[id.Row]bool{}
	for len(keys) > 0 {
		n := rapid.IntRange(1, len(keys)).Draw(t, "rows")
		var rows []recordtest.Row
		for _, k := range keys[:n] {
			rows = append(rows, b[k])
			read[recordtest.Key(k)] = true
		}
		keys = keys[n:]
		sum = sum.Add(m.apply(t, recordtest.Batch(record.Users, rows, recordtest.Options{}), next(1), profile.Rules{}).Result.Counts)
	}
	absent := []id.Row{}
	for k, e := range m.entries {
		key := id.Row([]byte(k[16:]))
		if s := syncOf("crm"); k[:16] == string(s[:]) && !read[key] && !e.Tombstone {
			absent = append(absent, key)
		}
	}
	slices.SortFunc(absent, func(a, b id.Row) int { return slices.Compare(a[:], b[:]) })
	return sum.Add(m.apply(t, record.Batch{Kind: record.Users, Absent: absent}, next(2), profile.Rules{}).Result.Counts)
}

func TestAMirrorIsEqualToItsTableAfterEachRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, other := newModel(), recordtest.Batch(record.Users, []recordtest.Row{
			{Key: "x", Identities: map[string]string{"customer_id": "1", "phone": "1"}, Attributes: map[string]any{"plan": 9, "age": 40}},
			{Key: "y", Identities: map[string]string{"customer_id": "2", "email": "2a@x"}, Attributes: map[string]any{"age": 50}},
		}, recordtest.Options{})
		beside := origin(1, 1, 1, 0)
		beside.Sync, beside.SyncID = syncOf("beside"), "beside"
		m.apply(t, other, beside, profile.Rules{})
		rows := table{}
		for run := int64(1); run <= 5; run++ {
			before := maps.Clone(rows)
			rows.edit(t)
			c := mirrorRun(t, m, rows, run)
			created, deleted := int64(0), int64(0)
			for k := range rows {
				if _, ok := before[k]; !ok {
					created++
				}
			}
			for k := range before {
				if _, ok := rows[k]; !ok {
					deleted++
				}
			}
			require.Equal(t, created, c.Created)
			require.Equal(t, deleted, c.Deleted)
			fresh := newModel()
			fresh.apply(t, other, beside, profile.Rules{})
			mirrorRun(t, fresh, rows, run)
			require.Equal(t, held(t, fresh), held(t, m))
		}
	})
}
