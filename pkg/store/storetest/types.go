package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

// types says that an attribute gets a type once, and another one only from the type that was seen.
func types(t *testing.T, open func() store.Store) {
	h := start(t, open)
	has, err := h.Types(t.Context(), h.scope)
	require.NoError(t, err)
	require.Empty(t, has)
	require.NoError(t, h.DefineTypes(t.Context(), h.scope, []profile.TypeWrite{{Name: "age", To: profile.TypeInteger}, {Name: "city", To: profile.TypeText}}))
	err = h.DefineTypes(t.Context(), h.scope, []profile.TypeWrite{{Name: "new", To: profile.TypeText}, {Name: "age", To: profile.TypeText}})
	require.Equal(t, fault.Conflict, fault.ClassOf(err), "%v", err)
	require.NoError(t, h.DefineTypes(t.Context(), h.scope, []profile.TypeWrite{{Name: "age", From: profile.TypeInteger, To: profile.TypeNumber}}))
	has, err = h.Types(t.Context(), h.scope)
	require.NoError(t, err)
	require.Equal(t, map[string]profile.AttributeType{"age": profile.TypeNumber, "city": profile.TypeText}, has, "all of a call, or nothing")
	has, err = h.Types(t.Context(), h.scope.Groups("company"))
	require.NoError(t, err)
	require.Empty(t, has, "groups have types of their own")
}
