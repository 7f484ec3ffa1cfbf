package resource_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

func key(t *testing.T, change map[string]string) string {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	doc := map[string]string{
		"type": "service_account", "client_email": "reader@acme.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
	for name, value := range change {
		doc[name] = value
	}
	text, err := json.Marshal(doc)
	require.NoError(t, err)
	return string(text)
}

func TestAServiceAccountsKeyIsOfTheAccountAndOfGoogle(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		want   []string
	}{
		"as Google wrote it":    {nil, []string{}},
		"of another account":    {map[string]string{"client_email": "other@acme.iam.gserviceaccount.com"}, []string{"Connection bigquery.service_account_id"}},
		"tokens from elsewhere": {map[string]string{"token_uri": "https://evil.example.com/token"}, []string{"Connection bigquery.service_account_key"}},
		"tokens by metadata":    {map[string]string{"token_uri": "http://169.254.169.254/token"}, []string{"Connection bigquery.service_account_key"}},
		"another universe":      {map[string]string{"universe_domain": "evil.example.com"}, []string{"Connection bigquery.service_account_key"}},
		"no private key":        {map[string]string{"private_key": "none"}, []string{"Connection bigquery.service_account_key"}},
		"half a private key":    {map[string]string{"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, []string{"Connection bigquery.service_account_key"}},
		"of a user":             {map[string]string{"type": "authorized_user"}, []string{"Connection bigquery.service_account_key"}},
	} {
		bq := resource.Connection{Meta: resource.Meta{ID: "bq", DisplayName: "bq"}, BigQuery: &resource.BigQuery{
			ProjectID: "acme", ServiceAccountID: "reader@acme.iam.gserviceaccount.com", ServiceAccountKey: resource.Secret{Plain: key(t, c.change)},
		}}
		bq.Normalize()
		got := append([]string{}, fields(bq.Validate())...)
		require.Equal(t, c.want, got, name)
		for _, v := range bq.Validate() {
			require.NotContains(t, v.String(), "PRIVATE", name)
		}
	}
}
