package postgres

import (
	"cmp"
	"context"
	"fmt"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// writesSQL asks whether the role could write a table that is none of the snapshots in the schema of states, $1.
const writesSQL = `SELECT current_setting('is_superuser') = 'on' OR EXISTS (
  SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
    AND NOT (n.nspname = $1 AND c.relname ~ '` + source.TablePattern + `')
    AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))`

// Check names the steps up to a query, and warns where the role could write.
func (s *Source) Check(ctx context.Context) []source.CheckStep {
	conn, err := s.dial(ctx, "millrace")
	steps := s.stages(ctx, err)
	if err != nil {
		return steps
	}
	x := newSession(ctx, conn)
	defer x.close(ctx)
	writes := false
	if err = x.begin(ctx, s.timeout(), ""); err == nil {
		err = classify(ctx, x.conn.QueryRow(ctx, writesSQL, s.stateSchema()).Scan(&writes), "", 0)
	}
	if err != nil {
		return append(steps, source.CheckStep{Name: "run query", Message: fault.As(err).Message})
	}
	steps = append(steps, source.CheckStep{Name: "run query", OK: true})
	if step, there := s.checkState(ctx, x); there {
		steps = append(steps, step)
	}
	if writes {
		steps = append(steps, source.CheckStep{Name: "privileges", OK: true, Warning: true,
			Message: "the role " + s.address.User + " could write; give Millrace one that can only read (millrace connections setup prints how)"})
	}
	return steps
}

const stateSQL = `SELECT count(*) > 0, COALESCE(bool_and(has_schema_privilege(oid, 'CREATE, USAGE')), false),
has_database_privilege(current_database(), 'CREATE'), pg_is_in_recovery() FROM pg_namespace WHERE nspname = $1`

// checkState answers whether snapshots of mirrors can be kept, where the connection names a schema for them or it is there.
func (s *Source) checkState(ctx context.Context, x *session) (source.CheckStep, bool) {
	step := source.CheckStep{Name: "state schema writable"}
	var there, writable, creates, standby bool
	if err := x.conn.QueryRow(ctx, stateSQL, s.stateSchema()).Scan(&there, &writable, &creates, &standby); err != nil {
		step.Message = fault.As(classify(ctx, err, "", 0)).Message
		return step, true
	}
	step.OK = !standby && (writable || !there && creates)
	if !step.OK {
		step.Message = "mirrors with mirror_engine diff could keep no snapshot in the schema " + sqltext.Quote(s.stateSchema()) +
			"; millrace connections setup prints what to grant"
	}
	return step, there || s.address.StateSchema != ""
}

// stages answers the steps to a connection, of which err is the end.
func (s *Source) stages(ctx context.Context, err error) []source.CheckStep {
	reached := stageOf(err)
	var steps []source.CheckStep
	for at, name := range []string{"resolve", "connect", "tls", "authenticate", "database"} {
		if stage(at) == reached {
			return append(steps, source.CheckStep{Name: name, Message: fault.As(connectFault(ctx, err)).Message})
		}
		step := source.CheckStep{Name: name, OK: true}
		if stage(at) == securing && s.config.TLSConfig == nil {
			step.Warning, step.Message = true, "not encrypted, for sslmode is disable"
		}
		steps = append(steps, step)
	}
	return steps
}

// Setup answers the SQL that makes a role which can only read, with the connection's names filled in.
func (*Driver) Setup(c resource.Connection) (string, error) {
	p := c.Postgres
	if p == nil {
		return "", fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the connection has no postgres block")
	}
	port := p.Port
	if port == 0 {
		port = defaultPort
	}
	user, database := sqltext.Quote(p.User), sqltext.Quote(p.Database)
	return fmt.Sprintf(`-- Run in the database %[2]s as its owner. Repeat the lines with a schema for each schema to be read.
CREATE ROLE %[1]s LOGIN PASSWORD 'choose one and put it into the connection';
ALTER ROLE %[1]s SET default_transaction_read_only = on;
GRANT CONNECT ON DATABASE %[2]s TO %[1]s;
GRANT USAGE ON SCHEMA public TO %[1]s;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO %[1]s;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO %[1]s;
-- Let the extractor's address connect to %[3]s, port %[4]d, and allow it in pg_hba.conf:
--   hostssl %[2]s %[1]s <address of the extractor> scram-sha-256
-- Only for mirrors with mirror_engine: diff, which keep snapshots in a schema of their own:
--   CREATE SCHEMA %[5]s AUTHORIZATION %[1]s;
`, user, database, p.Host, port, sqltext.Quote(cmp.Or(p.StateSchema, resource.DefaultStateSchema))), nil
}
