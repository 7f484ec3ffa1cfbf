package secret_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/core/registry"
	"github.com/tink-crypto/tink-go/v2/testing/fakekms"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/secret"
)

func open(t *testing.T, uri string) *secret.Keyring {
	t.Helper()
	k, err := secret.Open(t.Context(), uri)
	require.NoError(t, err)
	return k
}

func requireUnreadable(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, fault.Precondition, fault.ClassOf(err))
	require.Equal(t, fault.ReasonSecretUnreadable, fault.ReasonOf(err))
}

func TestASecretIsOpenedOnlyWithItsKeySetAndItsPlace(t *testing.T) {
	uri := "file:" + filepath.Join(t.TempDir(), "sub", "keys.json")
	k := open(t, uri)
	aad := secret.AAD("default", "app_db", "password")
	sealed, err := k.Seal([]byte("hunter2"), aad)
	require.NoError(t, err)
	require.False(t, bytes.Contains(sealed, []byte("hunter2")))
	again, err := k.Seal([]byte("hunter2"), aad)
	require.NoError(t, err)
	require.NotEqual(t, sealed, again)

	plain, err := open(t, uri).Unseal(sealed, aad)
	require.NoError(t, err)
	require.Equal(t, "hunter2", string(plain))

	_, err = k.Unseal(sealed, secret.AAD("default", "other", "password"))
	requireUnreadable(t, err)
	require.NotContains(t, err.Error(), "hunter2")
	_, err = open(t, "file:"+filepath.Join(t.TempDir(), "keys.json")).Unseal(sealed, aad)
	requireUnreadable(t, err)
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		_, err = k.Unseal(bad, aad)
		requireUnreadable(t, err)
	}
	_, err = k.Unseal(nil, aad)
	requireUnreadable(t, err)
}

func TestAMissingKeySetIsMadeForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	open(t, "file:"+path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestProcessesThatStartTogetherShareOneKeySet(t *testing.T) {
	uri := "file:" + filepath.Join(t.TempDir(), "keys.json")
	rings := make([]*secret.Keyring, 8)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() { rings[i], _ = secret.Open(t.Context(), uri) })
	}
	wg.Wait()
	require.NotNil(t, rings[0])
	sealed, err := rings[0].Seal([]byte("x"), "a")
	require.NoError(t, err)
	for _, k := range rings {
		require.NotNil(t, k)
		_, err := k.Unseal(sealed, "a")
		require.NoError(t, err)
	}
}

func TestAKeySetThatOthersMayReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	open(t, "file:"+path)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := secret.Open(t.Context(), "file:"+path)
		requireUnreadable(t, err)
		require.Contains(t, err.Error(), "chmod 600 "+path)
	}
}

func TestABadKeySetSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte("{"), 0o600))
	_, err := secret.Open(t.Context(), "file:"+broken)
	requireUnreadable(t, err)
	large := filepath.Join(dir, "large.json")
	require.NoError(t, os.WriteFile(large, []byte(strings.Repeat(" ", 1<<20+1)), 0o600))
	_, err = secret.Open(t.Context(), "file:"+large)
	requireUnreadable(t, err)
	_, err = secret.Open(t.Context(), "file:"+dir)
	requireUnreadable(t, err)
	for _, uri := range []string{"", "file:", "keys.json"} {
		_, err = secret.Open(t.Context(), uri)
		require.Equal(t, fault.Invalid, fault.ClassOf(err), uri)
	}
}

func TestAKMSKeyNeedsAClient(t *testing.T) {
	uri, err := fakekms.NewKeyURI()
	require.NoError(t, err)
	_, err = secret.Open(t.Context(), uri)
	requireUnreadable(t, err)
	require.Contains(t, err.Error(), "no client for fake-kms:// keys")
	require.NotContains(t, err.Error(), uri)

	client, err := fakekms.NewClient("fake-kms://")
	require.NoError(t, err)
	registry.RegisterKMSClient(client)
	t.Cleanup(registry.ClearKMSClients)
	sealed, err := open(t, uri).Seal([]byte("hunter2"), "a")
	require.NoError(t, err)
	plain, err := open(t, uri).Unseal(sealed, "a")
	require.NoError(t, err)
	require.Equal(t, "hunter2", string(plain))
}
