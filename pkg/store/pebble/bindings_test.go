package pebble

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// TestBindingsAreForgottenOrRight puts and drops identities in any order, in memory for a few: whatever is remembered is
// what was put last and not dropped since, also where several identities have one hash.
func TestBindingsAreForgottenOrRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBindings(4 * bucketLen)
		defer b.free()
		type name struct {
			of    uint64
			value string
		}
		hash := func(n name) uint64 { // few, so that some meet
			return profileHash(profile.Derive(profile.Scope{}, "t", n.value, int(n.of)) % 32)
		}
		values := rapid.SampledFrom([]string{"", "a", "b", "ada@example.org", strings.Repeat("x", longestValue), strings.Repeat("x", longestValue+1)})
		names := rapid.Custom(func(t *rapid.T) name {
			return name{owner(rapid.Uint32Range(0, 2).Draw(t, "scope"), rapid.Uint32Range(0, 2).Draw(t, "type")), values.Draw(t, "value")}
		})
		bound := map[name]id.Profile{}
		for next := range id.Profile(rapid.IntRange(1, 60).Draw(t, "steps")) {
			n := names.Draw(t, "name")
			switch _, there := bound[n]; {
			case rapid.Bool().Draw(t, "drop"):
				b.drop([]uint64{hash(n)})
				delete(bound, n)
			case !there:
				bound[n] = next + 1
				fallthrough
			default:
				b.put(hash(n), n.of, n.value, bound[n])
				if len(n.value) <= longestValue {
					require.Equal(t, bound[n], b.find(hash(n), n.of, n.value))
				}
			}
			for n, p := range bound {
				require.Contains(t, []id.Profile{0, p}, b.find(hash(n), n.of, n.value))
			}
			require.Zero(t, b.find(hash(n), n.of, n.value+"?"))
		}
	})
}

// TestWhatWasReadBeforeADropIsNotLearnt lets an identity go to another profile between a look-up's reading of the database
// and its remembering of that.
func TestWhatWasReadBeforeADropIsNotLearnt(t *testing.T) {
	s := &Store{filter: newFilter(64), bindings: newBindings(bucketLen)}
	defer s.filter.free()
	defer s.bindings.free()
	builder := array.NewStringBuilder(memory.DefaultAllocator)
	builder.Append("ada@example.org")
	values := builder.NewStringArray()
	of, found := owner(1, 2), []id.Profile{0}
	l := looking{Store: s, hs: []uint64{profileHash(7)}}
	look := func() (before uint64) {
		l.ord.reset()
		return l.known(of, values, found, func(i int) { l.ord.add(prefixOf(values.Value(i)), i) })
	}

	before := look()
	require.Len(t, l.ord.todo, 1, "the database is asked")
	found[0] = 5
	s.bindings.drop(l.hs)
	l.learn(of, values, found, before)

	before = look()
	require.Zero(t, found[0])
	require.Len(t, l.ord.todo, 1, "it is asked again")
	found[0] = 6
	l.learn(of, values, found, before)

	look()
	require.Empty(t, l.ord.todo)
	require.Equal(t, id.Profile(6), found[0])
}
