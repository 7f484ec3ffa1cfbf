package redshift

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// dropWait bounds the wait for those who still read a table that is dropped; it is dropped another time then.
const dropWait = 10 * time.Second

// What the warehouse says by its codes.
const (
	codeDenied    = "42501"
	codeReadOnly  = "25006"
	codeThere     = "42P07"
	codeNoTable   = "42P01"
	codeNoColumn  = "42703"
	codeNoSchema  = "3F000"
	codeCancelled = "57014"
)

// codeOf answers the code by which the warehouse refused, "" where err is none of its own.
func codeOf(err error) string {
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// isMissing says whether a table, its schema or a column of it is not there.
func isMissing(err error) bool {
	code := codeOf(err)
	return code == codeNoTable || code == codeNoSchema || code == codeNoColumn
}

// stateSchema names the schema that snapshots of mirrors are kept in.
func (s *Source) stateSchema() string {
	return cmp.Or(s.address.StateSchema, resource.DefaultStateSchema)
}

// table names a table of that schema.
func (s *Source) table(name string) string {
	return sqltext.Quote(s.stateSchema()) + "." + sqltext.Quote(name)
}

// transaction begins one that may write, or READ ONLY.
func (x *session) transaction(ctx context.Context, access string) error {
	return x.exec(ctx, "BEGIN "+access)
}

// stateFault classifies what hinders a snapshot from being kept.
func (s *Source) stateFault(ctx context.Context, err error) error {
	schema := sqltext.Quote(s.stateSchema())
	switch code := codeOf(err); {
	case ctx.Err() != nil:
	case code == codeReadOnly:
		return fault.New(fault.Precondition, fault.ReasonWarehouseDenied,
			"the database takes no writes, and mirror_engine diff keeps a snapshot in the schema %s; connect to one that does, or use mirror_engine: row_index", schema)
	case code == codeDenied, code == codeNoSchema:
		return s.denied(code)
	case code == codeThere:
		return unavailable("the snapshot that an earlier try left in the schema %s is still read; try again", schema)
	}
	return classify(ctx, err, "", 0)
}

func (s *Source) denied(code string) error {
	return fault.New(fault.Denied, fault.ReasonWarehouseDenied,
		"the connection's user may not keep tables in the schema %s, where mirror_engine diff has its snapshots (%s); millrace connections setup prints what to grant, or use mirror_engine: row_index",
		sqltext.Quote(s.stateSchema()), code)
}

// copyFault classifies why there is no snapshot: the schema that it was to be made in, or the query, whose text begins a
// line down in that of the statement.
func (s *Source) copyFault(ctx context.Context, err error, text string) error {
	var p *pgconn.PgError
	if errors.As(err, &p) {
		switch {
		case p.Code == codeReadOnly, p.Code == codeThere, p.Code == codeNoSchema,
			p.Code == codeDenied && strings.Contains(p.Message, "schema "+s.stateSchema()):
			return s.stateFault(ctx, err)
		}
	}
	return classify(ctx, err, text, 1)
}

// stateTables answers whether the schema of states is there, and names its tables.
func (x *session) stateTables(ctx context.Context) (there bool, names []string, err error) {
	n, err := x.number(ctx, schemaSQL, x.s.stateSchema())
	if err != nil {
		return false, nil, err
	}
	rows, err := x.conn.Query(ctx, "SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'", x.s.stateSchema())
	if err != nil {
		return false, nil, classify(ctx, err, "", 0)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return false, nil, classify(ctx, err, "", 0)
		}
		names = append(names, name)
	}
	return n > 0, names, classify(ctx, rows.Err(), "", 0)
}

// drop drops a table of the schema of states, outside of a transaction. One that is still read stays for the next time;
// one that the user may not drop is not its own.
func (x *session) drop(ctx context.Context, table string) (own bool, err error) {
	err = x.exec(ctx, "DROP TABLE IF EXISTS "+x.s.table(table))
	switch code := codeOf(err); {
	case ctx.Err() != nil:
	case code == codeDenied:
		return false, nil
	case code == codeCancelled, isMissing(err):
		return true, nil
	}
	return true, classify(ctx, err, "", 0)
}

// Drop drops the tables of a state, unless somebody reads them.
func (d *Driver) Drop(ctx context.Context, c resource.Connection, st source.State) error {
	k, ok := source.ParseKept(st)
	if !ok || c.Redshift == nil {
		return nil
	}
	return d.beside(ctx, c, func(x *session) error { return x.dropAll(ctx, []string{k.Changes(), k.Table()}) })
}

// Clear drops the tables of an owner up to an attempt.
func (d *Driver) Clear(ctx context.Context, c resource.Connection, owner string, last source.Attempt) error {
	if c.Redshift == nil {
		return nil
	}
	return d.beside(ctx, c, func(x *session) error {
		left := func() ([]string, error) {
			_, names, err := x.stateTables(ctx)
			return slices.DeleteFunc(names, func(t string) bool { return !source.IsUpTo(t, owner, last) }), err
		}
		tables, err := left()
		if err != nil || len(tables) == 0 {
			return err
		}
		if err := x.dropAll(ctx, tables); err != nil {
			return err
		}
		if tables, err = left(); err == nil && len(tables) > 0 {
			err = fault.New(fault.Unavailable, fault.ReasonWarehouseLocked, "the table %s is still read, and cannot be dropped", x.s.table(tables[0]))
		}
		return err
	})
}

// Whereabouts names an owner's tables.
func (*Driver) Whereabouts(c resource.Connection, owner string) string {
	s := &Source{}
	if c.Redshift != nil {
		s.address = *c.Redshift
	}
	return source.TablesOf(owner) + " in the schema " + sqltext.Quote(s.stateSchema()) + " of the database " + s.address.Database + " at " + s.address.Host
}

// beside calls f with a connection of its own, outside of a transaction, on which no statement waits long.
func (d *Driver) beside(ctx context.Context, c resource.Connection, f func(x *session) error) error {
	opened, err := d.Open(ctx, c)
	if err != nil {
		return err
	}
	s := opened.(*Source) //nolint:forcetypeassert // Open's own
	defer s.transport.CloseIdleConnections()
	conn, err := s.dial(ctx)
	if err != nil {
		return connectFault(ctx, err)
	}
	x := &session{s: s, conn: conn}
	defer x.close(ctx)
	if err := x.exec(ctx, bound(dropWait)); err != nil {
		return classify(ctx, err, "", 0)
	}
	return f(x)
}

// dropAll drops tables of the schema of states; those that are still read stay.
func (x *session) dropAll(ctx context.Context, tables []string) error {
	for _, t := range tables {
		own, err := x.drop(ctx, t)
		if err != nil {
			return err
		}
		if !own {
			return x.s.denied(codeDenied)
		}
	}
	return nil
}

func stateGone() error { return changed("the snapshot of the mirror is gone") }
