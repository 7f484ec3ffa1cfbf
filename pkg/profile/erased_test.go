package profile_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
)

func testHasher() *profile.Hasher { return profile.NewHasher([profile.HashKeyLen]byte{7}) }

// erase removes a person and blocks all that names him, as the steps of an erasure do.
func (m *model) erase(t *testing.T, asked profile.Identity) {
	t.Helper()
	h := testHasher()
	m.blocked[h.Hash(asked.Type, asked.Value)] = true
	p := m.survivor(m.identities[asked])
	if m.docs[p] == nil {
		return
	}
	ps := append([]id.Profile{p}, m.members(p)...)
	docs := make([][]byte, len(ps))
	for i, q := range ps {
		docs[i] = m.docs[q]
	}
	who, err := profile.PersonOf(ps, docs)
	require.NoError(t, err)
	is := func(q id.Profile) bool { return slices.Contains(ps, q) }
	for _, i := range who.Identities {
		if q := m.identities[i]; q == 0 || is(q) {
			m.blocked[h.Hash(i.Type, i.Value)] = true
			delete(m.identities, i)
		}
	}
	for _, q := range ps {
		delete(m.docs, q)
	}
	for _, q := range who.Others {
		if doc := profile.Forget(m.docs[q], is, func(i profile.Identity) bool { return m.blocked[h.Hash(i.Type, i.Value)] }); doc != nil {
			m.docs[q] = doc
		}
	}
	for at, x := range m.merges {
		switch {
		case !slices.ContainsFunc(ps, x.Has):
		case x.Kind == profile.Stopped:
			delete(m.merges, at)
		default:
			back, err := profile.DecodeMerge(at, profile.AppendMerge(nil, x.Erase()))
			require.NoError(t, err)
			require.True(t, back.Erased)
			m.merges[at] = back
		}
	}
	of := func(k profile.EventKey, _ []byte) bool { return is(k.Profile) || is(profile.MemberOf(k.ID)) }
	maps.DeleteFunc(m.events, of)
	for _, events := range m.beside {
		maps.DeleteFunc(events, of)
	}
	maps.DeleteFunc(m.entries, func(_ string, e profile.Entry) bool { return is(e.Profile) })
}

// erased says which positions name somebody whom the hash list has; nil where it is empty.
func (m *model) erased(k profile.Keys) []bool {
	if len(m.blocked) == 0 || k.Scope.Space != "" {
		return nil
	}
	h := testHasher()
	out := make([]bool, k.Len())
	for _, col := range k.Identities {
		for i := range out {
			out[i] = out[i] || col.Values.IsValid(i) && m.blocked[h.Hash(col.Type, col.Values.Value(i))]
		}
	}
	return out
}

func TestForgetLeavesWhatIsNotOfThePerson(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := document(t)
		require.Nil(t, profile.Forget(doc, func(id.Profile) bool { return false }, func(profile.Identity) bool { return false }))
	})
	require.Nil(t, profile.Forget([]byte("damaged"), func(id.Profile) bool { return true }, func(profile.Identity) bool { return true }))
	_, err := profile.PersonOf([]id.Profile{1}, [][]byte{[]byte("damaged")})
	require.Error(t, err)
	nobody, err := profile.PersonOf([]id.Profile{1}, [][]byte{nil})
	require.NoError(t, err)
	require.Equal(t, []profile.Identity{{Type: identity.MPID, Value: "1"}}, nobody.Identities)
}

func TestHashesTellIdentitiesApart(t *testing.T) {
	h, other := testHasher(), profile.NewHasher([profile.HashKeyLen]byte{8})
	require.Equal(t, h.Hash("email", "a"), testHasher().Hash("email", "a"))
	require.NotEqual(t, h.Hash("email", "a"), other.Hash("email", "a"), "by the key")
	require.NotEqual(t, h.Tag("email", "a"), other.Tag("email", "a"))
	require.NotEqual(t, h.Hash("em", "aila"), h.Hash("email", "a"))
	prod, dev := scope(), scope()
	dev.Environment = "dev"
	i := profile.Identity{Type: "email", Value: "a"}
	require.NotEqual(t, h.ErasureID(prod, i), h.ErasureID(dev, i))
	back, err := profile.ParseErasureID(h.ErasureID(prod, i).String())
	require.NoError(t, err)
	require.Equal(t, h.ErasureID(prod, i), back)
	for _, bad := range []string{"", "1", "zz", fmt.Sprintf("%034x", 1)} {
		_, err := profile.ParseErasureID(bad)
		require.Error(t, err, bad)
	}
}
