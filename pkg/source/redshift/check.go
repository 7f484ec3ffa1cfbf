package redshift

import (
	"context"
	"errors"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

const writesSQL = `SELECT count(*) FROM (
  SELECT 1 FROM pg_user WHERE usename = current_user AND usesuper
  UNION ALL
  SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname <> $1 AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!'
    AND (has_table_privilege(c.oid, 'INSERT') OR has_table_privilege(c.oid, 'UPDATE') OR has_table_privilege(c.oid, 'DELETE'))
) AS w`

// Check names the steps up to a query, to a row through the bucket where there is one, and to the state schema where the
// connection names it or it is there; it warns where the user could write elsewhere.
func (s *Source) Check(ctx context.Context) []source.CheckStep {
	x, err := s.beginChecked(ctx)
	steps := s.steps(ctx, err)
	if err != nil {
		return steps
	}
	defer x.close(ctx)
	if err = x.begin(ctx, "millrace"); err == nil {
		_, err = x.number(ctx, "SELECT 1")
	}
	if err != nil {
		return append(steps, source.CheckStep{Name: "run query", Message: fault.As(err).Message})
	}
	steps = append(steps, source.CheckStep{Name: "run query", OK: true})
	if s.address.Unloads() {
		if err := s.checkUnload(ctx, x); err != nil {
			return append(steps, source.CheckStep{Name: "unload", Message: fault.As(err).Message})
		}
		steps = append(steps, source.CheckStep{Name: "unload", OK: true})
	}
	if step, there := s.checkState(ctx, x); there {
		steps = append(steps, step)
	}
	switch n, err := x.number(ctx, writesSQL, s.stateSchema()); {
	case err != nil:
		steps = append(steps, source.CheckStep{Name: "privileges", OK: true, Warning: true, Message: "whether the user could write cannot be told from the catalog"})
	case n > 0:
		steps = append(steps, source.CheckStep{Name: "privileges", OK: true, Warning: true,
			Message: "the user could write; give Millrace one that can only read (millrace connections setup prints how)"})
	}
	return steps
}

// beginChecked connects; its error is as dial's.
func (s *Source) beginChecked(ctx context.Context) (*session, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &session{s: s, conn: conn}, nil
}

// checkUnload takes one row through the bucket.
func (s *Source) checkUnload(ctx context.Context, x *session) error {
	q := source.Query{Model: resource.DataModel{SQL: "SELECT CAST(1 AS BIGINT) AS one"}, Label: "millrace:connection-test"}
	d, err := x.describe(ctx, q)
	if err != nil {
		return err
	}
	u, err := x.unload(ctx, q.Label, d.text("", 0))
	if err == nil {
		n := int64(0)
		err = s.readFiles(ctx, d, u.files, func(b arrow.RecordBatch) bool { n += b.NumRows(); return true })
		if err == nil && n != 1 {
			err = unavailable("one row was unloaded and %d were read", n)
		}
	}
	removed, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWait)
	defer cancel()
	return errors.Join(err, s.remove(removed, u.place))
}

const (
	schemaSQL   = `SELECT count(*) FROM pg_namespace WHERE nspname = $1`
	writableSQL = schemaSQL + ` AND has_schema_privilege(nspname, 'USAGE') AND has_schema_privilege(nspname, 'CREATE')`
	createsSQL  = `SELECT CASE WHEN has_database_privilege(current_database(), 'CREATE') THEN 1 ELSE 0 END`
)

// checkState answers whether snapshots of mirrors can be kept, where the connection names a schema for them or it is there.
func (s *Source) checkState(ctx context.Context, x *session) (step source.CheckStep, asked bool) {
	step.Name = "state schema writable"
	there, err := x.number(ctx, schemaSQL, s.stateSchema())
	can := int64(0)
	switch {
	case err != nil:
	case there > 0:
		can, err = x.number(ctx, writableSQL, s.stateSchema())
	default:
		can, err = x.number(ctx, createsSQL)
	}
	switch step.OK = err == nil && can > 0; {
	case err != nil:
		step.Message = fault.As(err).Message
	case can == 0:
		step.Message = "mirrors with mirror_engine diff could keep no snapshot in the schema " + sqltext.Quote(s.stateSchema()) +
			"; millrace connections setup prints what to grant"
	}
	return step, err != nil || there > 0 || s.address.StateSchema != ""
}

// steps answers the steps to a connection, of which err is the end.
func (s *Source) steps(ctx context.Context, err error) []source.CheckStep {
	failed := stageOf(err)
	var steps []source.CheckStep
	for _, name := range stages() {
		if name == "credentials" && !s.address.ByIAM() {
			continue
		}
		if name == failed {
			return append(steps, source.CheckStep{Name: name, Message: fault.As(connectFault(ctx, err)).Message})
		}
		step := source.CheckStep{Name: name, OK: true}
		if name == "tls" && s.config.TLSConfig == nil {
			step.Warning, step.Message = true, "not encrypted, for sslmode is disable"
		}
		steps = append(steps, step)
	}
	return steps
}
