package identity_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/identity"
)

func sections(t *testing.T, path string) map[string][]string {
	t.Helper()
	a, err := txtar.ParseFile(path)
	require.NoError(t, err)
	m := map[string][]string{}
	for _, f := range a.Files {
		m[f.Name] = strings.Split(strings.TrimRight(string(f.Data), "\n"), "\n")
	}
	return m
}

func TestUsable(t *testing.T) {
	s := sections(t, "testdata/usable.txtar")
	written, err := identity.NewPolicy(identity.DefaultBlocked(), 0)
	require.NoError(t, err)
	for name, p := range map[string]identity.Policy{"default": {}, "the default written out": written} {
		for want, section := range map[bool]string{true: "usable", false: "blocked"} {
			for _, q := range s[section] {
				v, err := strconv.Unquote(q)
				require.NoError(t, err, q)
				require.Equal(t, want, p.Usable(v), "%s: %s", name, q)
			}
		}
	}
}

func TestUsableLength(t *testing.T) {
	var p identity.Policy
	require.True(t, p.Usable(strings.Repeat("x", identity.DefaultMaxLength)))
	require.False(t, p.Usable(strings.Repeat("x", identity.DefaultMaxLength+1)))
	p, err := identity.NewPolicy(nil, 3)
	require.NoError(t, err)
	require.True(t, p.Usable("abc"))
	require.False(t, p.Usable("abcd"))
}

func TestPolicyOfOnesOwn(t *testing.T) {
	p, err := identity.NewPolicy([]string{"guest", "^test-"}, 0)
	require.NoError(t, err)
	require.False(t, p.Usable("Guest"))
	require.False(t, p.Usable("test-1"))
	require.True(t, p.Usable("null"), "the default is replaced, not extended")

	_, err = identity.NewPolicy([]string{"^(", "^["}, -1)
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	require.Len(t, fault.As(err).Violations, 3, "all at once")
}

func TestOrder(t *testing.T) {
	s := sections(t, "testdata/priority.txtar")
	require.Equal(t, s["by default"], identity.Order(s["types"], nil))
	require.Equal(t, s["by that priority"], identity.Order(s["types"], s["priority"]))
}

func TestEveryKnownTypeHasAPriority(t *testing.T) {
	p := identity.DefaultPriority()
	require.Subset(t, p, identity.Types())
	require.Subset(t, p, identity.DeviceTypes())
	require.Equal(t, "customer_id", p[0])
	require.Equal(t, "email", p[1])
	require.Equal(t, identity.MPID, p[len(p)-1])
	require.Len(t, p, len(identity.Types())+len(identity.DeviceTypes())+1)
}
