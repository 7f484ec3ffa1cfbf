package resource_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

func keyFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/keys/" + name + ".pem")
	require.NoError(t, err)
	return string(text)
}

// TestKeysAreReadAsOpenSSLEncryptsThem reads one key in each form that openssl pkcs8 -topk8 gave it.
func TestKeysAreReadAsOpenSSLEncryptsThem(t *testing.T) {
	want, err := resource.ParseRSAKey(keyFile(t, "plain"), "")
	require.NoError(t, err)
	for _, name := range []string{"plain", "aes-256-cbc", "aes-128-cbc-sha1", "aes-192-cbc-sha512", "des3"} {
		got, err := resource.ParseRSAKey(keyFile(t, name), "open sesame")
		require.NoError(t, err, name)
		require.True(t, want.Equal(got), name)
		if name != "plain" {
			for _, wrong := range []string{"", "open barley", "open sesame "} {
				_, err := resource.ParseRSAKey(keyFile(t, name), wrong)
				require.ErrorContains(t, err, "passphrase", name)
			}
		}
	}
	for _, name := range []string{"scrypt", "pbes1"} {
		_, err := resource.ParseRSAKey(keyFile(t, name), "open sesame")
		require.ErrorContains(t, err, "not read", name)
	}
}

func TestKeysAndTheirPassphrases(t *testing.T) {
	plain := func(s string) resource.Secret { return resource.Secret{Plain: s} }
	for name, c := range map[string]struct {
		key, passphrase resource.Secret
		field           string // of the violation; empty: none
	}{
		"encrypted":                {plain(keyFile(t, "aes-256-cbc")), plain("open sesame"), ""},
		"not encrypted":            {plain(keyFile(t, "plain")), resource.Secret{}, ""},
		"a passphrase too many":    {plain(keyFile(t, "plain")), plain("open sesame"), ""},
		"both kept":                {resource.Secret{Kept: true}, resource.Secret{Kept: true}, ""},
		"a kept passphrase":        {plain(keyFile(t, "aes-256-cbc")), resource.Secret{Kept: true}, ""},
		"no passphrase":            {plain(keyFile(t, "aes-256-cbc")), resource.Secret{}, "snowflake.private_key_2_passphrase"},
		"another passphrase":       {plain(keyFile(t, "aes-256-cbc")), plain("canary"), "snowflake.private_key_2_passphrase"},
		"no key":                   {resource.Secret{}, plain("open sesame"), "snowflake.private_key_2"},
		"encrypted in another way": {plain(keyFile(t, "scrypt")), plain("open sesame"), "snowflake.private_key_2"},
		"half a key":               {plain(keyFile(t, "aes-256-cbc")[:200]), plain("open sesame"), "snowflake.private_key_2"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &resource.Connection{Snowflake: &resource.Snowflake{
				Account: "a", Warehouse: "w", Database: "d", Role: "r", User: "u", PrivateKey: plain(keyFile(t, "plain")), PrivateKey2: c.key, PrivateKey2Passphrase: c.passphrase,
			}}
			x.ID = "snow"
			x.Normalize()
			var fields []string
			for _, v := range x.Validate() {
				fields = append(fields, v.Field)
				require.NotContains(t, v.Message+v.Fix, "canary")
			}
			if c.field == "" {
				require.Empty(t, fields)
				return
			}
			require.Equal(t, []string{c.field}, fields)
		})
	}
}

// FuzzKeys holds keys of any kind to an answer in a bounded time.
func FuzzKeys(f *testing.F) {
	for _, name := range []string{"aes-256-cbc", "des3", "scrypt", "pbes1"} {
		f.Add(keyFile(f, name), "open sesame")
	}
	f.Fuzz(func(t *testing.T, text, passphrase string) {
		key, err := resource.ParseRSAKey(text, passphrase)
		require.NotEqual(t, key == nil, err == nil)
		if err != nil && len(passphrase) > 20 {
			require.NotContains(t, err.Error(), passphrase)
		}
	})
}
