package resource

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
)

const (
	defaultPort    = 5432
	maxPort        = 65535
	defaultTimeout = time.Hour
	verifyFull     = "verify-full"
)

// ResourceKind answers KindConnection.
func (*Connection) ResourceKind() Kind { return KindConnection }

// Normalize fills in what was left out: PostgreSQL's port 5432, sslmode verify-full and a statement timeout of 1h;
// Redshift's port 5439, sslmode verify-full and a statement timeout of 1h;
// Databricks' protocol https, port 443, schema default and a statement timeout of 1h; Snowflake's protocol https, port 443,
// timestamps in microseconds and a statement timeout of 1h; that BigQuery is read by a key, and a statement timeout of 1h.
func (c *Connection) Normalize() {
	c.normalize()
	if c.Redshift != nil {
		c.Redshift.normalize()
	}
	if c.Databricks != nil {
		c.Databricks.normalize()
	}
	if c.Snowflake != nil {
		c.Snowflake.normalize()
	}
	c.BigQuery.normalize()
	p := c.Postgres
	if p == nil {
		return
	}
	if p.Port == 0 {
		p.Port = defaultPort
	}
	if p.SSLMode == "" {
		p.SSLMode = verifyFull
	}
	if p.StatementTimeout == 0 {
		p.StatementTimeout = defaultTimeout
	}
}

// Validate reports every rule that c breaks. It looks at no file and no network.
func (c *Connection) Validate() []fault.Violation {
	f := newFaults(c)
	f.meta(c.Meta)
	switch blocks := c.blocks(); {
	case len(blocks) == 0:
		f.add("", "add one block: duckdb, postgres, redshift, bigquery, databricks, delta_sharing or snowflake", "names no warehouse")
	default:
		for _, b := range blocks[1:] {
			f.add(b, "keep one block", "stands beside %s", blocks[0])
		}
	}
	if c.DuckDB != nil {
		c.DuckDB.validate(f)
	}
	if c.Postgres != nil {
		c.Postgres.validate(f)
	}
	if c.Redshift != nil {
		c.Redshift.validate(f)
	}
	if c.Databricks != nil {
		c.Databricks.validate(f)
	}
	if c.Snowflake != nil {
		c.Snowflake.validate(f)
	}
	if c.BigQuery != nil {
		c.BigQuery.validate(f)
	}
	if c.DeltaSharing != nil {
		c.DeltaSharing.validate(f)
	}
	return f.out
}

// blocks answers the names of the blocks that are set.
func (c *Connection) blocks() []string {
	var out []string
	for _, b := range []struct {
		name string
		set  bool
	}{{"duckdb", c.DuckDB != nil}, {"postgres", c.Postgres != nil}, {"redshift", c.Redshift != nil}, {"databricks", c.Databricks != nil}, {"snowflake", c.Snowflake != nil}, {"bigquery", c.BigQuery != nil}, {"delta_sharing", c.DeltaSharing != nil}} {
		if b.set {
			out = append(out, b.name)
		}
	}
	return out
}

func (d *DuckDB) validate(f *faults) {
	f.text("duckdb.path", d.Path, true)
	if d.Path != "" && !filepath.IsAbs(d.Path) {
		f.add("duckdb.path", "write it from the root on, as the extractor sees it", "%q is not absolute", clip(d.Path))
	}
}

func (p *Postgres) validate(f *faults) {
	f.text("postgres.host", p.Host, true)
	if p.Port < 1 || p.Port > maxPort {
		f.add("postgres.port", fmt.Sprintf("use 1 to %d", maxPort), "%d is no port", p.Port)
	}
	f.text("postgres.database", p.Database, true)
	f.text("postgres.user", p.User, true)
	f.oneOf("postgres.sslmode", p.SSLMode, true, "disable", "require", "verify-ca", verifyFull)
	f.certificates("postgres.ca", p.CA)
	f.certificates("postgres.client_certificate", p.ClientCertificate)
	if p.ClientCertificate != "" && p.ClientKey.IsZero() {
		f.add("postgres.client_key", "add the certificate's key", "is missing")
	}
	if p.ClientCertificate == "" && !p.ClientKey.IsZero() {
		f.add("postgres.client_certificate", "add the key's certificate", "is missing")
	}
	f.secret("postgres.password", p.Password)
	f.secret("postgres.client_key", p.ClientKey)
	if k := p.ClientKey.Plain; k != "" {
		if block, _ := pem.Decode([]byte(k)); block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			f.add("postgres.client_key", "give the key in PEM form", "holds no private key")
		}
	}
	f.duration("postgres.statement_timeout", p.StatementTimeout)
	f.text("postgres.state_schema", p.StateSchema, false)
	if len(p.StateSchema) > maxIdentifier {
		f.add("postgres.state_schema", "choose a shorter name", "is longer than the %d bytes that PostgreSQL keeps of a name", maxIdentifier)
	}
}

// maxIdentifier is how many bytes PostgreSQL keeps of a name.
const maxIdentifier = 63

func (f *faults) secret(field string, s Secret) {
	if len(s.Plain) > maxBody || strings.ContainsRune(s.Plain, 0) {
		f.add(field, fmt.Sprintf("give at most %d bytes of text", maxBody), "cannot be a secret")
	}
}

// certificates checks PEM text with at least one certificate; empty is none.
func (f *faults) certificates(field, text string) {
	if text == "" {
		return
	}
	f.body(field, text)
	rest, n := []byte(text), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if _, err := x509.ParseCertificate(block.Bytes); block.Type != "CERTIFICATE" || err != nil {
			f.add(field, "give certificates in PEM form", "holds a %s block that is no certificate", block.Type)
			return
		}
		n++
	}
	if n == 0 {
		f.add(field, "give certificates in PEM form", "holds no certificate")
	}
}

// SecretField is one credential of a resource.
type SecretField struct {
	Name  string // as documents write it: postgres.password
	Value *Secret
}

// Secrets answers the credentials that c's block can have, set or not, in a fixed order. The pointers are into c.
func (c *Connection) Secrets() []SecretField {
	switch {
	case c.Postgres != nil:
		return []SecretField{
			{Name: "postgres.password", Value: &c.Postgres.Password},
			{Name: "postgres.client_key", Value: &c.Postgres.ClientKey},
		}
	case c.Redshift != nil:
		return []SecretField{{Name: "redshift.password", Value: &c.Redshift.Password}}
	case c.Databricks != nil:
		return c.Databricks.secrets()
	case c.Snowflake != nil:
		return c.Snowflake.secrets()
	case c.BigQuery != nil:
		return []SecretField{{Name: "bigquery.service_account_key", Value: &c.BigQuery.ServiceAccountKey}}
	case c.DeltaSharing != nil:
		return []SecretField{{Name: "delta_sharing.profile", Value: &c.DeltaSharing.Profile}}
	}
	return nil
}

// Clone answers a copy of c that shares nothing with it that can change.
func (c Connection) Clone() Connection {
	if c.DuckDB != nil {
		d := *c.DuckDB
		c.DuckDB = &d
	}
	if c.Postgres != nil {
		p := *c.Postgres
		c.Postgres = &p
	}
	if c.Redshift != nil {
		r := *c.Redshift
		c.Redshift = &r
	}
	if c.Databricks != nil {
		d := *c.Databricks
		c.Databricks = &d
	}
	if c.Snowflake != nil {
		s := *c.Snowflake
		c.Snowflake = &s
	}
	if c.BigQuery != nil {
		b := *c.BigQuery
		c.BigQuery = &b
	}
	if c.DeltaSharing != nil {
		d := *c.DeltaSharing
		c.DeltaSharing = &d
	}
	return c
}
