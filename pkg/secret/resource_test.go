package secret_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/secret"
)

func TestAConnectionsCredentialsAreBoundToTheirPlaces(t *testing.T) {
	k := open(t, "file:"+filepath.Join(t.TempDir(), "keys.json"))
	c := resource.Connection{Meta: resource.Meta{ID: "app_db"}, Postgres: &resource.Postgres{Password: resource.Secret{Plain: "hunter2"}}}
	sealed := c.Clone()
	require.NoError(t, k.SealSecrets(&sealed))
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

func TestAnAlertsSecretIsNoConnections(t *testing.T) {
	k := open(t, "file:"+filepath.Join(t.TempDir(), "keys.json"))
	a := &resource.Alert{Meta: resource.Meta{ID: "ops"}, Webhook: &resource.Webhook{Secret: resource.Secret{Plain: "hunter2"}}}
	require.NoError(t, k.SealSecrets(a))
	require.Empty(t, a.Webhook.Secret.Plain)
	sealed := a.Webhook.Secret.Sealed
	_, err := k.Unseal(sealed, secret.AAD("default", "ops", "webhook.secret"))
	requireUnreadable(t, err)
	require.NoError(t, k.OpenSecrets(a))
	require.Equal(t, "hunter2", a.Webhook.Secret.Plain)

	moved := &resource.Alert{Meta: resource.Meta{ID: "other"}, Webhook: &resource.Webhook{Secret: resource.Secret{Sealed: sealed}}}
	requireUnreadable(t, k.OpenSecrets(moved))
}
