package resource

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Snowflake is an account of Snowflake, with exactly one kind of credentials.
type Snowflake struct {
	Account          string // ORG-ACCOUNT, or a locator such as ab12345
	Region           string // of a locator: us-west-2, us-east-2.aws
	Warehouse        string
	Database         string
	Schema           string
	Role             string
	User             string
	Host             string // in the place of the account's own address
	Port             int
	Protocol         string // https (default), or http to this machine
	Timestamps       string // Microseconds (default) or Nanoseconds
	StatementTimeout time.Duration
	StateSchema      string // where mirrors by diff keep their snapshots; empty: DefaultStateSchema

	PrivateKey            Secret // PEM
	PrivateKey2           Secret // PEM: the next key while keys are rotated
	PrivateKeyPassphrase  Secret // of an encrypted PrivateKey
	PrivateKey2Passphrase Secret
	OAuthClientID         string
	OAuthClientSecret     Secret
	OAuthTokenURL         string
	OAuthScope            string
	Token                 Secret // a programmatic access token
	WorkloadIdentity      string // aws, azure, gcp, oidc
	WorkloadIdentityToken Secret // of oidc
	Password              Secret
}

// What timestamps become whose type is finer than microseconds.
const (
	Microseconds = "microseconds" // every year; finer digits are refused
	Nanoseconds  = "nanoseconds"  // every digit; years outside 1678 to 2261 are refused
)

// SnowflakePasswordFix says what to do about a password.
const SnowflakePasswordFix = "give the user a key pair: openssl genrsa 2048 | openssl pkcs8 -topk8 -nocrypt -out KEY; openssl rsa -in KEY -pubout; " +
	"ALTER USER … SET RSA_PUBLIC_KEY = '…', TYPE = SERVICE; then write private_key: {file: KEY} in the place of password"

const (
	defaultHTTPSPort = 443
	https            = "https"
	oidc             = "oidc"
)

//nolint:gochecknoglobals // compiled once, never changed
var (
	snowflakeAccount = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$`)
	snowflakeRegion  = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+){0,2}$`)
	hostName         = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*$`)
)

func (s *Snowflake) normalize() {
	if s.Protocol == "" {
		s.Protocol = https
	}
	if s.Port == 0 {
		s.Port = defaultHTTPSPort
	}
	if s.Timestamps == "" {
		s.Timestamps = Microseconds
	}
	if s.StatementTimeout == 0 {
		s.StatementTimeout = defaultTimeout
	}
}

// Address answers the host that is connected to: the account's own, unless another is set.
func (s *Snowflake) Address() string {
	switch {
	case s.Host != "":
		return s.Host
	case s.Region != "":
		return s.Account + "." + s.Region + domain(s.Region)
	}
	return s.Account + domain("")
}

func domain(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return ".snowflakecomputing.cn"
	}
	return ".snowflakecomputing.com"
}

// place answers s without how one gets in.
func (s *Snowflake) place() *Snowflake {
	return &Snowflake{
		Account: s.Account, Region: s.Region, Host: s.Host, Port: s.Port, Database: s.Database, Schema: s.Schema,
		Role: s.Role, User: s.User, Timestamps: s.Timestamps,
	}
}

func (s *Snowflake) secrets() []SecretField {
	return []SecretField{
		{Name: "snowflake.private_key", Value: &s.PrivateKey},
		{Name: "snowflake.private_key_2", Value: &s.PrivateKey2},
		{Name: "snowflake.private_key_passphrase", Value: &s.PrivateKeyPassphrase},
		{Name: "snowflake.private_key_2_passphrase", Value: &s.PrivateKey2Passphrase},
		{Name: "snowflake.oauth_client_secret", Value: &s.OAuthClientSecret},
		{Name: "snowflake.token", Value: &s.Token},
		{Name: "snowflake.workload_identity_token", Value: &s.WorkloadIdentityToken},
		{Name: "snowflake.password", Value: &s.Password},
	}
}

func (s *Snowflake) validate(f *faults) {
	s.validateAddress(f)
	f.text("snowflake.warehouse", s.Warehouse, true)
	f.text("snowflake.database", s.Database, true)
	f.text("snowflake.schema", s.Schema, false)
	f.text("snowflake.role", s.Role, true)
	f.text("snowflake.user", s.User, s.OAuthClientID == "" && s.WorkloadIdentity == "")
	f.oneOf("snowflake.timestamps", s.Timestamps, true, Microseconds, Nanoseconds)
	f.duration("snowflake.statement_timeout", s.StatementTimeout)
	f.text("snowflake.state_schema", s.StateSchema, false)
	s.validateCredentials(f)
}

func (s *Snowflake) validateAddress(f *faults) {
	f.text("snowflake.account", s.Account, true)
	if s.Account != "" && !snowflakeAccount.MatchString(s.Account) {
		f.add("snowflake.account", "write the identifier alone, such as myorg-account1 or ab12345, and the region beside it", "%q is no account identifier", clip(s.Account))
	}
	if s.Region != "" && !snowflakeRegion.MatchString(s.Region) {
		f.add("snowflake.region", "write one such as us-west-2 or us-east-2.aws", "%q is no region", clip(s.Region))
	}
	if s.Host != "" && !hostName.MatchString(s.Host) {
		f.add("snowflake.host", "write the name alone, without scheme, port and path", "%q is no host name", clip(s.Host))
	}
	if s.Port < 1 || s.Port > maxPort {
		f.add("snowflake.port", fmt.Sprintf("use 1 to %d", maxPort), "%d is no port", s.Port)
	}
	f.oneOf("snowflake.protocol", s.Protocol, true, https, "http")
	if s.Protocol == "http" && !isLoopback(s.Host) {
		f.add("snowflake.protocol", "use https", "http is for a server on this machine only")
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// validateCredentials wants exactly one kind, complete.
func (s *Snowflake) validateCredentials(f *faults) {
	for _, x := range s.secrets() {
		f.secret(x.Name, *x.Value)
	}
	f.rsaKey("snowflake.private_key", s.PrivateKey, s.PrivateKeyPassphrase)
	f.rsaKey("snowflake.private_key_2", s.PrivateKey2, s.PrivateKey2Passphrase)
	f.text("snowflake.oauth_client_id", s.OAuthClientID, false)
	f.text("snowflake.oauth_scope", s.OAuthScope, false)
	if s.OAuthClientID != "" {
		if s.OAuthClientSecret.IsZero() {
			f.add("snowflake.oauth_client_secret", "add the client's secret", "is missing")
		}
		f.tokenURL("snowflake.oauth_token_url", s.OAuthTokenURL)
	} else if !s.OAuthClientSecret.IsZero() {
		f.add("snowflake.oauth_client_id", "add the secret's client", "is missing")
	}
	f.oneOf("snowflake.workload_identity", s.WorkloadIdentity, false, "aws", "azure", "gcp", oidc)
	if s.WorkloadIdentity == oidc && s.WorkloadIdentityToken.IsZero() {
		f.add("snowflake.workload_identity_token", "add the identity's token", "is missing")
	}
	const fix = "give private_key, or oauth_client_id with its secret, or token, or workload_identity; a password is accepted while the account does"
	switch kinds := s.credentials(); len(kinds) {
	case 0:
		f.add("snowflake", fix, "has no credentials")
	case 1:
	default:
		f.add("snowflake", "keep one kind", "has credentials of %d kinds: %s", len(kinds), strings.Join(kinds, ", "))
	}
}

// credentials answers the kinds of credentials that are set, by the name of their first field.
func (s *Snowflake) credentials() []string {
	var out []string
	for _, k := range []struct {
		name string
		set  bool
	}{
		{"private_key", !s.PrivateKey.IsZero() || !s.PrivateKey2.IsZero()},
		{"oauth_client_id", s.OAuthClientID != ""},
		{"token", !s.Token.IsZero()},
		{"workload_identity", s.WorkloadIdentity != ""},
		{"password", !s.Password.IsZero()},
	} {
		if k.set {
			out = append(out, k.name)
		}
	}
	return out
}

// tokenURL checks the address of an identity provider.
func (f *faults) tokenURL(field, text string) {
	f.text(field, text, true)
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Host == "" || u.User != nil || u.Scheme != https && (u.Scheme != "http" || !isLoopback(u.Hostname()))) {
		f.add(field, "write one such as https://idp.example.com/oauth2/token", "is no https address")
	}
}

// rsaKey checks PEM text with a private RSA key, and the passphrase that opens it where both are at hand.
func (f *faults) rsaKey(field string, key, passphrase Secret) {
	if key.IsZero() && !passphrase.IsZero() {
		f.add(field, "add the passphrase's key", "is missing")
	}
	if key.Plain == "" {
		return
	}
	_, err := ParseRSAKey(key.Plain, passphrase.Plain)
	switch {
	case err == nil:
	case errors.Is(err, errNoPassphrase) && !passphrase.IsZero(): // a kept one
	case errors.Is(err, errNoPassphrase):
		f.add(field+"_passphrase", "add the key's passphrase", "is missing, and the key is encrypted")
	case errors.Is(err, errPassphrase):
		f.add(field+"_passphrase", "give the passphrase that the key was encrypted by", "does not open the key")
	case errors.Is(err, errKeyEncryption):
		f.add(field, "encrypt it by openssl pkcs8 -topk8 -v2 aes-256-cbc", "is encrypted in a way that is not read")
	default:
		f.add(field, "give an RSA key in PEM form: openssl genrsa 2048 | openssl pkcs8 -topk8 -nocrypt", "holds no private RSA key that can be read")
	}
}
