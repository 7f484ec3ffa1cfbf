package snowflake

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// How tables of the state schema are made: anew each time, without fail-safe, and without a past of their own.
const (
	createTable = "CREATE OR REPLACE TRANSIENT TABLE "
	noTravel    = " DATA_RETENTION_TIME_IN_DAYS = 0 AS "
)

// dropLabel tags statements that drop what nobody needs any more.
const dropLabel = "millrace"

// stateSchema names the schema that snapshots of mirrors are kept in, as SQL has it.
func stateSchema(c resource.Snowflake) string {
	return ident(cmp.Or(c.StateSchema, resource.DefaultStateSchema))
}

// storedName answers a name as the warehouse keeps it.
func storedName(ident string) string { return strings.ReplaceAll(strings.Trim(ident, `"`), `""`, `"`) }

func (s *Source) table(name string) string {
	return stateSchema(s.address) + "." + sqltext.Quote(name)
}

// exec runs a statement that answers no rows.
func (x *session) exec(ctx context.Context, c command) error {
	_, _, err := x.run(ctx, c, false)
	return err
}

// stateFault answers what hinders a snapshot from being kept.
func (s *Source) stateFault(err error) error {
	if codeOf(err) == codePrivilege {
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied,
			"the role %s may not make tables in the schema %s, where mirror_engine diff keeps its snapshots; millrace connections setup prints what to grant, or use mirror_engine: row_index",
			s.address.Role, stateSchema(s.address))
	}
	return err
}

// prepareState makes the schema of states where it is not there, drops what earlier attempts of an owner left, but for a
// base, and answers the tables of the schema.
func (x *session) prepareState(ctx context.Context, q source.ChangeQuery, base string) ([]string, error) {
	if !source.IsOwner(q.Owner) {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "%q can own no state", q.Owner)
	}
	schema := stateSchema(x.s.address)
	n, err := x.count(ctx, command{sql: schemaSQL, binds: []string{storedName(schema)}, label: q.Label})
	if err != nil {
		return nil, err
	}
	if n == 0 {
		if err := x.exec(ctx, command{sql: "CREATE SCHEMA IF NOT EXISTS " + schema, label: q.Label}); err != nil {
			return nil, x.s.stateFault(err)
		}
	}
	names, err := x.stateTables(ctx, q.Label)
	if err != nil {
		return nil, err
	}
	for _, t := range names {
		if t == base || !source.IsUpTo(t, q.Owner, q.Attempt) {
			continue
		}
		if err := x.drop(ctx, t, q.Label); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// stateTables names the tables of the schema of states.
func (x *session) stateTables(ctx context.Context, label string) ([]string, error) {
	var out []string
	err := x.rows(ctx, command{
		sql: "SELECT table_name FROM information_schema.tables WHERE table_schema = ?", binds: []string{storedName(stateSchema(x.s.address))}, label: label,
	}, func(b arrow.RecordBatch) bool {
		for i := range int(b.NumRows()) {
			out = append(out, strings.Clone(b.Column(0).ValueStr(i)))
		}
		return true
	})
	return out, err
}

func (x *session) drop(ctx context.Context, table, label string) error {
	return x.s.stateFault(x.exec(ctx, command{sql: "DROP TABLE IF EXISTS " + x.s.table(table), label: label}))
}

// copy makes the snapshot of q's rows, and answers the instant that they are of. What cannot be had as it was is copied as
// it is.
func (x *session) copy(ctx context.Context, q source.ChangeQuery, d *query, k source.Kept) (at time.Time, err error) {
	if at, err = x.now(ctx, q.Label); err != nil {
		return at, err
	}
	if _, err = x.pin(ctx, d, at); err != nil {
		return at, err
	}
	text := createTable + x.s.table(k.Table()) + noTravel
	err = x.exec(ctx, command{sql: text + d.command(d.list(), "", 0).sql, label: q.Label, before: 1})
	d.text = d.statement.text
	return at, x.s.stateFault(err)
}

// Drop drops the tables of a snapshot. An instant takes no room.
func (d *Driver) Drop(ctx context.Context, c resource.Connection, st source.State) error {
	k, ok := source.ParseKept(st)
	if !ok || c.Snowflake == nil {
		return nil
	}
	return d.beside(ctx, c, func(x *session) error {
		for _, t := range []string{k.Changes(), k.Table()} {
			if err := x.drop(ctx, t, dropLabel); err != nil && !isCompile(err) { // the schema may be gone
				return err
			}
		}
		return nil
	})
}

// Clear drops the tables of an owner up to an attempt. Readers do not hinder it.
func (d *Driver) Clear(ctx context.Context, c resource.Connection, owner string, last source.Attempt) error {
	if c.Snowflake == nil {
		return nil
	}
	return d.beside(ctx, c, func(x *session) error {
		names, err := x.stateTables(ctx, dropLabel)
		if err != nil {
			return err
		}
		for _, t := range names {
			if !source.IsUpTo(t, owner, last) {
				continue
			}
			if err := x.drop(ctx, t, dropLabel); err != nil {
				return err
			}
		}
		return nil
	})
}

// Whereabouts names an owner's tables.
func (*Driver) Whereabouts(c resource.Connection, owner string) string {
	var f resource.Snowflake
	if c.Snowflake != nil {
		f = *c.Snowflake
	}
	return source.TablesOf(owner) + " in the schema " + stateSchema(f) + " of the database " + f.Database + " of the account " + f.Account
}

// beside calls f with a session of its own.
func (d *Driver) beside(ctx context.Context, c resource.Connection, f func(x *session) error) (err error) {
	opened, err := d.Open(ctx, c)
	if err != nil {
		return err
	}
	s := opened.(*Source) //nolint:forcetypeassert // Open's own
	defer func() { err = errors.Join(err, s.Close()) }()
	x, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer func() { s.give(x, err) }()
	return f(x)
}
