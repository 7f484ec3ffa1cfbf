package resource

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
	"time"
)

// BigQuery is a project of Google BigQuery, read as one service account.
type BigQuery struct {
	ProjectID          string // queries are run and billed in it
	DatasetID          string // where names without a data set are looked up
	Location           string // such as EU or us-east1; empty: by the query
	MaximumBytesBilled int64  // 0: no bound
	ServiceAccountID   string // e-mail address
	ServiceAccountKey  Secret // JSON
	Credentials        string // service_account_key (default) or application_default
	StatementTimeout   time.Duration
	StateDataset       string // where mirrors by diff keep their snapshots; empty: DefaultStateSchema
	// URLs in the place of Google's: REST, Storage Read and tokens. Empty: Google's.
	Endpoint        string
	StorageEndpoint string
	TokenEndpoint   string
}

// How BigQuery is got into.
const (
	ByServiceAccountKey  = "service_account_key"
	ByApplicationDefault = "application_default"
)

// ServiceAccountKey is what Millrace takes from a service account's key document.
type ServiceAccountKey struct {
	Type           string `json:"type"`
	ProjectID      string `json:"project_id"`
	PrivateKeyID   string `json:"private_key_id"`
	PrivateKey     string `json:"private_key"`
	ClientEmail    string `json:"client_email"`
	TokenURI       string `json:"token_uri"`
	UniverseDomain string `json:"universe_domain"`
}

// googleTokens are the addresses that Google writes into keys as where tokens are fetched.
var googleTokens = []string{"", "https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token", "https://www.googleapis.com/oauth2/v4/token"} //nolint:gochecknoglobals // never changed

func (b *BigQuery) normalize() {
	if b == nil {
		return
	}
	if b.Credentials == "" {
		b.Credentials = ByServiceAccountKey
	}
	if b.StatementTimeout == 0 {
		b.StatementTimeout = defaultTimeout
	}
}

func (b *BigQuery) validate(f *faults) {
	f.text("bigquery.project_id", b.ProjectID, true)
	if b.ProjectID != "" && !isProject(b.ProjectID) {
		f.add("bigquery.project_id", "write its id as in acme-prod, not its name or number", "%q cannot be a project's id", clip(b.ProjectID))
	}
	if b.DatasetID != "" && (len(b.DatasetID) > 1024 || span(b.DatasetID, isWord) != len(b.DatasetID)) {
		f.add("bigquery.dataset_id", "write letters, digits and _, without the project", "%q cannot be a data set's id", clip(b.DatasetID))
	}
	if b.StateDataset != "" && (len(b.StateDataset) > 1024 || span(b.StateDataset, isWord) != len(b.StateDataset)) {
		f.add("bigquery.state_dataset", "write letters, digits and _, without the project", "%q cannot be a data set's id", clip(b.StateDataset))
	}
	if span(b.Location, func(c byte) bool { return isWord(c) && c != '_' || c == '-' }) != len(b.Location) || len(b.Location) > 64 {
		f.add("bigquery.location", "write one such as EU, US or europe-west3", "%q cannot be a location", clip(b.Location))
	}
	if b.MaximumBytesBilled < 0 {
		f.add("bigquery.maximum_bytes_billed", "write 0 for no bound, or a number of bytes", "%d is below 0", b.MaximumBytesBilled)
	}
	f.duration("bigquery.statement_timeout", b.StatementTimeout)
	f.endpoint("bigquery.endpoint", b.Endpoint)
	f.endpoint("bigquery.storage_endpoint", b.StorageEndpoint)
	f.endpoint("bigquery.token_endpoint", b.TokenEndpoint)
	b.validateCredentials(f)
}

func (b *BigQuery) validateCredentials(f *faults) {
	const account, key, how = "bigquery.service_account_id", "bigquery.service_account_key", "bigquery.credentials"
	f.text(account, b.ServiceAccountID, false)
	if span(b.ServiceAccountID, func(c byte) bool { return isWord(c) || strings.IndexByte("-.:@", c) >= 0 }) != len(b.ServiceAccountID) {
		f.add(account, "write its e-mail address", "%q cannot be a service account", clip(b.ServiceAccountID))
	}
	f.oneOf(how, b.Credentials, true, ByServiceAccountKey, ByApplicationDefault)
	f.secret(key, b.ServiceAccountKey)
	switch b.Credentials {
	case ByServiceAccountKey:
		if b.ServiceAccountKey.IsZero() {
			f.add(key, "add it, or choose credentials: "+ByApplicationDefault, "is missing")
		}
	case ByApplicationDefault:
		if !b.ServiceAccountKey.IsZero() {
			f.add(key, "leave it out, or leave credentials out", "is not used with credentials: %s", ByApplicationDefault)
		}
	}
	if b.ServiceAccountKey.Plain == "" {
		return
	}
	k, fix := ParseServiceAccountKey(b.ServiceAccountKey.Plain)
	if fix != "" {
		f.add(key, fix, "is no key of a service account")
		return
	}
	if b.ServiceAccountID != "" && !strings.EqualFold(b.ServiceAccountID, k.ClientEmail) {
		f.add(account, "name the account of the key, or give the key of the account", "is not the account that the key is of")
	}
	if k.TokenURI != b.TokenEndpoint && !slices.Contains(googleTokens, k.TokenURI) {
		f.add(key, "take the key as Google wrote it", "has a token_uri that is not Google's")
	}
	if k.UniverseDomain != "" && k.UniverseDomain != "googleapis.com" {
		f.add(key, "use an account of Google Cloud", "is of another universe than googleapis.com")
	}
}

// ParseServiceAccountKey reads a key document. Where text is none, fix says what to do.
func ParseServiceAccountKey(text string) (key ServiceAccountKey, fix string) {
	const give = "give the JSON document that Google Cloud made for the account"
	if json.Unmarshal([]byte(text), &key) != nil {
		return key, give
	}
	if key.Type != "service_account" {
		return key, give + ", with type service_account; for workload identity choose credentials: " + ByApplicationDefault
	}
	block, _ := pem.Decode([]byte(key.PrivateKey))
	if key.ClientEmail == "" || block == nil {
		return key, give + ", whole"
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key, ""
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		return key, give + ", whole"
	}
	return key, ""
}

// endpoint checks a URL of a service: https, or http within the machine.
func (f *faults) endpoint(field, text string) {
	if text == "" {
		return
	}
	f.text(field, text, true)
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		f.add(field, "write it as in https://service.example.com", "is no URL of a service")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		f.add(field, "use https", "would carry credentials unencrypted to another machine")
	case u.Scheme != "http" && u.Scheme != "https":
		f.add(field, "use https", "is not a URL of https")
	}
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// isProject says whether s can be a project's id; the older form has a domain before a colon.
func isProject(s string) bool {
	return len(s) <= 100 && span(s, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-.:", c) >= 0
	}) == len(s)
}
