package document

import (
	"strconv"

	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/resource"
)

// snowflake is the block of that name.
func (r *reader) snowflake(c *resource.Connection) field {
	return field{name: "snowflake", read: func(n *yaml.Node, path string) {
		s := &resource.Snowflake{}
		c.Snowflake = s
		r.object(n, path,
			text(r, "account", &s.Account), text(r, "region", &s.Region), text(r, "warehouse", &s.Warehouse), text(r, "database", &s.Database),
			text(r, "schema", &s.Schema), text(r, "role", &s.Role), text(r, "user", &s.User),
			r.secret("private_key", &s.PrivateKey), r.secret("private_key_2", &s.PrivateKey2),
			r.secret("private_key_passphrase", &s.PrivateKeyPassphrase), r.secret("private_key_2_passphrase", &s.PrivateKey2Passphrase),
			text(r, "oauth_client_id", &s.OAuthClientID), r.secret("oauth_client_secret", &s.OAuthClientSecret),
			text(r, "oauth_token_url", &s.OAuthTokenURL), text(r, "oauth_scope", &s.OAuthScope),
			r.secret("token", &s.Token), text(r, "workload_identity", &s.WorkloadIdentity), r.secret("workload_identity_token", &s.WorkloadIdentityToken),
			r.secret("password", &s.Password),
			text(r, "host", &s.Host), integer(r, "port", &s.Port), text(r, "protocol", &s.Protocol), text(r, "timestamps", &s.Timestamps),
			duration(r, "statement_timeout", &s.StatementTimeout), text(r, "state_schema", &s.StateSchema),
		)
		if p := member(n, "password"); p != nil && !s.Password.IsZero() {
			r.set.Warnings = append(r.set.Warnings, r.violation(p, path+".password", resource.SnowflakePasswordFix, "Snowflake ends sign-ins by password alone"))
		}
	}}
}

func (w *writer) snowflake(s *resource.Snowflake) {
	w.object("snowflake", false, func(w *writer) {
		for _, f := range []struct{ key, value string }{
			{"account", s.Account}, {"region", s.Region}, {"warehouse", s.Warehouse}, {"database", s.Database}, {"schema", s.Schema},
			{"role", s.Role}, {"user", s.User},
		} {
			w.text(f.key, f.value)
		}
		w.secret("private_key", s.PrivateKey)
		w.secret("private_key_2", s.PrivateKey2)
		w.secret("private_key_passphrase", s.PrivateKeyPassphrase)
		w.secret("private_key_2_passphrase", s.PrivateKey2Passphrase)
		w.text("oauth_client_id", s.OAuthClientID)
		w.secret("oauth_client_secret", s.OAuthClientSecret)
		w.text("oauth_token_url", s.OAuthTokenURL)
		w.text("oauth_scope", s.OAuthScope)
		w.secret("token", s.Token)
		w.text("workload_identity", s.WorkloadIdentity)
		w.secret("workload_identity_token", s.WorkloadIdentityToken)
		w.secret("password", s.Password)
		w.text("host", s.Host)
		if s.Port != 0 {
			w.put("port", scalarNode(strconv.Itoa(s.Port)))
		}
		w.text("protocol", s.Protocol)
		w.text("timestamps", s.Timestamps)
		w.text("statement_timeout", resource.FormatDuration(s.StatementTimeout))
		w.text("state_schema", s.StateSchema)
	})
}
