package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// dropWait bounds the wait for those who still read a table that is dropped; it is dropped another time then.
const dropWait = "2s"

// stateSchema names the schema that snapshots of mirrors are kept in.
func (s *Source) stateSchema() string {
	if s.address.StateSchema != "" {
		return s.address.StateSchema
	}
	return resource.DefaultStateSchema
}

func (s *Source) table(name string) string {
	return sqltext.Quote(s.stateSchema()) + "." + sqltext.Quote(name)
}

// write begins a REPEATABLE READ transaction that may write, on a connection of its own.
func (s *Source) write(ctx context.Context, label string) (*session, error) {
	conn, err := s.dial(ctx, label)
	if err != nil {
		return nil, connectFault(ctx, err)
	}
	x := newSession(ctx, conn)
	err = x.exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ WRITE")
	if err = s.stateFault(ctx, err); err == nil {
		err = x.settle(ctx, s.timeout())
	}
	if err != nil {
		x.close(ctx)
		return nil, err
	}
	return x, nil
}

// stateFault classifies what hinders a snapshot from being kept.
func (s *Source) stateFault(ctx context.Context, err error) error {
	var p *pgconn.PgError
	if errors.As(err, &p) && ctx.Err() == nil {
		switch p.Code {
		case "25006":
			return fault.New(fault.Precondition, fault.ReasonWarehouseDenied,
				"the database takes no writes (is it a standby?), and mirror_engine diff keeps a snapshot in the schema %s; connect to the primary, or use mirror_engine: row_index", sqltext.Quote(s.stateSchema()))
		case "42501":
			return fault.New(fault.Denied, fault.ReasonWarehouseDenied,
				"the user %s may not make tables in the schema %s, where mirror_engine diff keeps its snapshots: %s; millrace connections setup prints what to grant, or use mirror_engine: row_index",
				s.address.User, sqltext.Quote(s.stateSchema()), redact(p.Message))
		}
	}
	return classify(ctx, err, "", 0)
}

// ensureSchema makes the schema of states where it is not there.
func (s *Source) ensureSchema(ctx context.Context, x *session) error {
	var there bool
	if err := x.conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", s.stateSchema()).Scan(&there); err != nil || there {
		return classify(ctx, err, "", 0)
	}
	err := x.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+sqltext.Quote(s.stateSchema()))
	var p *pgconn.PgError
	if errors.As(err, &p) && p.Code == "23505" { // another made it meanwhile
		return nil
	}
	return s.stateFault(ctx, err)
}

// prepareState makes the schema where it is not there, and drops what earlier attempts of an owner left, but for a base. What is still read stays for the next time.
func (s *Source) prepareState(ctx context.Context, q source.ChangeQuery, base string) error {
	conn, err := s.dial(ctx, q.Label)
	if err != nil {
		return connectFault(ctx, err)
	}
	x := newSession(ctx, conn)
	defer x.close(ctx)
	if err := x.exec(ctx, "SET default_transaction_read_only = off"); err != nil {
		return classify(ctx, err, "", 0)
	}
	if err := s.ensureSchema(ctx, x); err != nil {
		return err
	}
	names, err := s.stateTables(ctx, x)
	if err != nil {
		return err
	}
	for _, t := range names {
		if t == base || !source.IsUpTo(t, q.Owner, q.Attempt) {
			continue
		}
		if err := s.drop(ctx, x, t); err != nil {
			return err
		}
	}
	return nil
}

// stateTables names the tables of the schema of states.
func (s *Source) stateTables(ctx context.Context, x *session) ([]string, error) {
	rows, err := x.conn.Query(ctx, "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'", s.stateSchema())
	if err != nil {
		return nil, classify(ctx, err, "", 0)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, classify(ctx, err, "", 0)
		}
		out = append(out, name)
	}
	return out, classify(ctx, rows.Err(), "", 0)
}

// drop drops a table of the schema of states. One that is still read stays for the next time.
func (s *Source) drop(ctx context.Context, x *session, table string) error {
	err := x.exec(ctx, "SET default_transaction_read_only = off; SET lock_timeout = '"+dropWait+"'; DROP TABLE IF EXISTS "+s.table(table))
	var p *pgconn.PgError
	if errors.As(err, &p) && p.Code == "55P03" {
		return nil
	}
	return s.stateFault(ctx, err)
}

// Drop drops the tables of a state, unless somebody reads them.
func (d *Driver) Drop(ctx context.Context, c resource.Connection, st source.State) error {
	k, ok := source.ParseKept(st)
	if !ok || c.Postgres == nil {
		return nil
	}
	return d.beside(ctx, *c.Postgres, func(s *Source, x *session) error {
		for _, t := range []string{k.Changes(), k.Table()} {
			if err := s.drop(ctx, x, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// Clear drops the tables of an owner up to an attempt.
func (d *Driver) Clear(ctx context.Context, c resource.Connection, owner string, last source.Attempt) error {
	if c.Postgres == nil {
		return nil
	}
	return d.beside(ctx, *c.Postgres, func(s *Source, x *session) error {
		names, err := s.stateTables(ctx, x)
		if err != nil {
			return err
		}
		for _, t := range names {
			if !source.IsUpTo(t, owner, last) {
				continue
			}
			if err := s.drop(ctx, x, t); err != nil {
				return err
			}
		}
		if names, err = s.stateTables(ctx, x); err != nil {
			return err
		}
		if at := slices.IndexFunc(names, func(t string) bool { return source.IsUpTo(t, owner, last) }); at >= 0 {
			return fault.New(fault.Unavailable, fault.ReasonWarehouseLocked, "the table %s is still read, and cannot be dropped", s.table(names[at]))
		}
		return nil
	})
}

// Whereabouts names an owner's tables.
func (*Driver) Whereabouts(c resource.Connection, owner string) string {
	s := &Source{}
	if c.Postgres != nil {
		s.address = *c.Postgres
	}
	return source.TablesOf(owner) + " in the schema " + sqltext.Quote(s.stateSchema()) + " of the database " + s.address.Database + " at " + s.address.Host
}

// beside calls f with a connection of its own, outside of a transaction.
func (d *Driver) beside(ctx context.Context, p resource.Postgres, f func(s *Source, x *session) error) error {
	config, err := configOf(p, d.settings)
	if err != nil {
		return err
	}
	s := &Source{settings: d.settings, address: p, config: config}
	conn, err := s.dial(ctx, "millrace")
	if err != nil {
		return connectFault(ctx, err)
	}
	x := newSession(ctx, conn)
	defer x.close(ctx)
	return f(s, x)
}

// at answers the time of the transaction.
func (x *session) at(ctx context.Context) (time.Time, error) {
	var out time.Time
	err := x.conn.QueryRow(ctx, "SELECT transaction_timestamp()").Scan(&out)
	return out.UTC(), classify(ctx, err, "", 0)
}

func stateGone() error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the snapshot of the mirror is gone; the run is planned again")
}

// gone answers SOURCE_CHANGED for a table that is not there.
func gone(ctx context.Context, err error) error {
	var p *pgconn.PgError
	if errors.As(err, &p) && (p.Code == "42P01" || p.Code == "3F000" || p.Code == "42703") {
		return stateGone()
	}
	return classify(ctx, err, "", 0)
}
