package config_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

// movedCase is a connection with a secret, and edits of it, each as `text => another`.
type movedCase struct {
	block, secret string
	keeps         []string            // how a document keeps the secret; empty: it is left out
	moves         map[string][]string // to the fields that are refused where the secret is kept
	stays         []string            // edits that may keep it
}

func movedCases() []movedCase {
	return []movedCase{
		{
			block:  "postgres: {host: db.example.com, database: app, user: u, password: {env: PGPASSWORD}}",
			secret: "postgres.password", keeps: []string{"{kept: true}", ""},
			moves: map[string][]string{
				"db.example.com => evil.example.com":         {"postgres.host"},
				"database: app => database: app, port: 6432": {"postgres.port"},
				"db.example.com => 10.0.0.1, port: 6432":     {"postgres.host", "postgres.port"},
			},
			stays: []string{"database: app => database: other, port: 5432", "user: u => user: v, sslmode: require", "db.example.com => DB.Example.com"},
		},
		{
			block:  "snowflake: {account: ab12345, region: us-west-2, warehouse: W, database: D, role: R, user: U, token: {env: PGPASSWORD}}",
			secret: "snowflake.token", keeps: []string{"{kept: true}"}, // a document without credentials is refused
			moves: map[string][]string{
				"ab12345 => zz99999":                       {"snowflake.account"},
				" region: us-west-2, => ":                  {"snowflake.region"},
				"warehouse: W => warehouse: W, host: evil": {"snowflake.host"},
				"warehouse: W => warehouse: W, host: localhost, protocol: http, port: 81": {"snowflake.host", "snowflake.port", "snowflake.protocol"},
			},
			stays: []string{"warehouse: W => warehouse: X, schema: S", "role: R => role: Q", "ab12345 => AB12345"},
		},
		{
			block:  "databricks: {host: dbc-a.cloud.databricks.com, warehouse_id: w1, catalog: main, client_id: c, client_secret: {env: PGPASSWORD}}",
			secret: "databricks.client_secret", keeps: []string{"{kept: true}", ""},
			moves: map[string][]string{
				"dbc-a => dbc-b": {"databricks.host"},
				"catalog: main => catalog: main, port: 8443":                                                              {"databricks.port"},
				"dbc-a.cloud.databricks.com => proxy.example.com, protocol: http":                                         {"databricks.host", "databricks.port", "databricks.protocol"},
				"dbc-a.cloud.databricks.com, warehouse_id: w1 => dbc-b.databricks.com, http_path: /sql/1.0/warehouses/w1": {"databricks.host"},
			},
			stays: []string{"w1 => w2", "catalog: main => catalog: other, schema: s, port: 443"},
		},
	}
}

// document answers the connection with an edit, and with the secret as it is written.
func (c movedCase) document(t *testing.T, edit, secret string) string {
	t.Helper()
	from, to, _ := strings.Cut(edit, " => ")
	require.Contains(t, c.block, from)
	out := strings.Replace(c.block, from, to, 1)
	_, name, _ := strings.Cut(c.secret, ".")
	return "kind: Connection\nid: c\n" + strings.Replace(out, ", "+name+": {env: PGPASSWORD}", secretAs(name, secret), 1) + "\n"
}

func secretAs(name, secret string) string {
	if secret == "" {
		return ""
	}
	return ", " + name + ": " + secret
}

func TestASecretThatIsKeptGoesNowhereElse(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		for _, c := range movedCases() {
			const anew = "{env: PGPASSWORD}"
			h.mustApply(t, c.document(t, "", anew))
			stored := h.etagOf(t, "c")
			for edit, fields := range c.moves {
				for _, secret := range c.keeps {
					_, err := h.apply(t, c.document(t, edit, secret))
					e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
					var got []string
					for _, v := range e.Violations {
						got = append(got, v.Field)
						require.Equal(t, "is another than before, and a secret that is kept does not go elsewhere; give "+c.secret+" again", v.Message+"; "+v.Fix)
					}
					require.ElementsMatch(t, fields, got, edit)
				}
				require.Equal(t, stored, h.etagOf(t, "c"), "nothing is stored")
			}
			for edit := range c.moves {
				require.Equal(t, []string{"change"}, actions(h.mustApply(t, c.document(t, edit, anew))), "the secret is given anew")
				h.mustApply(t, c.document(t, "", anew))
			}
			for _, edit := range c.stays {
				for _, secret := range c.keeps {
					h.mustApply(t, c.document(t, edit, secret))
					h.mustApply(t, c.document(t, "", secret))
				}
			}
			_, err := h.DeleteConnection(t.Context(), &configv1.DeleteConnectionRequest{Id: "c"})
			require.NoError(t, err)
		}
	})
}

func TestAMoveIsRefusedAtThePlaceInTheDocument(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, "kind: Connection\nid: c\npostgres: {host: a, database: d, user: u, password: {env: PGPASSWORD}}\n")
		_, err := h.apply(t, "kind: Connection\nid: c\npostgres: {host: b, database: d, user: u}\n---\nkind: DataModel\nid: m\nconnection: c\nrecord_kind: userss\ntable: t\n")
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Len(t, e.Violations, 2, "with every other violation")
		require.Equal(t, "a.yaml:3:18 Connection c postgres.host: is another than before, and a secret that is kept does not go elsewhere; give postgres.password again", texts(e)[0])
		h.mustApply(t, "kind: Connection\nid: none\npostgres: {host: a, database: d, user: u}\n")
		h.mustApply(t, "kind: Connection\nid: none\npostgres: {host: b, database: d, user: u}\n")
	})
}

// etagOf answers the etag of a connection.
func (h *house) etagOf(t *testing.T, name string) string {
	t.Helper()
	c, err := h.GetConnection(t.Context(), &configv1.GetConnectionRequest{Id: name})
	require.NoError(t, err)
	return c.GetConnection().GetMeta().GetEtag()
}

// actions answers what a plan does, without the fields.
func actions(r *configv1.ApplyResponse) []string {
	var out []string
	for _, line := range plan(r) {
		verb, _, _ := strings.Cut(line, " ")
		out = append(out, verb)
	}
	return out
}
