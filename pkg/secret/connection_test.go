package secret_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

func TestAConnectionsCredentialsAreBoundToTheirPlaces(t *testing.T) {
	k := open(t, "file:"+filepath.Join(t.TempDir(), "keys.json"))
	c := resource.Connection{Meta: resource.Meta{ID: "app_db"}, Postgres: &resource.Postgres{Password: resource.Secret{Plain: "hunter2"}}}
	sealed, err := k.SealConnection(c)
	require.NoError(t, err)
	require.Equal(t, "hunter2", c.Postgres.Password.Plain)
	require.Empty(t, sealed.Postgres.Password.Plain)
	require.NotEmpty(t, sealed.Postgres.Password.Sealed)
	require.True(t, sealed.Postgres.ClientKey.IsZero())

	opened, err := k.OpenConnection(sealed)
	require.NoError(t, err)
	require.Equal(t, c, opened)
	require.True(t, k.Holds(&sealed, sealed.Secrets()[0], "hunter2"))
	require.False(t, k.Holds(&sealed, sealed.Secrets()[0], "hunter3"))

	moved := sealed.Clone()
	moved.ID = "other"
	_, err = k.OpenConnection(moved)
	requireUnreadable(t, err)
	moved = sealed.Clone()
	moved.Postgres.ClientKey, moved.Postgres.Password = moved.Postgres.Password, resource.Secret{}
	_, err = k.OpenConnection(moved)
	requireUnreadable(t, err)
}
