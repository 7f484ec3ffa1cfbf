package snowflake

import (
	"context"
	"fmt"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// Check names the steps up to a query, and warns of a password and of a role that could write.
func (s *Source) Check(ctx context.Context) []source.CheckStep {
	x, note, err := s.dial(ctx)
	steps := s.stages(ctx, note, err)
	if err != nil {
		return steps
	}
	defer x.close()
	row, err := x.one(ctx, command{sql: "SELECT CURRENT_ROLE(), CURRENT_WAREHOUSE(), CURRENT_DATABASE(), CURRENT_SCHEMA()"})
	for i, step := range []struct{ name, field, value string }{
		{"role", "role", s.address.Role}, {"warehouse", "warehouse", s.address.Warehouse}, {"database", "database", s.address.Database}, {"schema", "schema", s.address.Schema},
	} {
		switch {
		case err != nil:
			return append(steps, source.CheckStep{Name: step.name, Message: fault.As(err).Message})
		case step.value != "" && (i >= len(row) || row[i] == "(null)" || row[i] == ""):
			return append(steps, source.CheckStep{Name: step.name, Message: "there is none in the session; mend snowflake." + step.field + ", or grant the role USAGE on it"})
		}
		steps = append(steps, source.CheckStep{Name: step.name, OK: true})
	}
	writes, err := x.writes(ctx)
	if err != nil {
		return append(steps, source.CheckStep{Name: "run query", Message: fault.As(err).Message})
	}
	steps = append(steps, source.CheckStep{Name: "run query", OK: true})
	if writes {
		steps = append(steps, source.CheckStep{Name: "privileges", OK: true, Warning: true,
			Message: "the role " + s.address.Role + " could write; give Millrace one that can only read (millrace connections setup prints how)"})
	}
	return append(steps, x.mirrorSteps(ctx)...)
}

const (
	pastlessSQL = `SELECT COUNT(*) FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND retention_time = 0 AND table_schema = CURRENT_SCHEMA() AND table_schema <> ?`
	schemaSQL = `SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?`
	grantsSQL = `SELECT COUNT(*) FROM information_schema.object_privileges WHERE grantee = CURRENT_ROLE()
AND (object_type = 'SCHEMA' AND object_name = ? AND privilege_type IN ('OWNERSHIP', 'CREATE TABLE')
  OR object_type = 'DATABASE' AND object_name = CURRENT_DATABASE() AND privilege_type IN ('OWNERSHIP', 'CREATE SCHEMA'))`
)

// mirrorSteps answers what hinders mirrors whose changes the warehouse finds: tables without a past, and a state schema
// without grants where the connection names one or it is there. Roles that the role inherits from are not looked at, so
// that they warn and fail nothing.
func (x *session) mirrorSteps(ctx context.Context) []source.CheckStep {
	var steps []source.CheckStep
	schema := stateSchema(x.s.address)
	counted := func(step, sql string) (int64, bool) {
		n, err := x.count(ctx, command{sql: sql, binds: []string{storedName(schema)}})
		if err != nil {
			steps = append(steps, source.CheckStep{Name: step, Message: fault.As(err).Message})
		}
		return n, err == nil
	}
	if n, ok := counted("time travel", pastlessSQL); ok && n > 0 {
		steps = append(steps, source.CheckStep{Name: "time travel", OK: true, Warning: true, Message: fmt.Sprintf(
			"%d tables of the schema keep no past (DATA_RETENTION_TIME_IN_DAYS = 0): runs find no snapshot of them, and mirror_engine native no changes; set it to 1 at least", n)})
	}
	there, ok := counted("state schema writable", schemaSQL)
	if !ok || there == 0 && x.s.address.StateSchema == "" {
		return steps
	}
	step := source.CheckStep{Name: "state schema writable", OK: true}
	n, ok := counted(step.Name, grantsSQL)
	if !ok {
		return steps
	}
	if n == 0 {
		step.Warning, step.Message = true, "the role "+x.s.address.Role+" has no grant of its own to make tables in the schema "+schema+
			", where mirrors with mirror_engine diff keep their snapshots; millrace connections setup prints what to grant"
	}
	return append(steps, step)
}

const writesSQL = `SELECT COUNT(*) FROM information_schema.table_privileges
WHERE grantee = CURRENT_ROLE() AND privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'OWNERSHIP') AND table_schema <> ?`

// writes says whether the session's role could change a table of the database, its own snapshots aside, or is one that may
// do anything.
func (x *session) writes(ctx context.Context) (bool, error) {
	n, err := x.count(ctx, command{sql: writesSQL, binds: []string{storedName(stateSchema(x.s.address))}})
	if err != nil {
		return false, err
	}
	switch strings.ToUpper(x.s.address.Role) {
	case "ACCOUNTADMIN", "SYSADMIN", "SECURITYADMIN", "ORGADMIN":
		return true, nil
	}
	return n > 0, nil
}

// stages answers the steps to a session, of which err is the end.
func (s *Source) stages(ctx context.Context, note *call, err error) []source.CheckStep {
	failed := -1
	switch {
	case err != nil && note != nil && note.dial != nil:
		failed = int(stageOf(note.dial))
	case err != nil:
		failed = int(securing) + 1
	}
	var steps []source.CheckStep
	for at, name := range []string{"resolve", "connect", "tls", "authenticate"} {
		if at == failed {
			return append(steps, source.CheckStep{Name: name, Message: fault.As(s.loginFault(ctx, note, err)).Message})
		}
		step := source.CheckStep{Name: name, OK: true}
		switch {
		case name == "tls" && s.address.Protocol == "http":
			step.Warning, step.Message = true, "not encrypted, for protocol is http"
		case name == "authenticate" && s.isPassword():
			step.Warning, step.Message = true, "Snowflake ends sign-ins by password alone; "+resource.SnowflakePasswordFix
		}
		steps = append(steps, step)
	}
	return steps
}

// Setup answers the SQL that makes a user and a role which can only read, with the connection's names filled in.
func (*Driver) Setup(c resource.Connection) (string, error) {
	a := c.Snowflake
	if a == nil {
		return "", fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the connection has no snowflake block")
	}
	schema := a.Schema
	if schema == "" {
		schema = "PUBLIC"
	}
	user := a.User
	if user == "" {
		user = "MILLRACE"
	}
	port := a.Port
	if port == 0 {
		port = 443
	}
	return fmt.Sprintf(`-- Run as USERADMIN and SECURITYADMIN (or ACCOUNTADMIN). Repeat the lines with a schema for each schema to be read.
CREATE ROLE IF NOT EXISTS %[1]s;
CREATE USER IF NOT EXISTS %[2]s TYPE = SERVICE DEFAULT_ROLE = %[1]s DEFAULT_WAREHOUSE = %[3]s;
GRANT ROLE %[1]s TO USER %[2]s;

-- The key pair: openssl genrsa 2048 | openssl pkcs8 -topk8 -nocrypt -out millrace.p8; openssl rsa -in millrace.p8 -pubout
-- Write private_key: {file: ./millrace.p8} into the connection, and the public key's body here. To change keys, set
-- RSA_PUBLIC_KEY_2, add private_key_2, then UNSET RSA_PUBLIC_KEY.
ALTER USER %[2]s SET RSA_PUBLIC_KEY = '<the public key without its first and last line>';

-- A warehouse of its own keeps what Millrace costs apart.
CREATE WAREHOUSE IF NOT EXISTS %[3]s WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
GRANT USAGE ON WAREHOUSE %[3]s TO ROLE %[1]s;
GRANT USAGE ON DATABASE %[4]s TO ROLE %[1]s;
GRANT USAGE ON SCHEMA %[4]s.%[5]s TO ROLE %[1]s;
GRANT SELECT ON ALL TABLES IN SCHEMA %[4]s.%[5]s TO ROLE %[1]s;
GRANT SELECT ON FUTURE TABLES IN SCHEMA %[4]s.%[5]s TO ROLE %[1]s;
GRANT SELECT ON ALL VIEWS IN SCHEMA %[4]s.%[5]s TO ROLE %[1]s;
GRANT SELECT ON FUTURE VIEWS IN SCHEMA %[4]s.%[5]s TO ROLE %[1]s;

-- Runs read a snapshot by Time Travel: keep at least a day of it.
-- ALTER SCHEMA %[4]s.%[5]s SET DATA_RETENTION_TIME_IN_DAYS = 1;
-- Only for mirrors with mirror_engine: native, of each table that they read. Changes are kept as long as the past is: keep
-- at least twice the time from one run to the next.
--   ALTER TABLE %[4]s.%[5]s.<table> SET CHANGE_TRACKING = TRUE, DATA_RETENTION_TIME_IN_DAYS = 2;
-- Only for mirrors with mirror_engine: diff, which keep snapshots in a schema of their own:
--   CREATE SCHEMA IF NOT EXISTS %[4]s.%[8]s DATA_RETENTION_TIME_IN_DAYS = 0;
--   GRANT USAGE, CREATE TABLE ON SCHEMA %[4]s.%[8]s TO ROLE %[1]s;

-- Let only the extractor's addresses in.
-- CREATE NETWORK POLICY millrace ALLOWED_IP_LIST = ('<address of the extractor>');
-- ALTER USER %[2]s SET NETWORK_POLICY = millrace;
-- The extractor connects to %[6]s, port %[7]d, and to where the account keeps results: the STAGE hosts that
--   SELECT SYSTEM$ALLOWLIST();
-- lists, port 443. It calls no other address.
`, ident(a.Role), ident(user), ident(a.Warehouse), ident(a.Database), ident(schema), a.Address(), port, stateSchema(*a)), nil
}

// ident answers a name of the connection as SQL has it. A session takes names as bare ones, unless they are quoted.
func ident(name string) string {
	if plain.MatchString(strings.ToUpper(name)) {
		return strings.ToUpper(name)
	}
	return sqltext.Quote(strings.Trim(name, `"`))
}
