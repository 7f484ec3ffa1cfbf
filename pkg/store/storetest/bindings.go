package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/store"
)

// bound answers what a look-up says that an identity, as "email=a@x.org", is bound to. It is made twice: a store may
// remember what it has found.
func (h *harness) bound(i string) id.Profile {
	h.t.Helper()
	var last id.Profile
	for range 2 {
		b := users(originOf("asks", 1, 1, 1, 0), known("asked", day(1), nil, i))
		st, err := h.Look(h.ctx, profile.KeysOf(b.Batch, b.origin, h.scope, h.rules))
		require.NoError(h.t, err)
		last = st.Profiles[0][0]
		require.Equal(h.t, h.resolve(cut(i)), last)
	}
	return last
}

// lookedUpAgain: a look-up meets what has become of an identity since the one before.
func lookedUpAgain(t *testing.T, open func() store.Store) {
	h := graph(t, open)
	require.Zero(t, h.bound("alias=ada"))
	h.must(users(origin(1, 1, 1, 0), known("1", day(1), nil, "email=ada@x.org"), known("2", day(2), nil, "customer_id=2", "alias=ada")))
	older, newer := h.bound("email=ada@x.org"), h.bound("alias=ada")
	require.NotZero(t, newer)
	require.NotEqual(t, older, newer)
	elsewhere := *h
	elsewhere.scope.Environment = "dev"
	require.Zero(t, elsewhere.bound("alias=ada"))
	require.Zero(t, h.bound("other=ada"))

	h.must(users(origin(1, 1, 1, 1), known("3", day(3), nil, "email=ada@x.org", "alias=ada")))
	require.Equal(t, older, h.bound("alias=ada"), "merged")
	require.NoError(t, h.Undo(h.ctx, h.standing(h.log(older)[0])))
	require.Equal(t, newer, h.bound("alias=ada"), "the merge is undone")

	h.with(identity.Options{Strategy: "profile_conversion", Unique: []string{"customer_id", "email"}, Login: []string{"customer_id"}})
	h.must(users(origin(1, 1, 1, 2), known("4", day(4), nil, "customer_id=2", "email=ada@x.org")))
	require.Equal(t, newer, h.bound("email=ada@x.org"), "it goes to another profile")

	h.must(mirrorOf(users(originOf("shop", 1, 1, 1, 0), known("5", day(1), nil, "customer_id=5"))))
	require.NotZero(t, h.bound("customer_id=5"))
	h.must(absentOf(originOf("shop", 2, 2, 1, 0), record.Users, keysOf("5")...))
	require.Zero(t, h.bound("customer_id=5"), "a mirror takes it away")
	h.must(users(origin(2, 1, 1, 0), known("6", day(1), nil, "customer_id=5")))
	require.NotZero(t, h.bound("customer_id=5"), "bound again")

	e := h.erasure(person("alias", "ada"))
	h.erase(profile.Erasing{Erasure: e})
	x := step(&e)
	x.Unbound = []profile.IdentityWrite{{Type: "alias", Value: "ada", Profile: newer}, {Type: "customer_id", Value: "5", Profile: newer}}
	h.erase(x)
	require.Zero(t, h.bound("alias=ada"), "erased")
	require.NotZero(t, h.bound("customer_id=5"), "it is bound to another")
}

// lookedUpMeanwhile: what is looked up while an identity goes to and fro is not what later look-ups meet.
func lookedUpMeanwhile(t *testing.T, open func() store.Store) {
	h := start(t, open).with(identity.Options{Strategy: "graph", Limits: []string{"*=100"}})
	h.must(users(origin(1, 1, 1, 0), known("1", day(1), nil, "email=ada@x.org"), known("2", day(2), nil, "alias=ada")))
	older, newer := h.resolve("email", "ada@x.org"), h.resolve("alias", "ada")
	b := users(originOf("asks", 1, 1, 1, 0), known("asked", day(1), nil, "alias=ada"))
	k := profile.KeysOf(b.Batch, b.origin, h.scope, h.rules)
	over := make(chan struct{})
	errs := make([]error, 4)
	var asking sync.WaitGroup
	for n := range errs {
		asking.Go(func() {
			for errs[n] == nil {
				select {
				case <-over:
					return
				default:
					_, errs[n] = h.Look(h.ctx, k)
				}
			}
		})
	}
	stop := sync.OnceFunc(func() {
		close(over)
		asking.Wait()
	})
	defer stop()
	for n := range 20 {
		// An undone merge is not made again by the value that made it.
		glue := fmt.Sprint("other=g", n)
		seq := uint32(2 * n) //nolint:gosec // few
		h.must(users(origin(2, 1, 1, seq), known("a"+glue, day(3), nil, "alias=ada", glue)))
		h.must(users(origin(2, 1, 1, seq+1), known("b"+glue, day(4), nil, "email=ada@x.org", glue)))
		require.Equal(t, older, h.bound("alias=ada"), "merge %d", n)
		for _, m := range h.log(older) {
			if m.Undone.IsZero() {
				require.NoError(t, h.Undo(h.ctx, h.standing(m)))
			}
		}
		require.Equal(t, newer, h.bound("alias=ada"), "undone merge %d", n)
	}
	stop()
	for _, err := range errs {
		require.NoError(t, err)
	}
}
