package millrace

import (
	"context"
	"fmt"
	"io"
	"strings"

	configv1 "millrace.dev/gen/millrace/config/v1"
)

type connectionsCmd struct {
	List   connectionsListCmd   `cmd:"" help:"List connections."`
	Get    connectionsGetCmd    `cmd:"" help:"Show one connection."`
	Delete connectionsDeleteCmd `cmd:"" help:"Delete a connection that nothing uses."`
	Test   connectionsTestCmd   `cmd:"" help:"Go through the steps of connecting; says which failed and what to do."`
	Setup  connectionsSetupCmd  `cmd:"" help:"Print what an administrator runs in the warehouse."`
	Tables connectionsTablesCmd `cmd:"" help:"List the warehouse's tables and their columns."`
}

func connections() resource[*configv1.Connection] {
	return resource[*configv1.Connection]{
		kind: "Connection",
		list: list[*configv1.Connection]{"connections", []column[*configv1.Connection]{
			idColumn[*configv1.Connection](),
			{"PROVIDER", provider},
			{"ADDRESS", address},
			nameColumn[*configv1.Connection](),
		}},
		page: func(ctx context.Context, c configv1.ConfigServiceClient, q query) ([]*configv1.Connection, string, error) {
			r, err := c.ListConnections(ctx, &configv1.ListConnectionsRequest{Workspace: q.workspace, PageSize: q.size, PageToken: q.token, Filter: q.filter, OrderBy: q.orderBy})
			return r.GetConnections(), r.GetNextPageToken(), err
		},
		get: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) (*configv1.Connection, error) {
			r, err := c.GetConnection(ctx, &configv1.GetConnectionRequest{Workspace: w, Id: id})
			return r.GetConnection(), err
		},
		del: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) error {
			_, err := c.DeleteConnection(ctx, &configv1.DeleteConnectionRequest{Workspace: w, Id: id})
			return err
		},
	}
}

// provider answers the name of the block that is set.
func provider(c *configv1.Connection) string {
	m := c.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("provider"))
	if f == nil {
		return ""
	}
	return string(f.Name())
}

// address answers where a connection leads, in a few words.
func address(c *configv1.Connection) string {
	if d := c.GetDuckdb(); d != nil {
		return d.GetPath()
	}
	if p := c.GetPostgres(); p != nil {
		return fmt.Sprintf("%s@%s:%d/%s", p.GetUser(), p.GetHost(), p.GetPort(), p.GetDatabase())
	}
	if r := c.GetRedshift(); r != nil {
		return fmt.Sprintf("%s@%s:%d/%s", r.GetUser(), r.GetHost(), r.GetPort(), r.GetDatabase())
	}
	if d := c.GetDatabricks(); d != nil {
		return fmt.Sprintf("%s:%d/%s.%s", d.GetHost(), d.GetPort(), d.GetCatalog(), d.GetSchema())
	}
	if s := c.GetSnowflake(); s != nil {
		at := s.GetHost()
		if at == "" {
			at = s.GetAccount()
		}
		return fmt.Sprintf("%s@%s/%s", s.GetUser(), at, s.GetDatabase())
	}
	if d := c.GetDeltaSharing(); d != nil {
		return d.GetShare() + "." + d.GetSchema()
	}
	if b := c.GetBigquery(); b != nil {
		return strings.Trim(b.GetProjectId()+"."+b.GetDatasetId(), ".")
	}
	return ""
}

type connectionsListCmd struct{ listFlags }

func (c *connectionsListCmd) Run(ctx context.Context, s *session) error {
	return listResources(ctx, s, connections(), c.listFlags)
}

type connectionsGetCmd struct{ idArg }

func (c *connectionsGetCmd) Run(ctx context.Context, s *session) error {
	return getResource(ctx, s, connections(), c.ID)
}

type connectionsDeleteCmd struct{ idArg }

func (c *connectionsDeleteCmd) Run(ctx context.Context, s *session) error {
	return deleteResource(ctx, s, connections(), c.ID)
}

type connectionsTestCmd struct{ idArg }

// Run answers the steps; a failed one makes the command fail.
func (c *connectionsTestCmd) Run(ctx context.Context, s *session) error {
	cc, err := s.config()
	if err != nil {
		return err
	}
	r, err := cc.TestConnection(ctx, &configv1.TestConnectionRequest{Workspace: s.flags.Workspace, Id: c.ID})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	err = s.answer(r, func(w io.Writer) error {
		t := newTable(w, "STEP", "RESULT", "")
		for _, step := range r.GetSteps() {
			t.row(step.GetName(), verdict(step), step.GetMessage())
		}
		return t.flush()
	})
	if err == nil && !r.GetOk() {
		return exitError(exitFailed)
	}
	return err
}

func verdict(s *configv1.CheckStep) string {
	switch {
	case !s.GetOk():
		return "failed"
	case s.GetWarning():
		return "warning"
	}
	return "ok"
}

type connectionsSetupCmd struct{ idArg }

func (c *connectionsSetupCmd) Run(ctx context.Context, s *session) error {
	cc, err := s.config()
	if err != nil {
		return err
	}
	r, err := cc.PrintSetup(ctx, &configv1.PrintSetupRequest{Workspace: s.flags.Workspace, Id: c.ID})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.answer(r, func(w io.Writer) error {
		_, err := io.WriteString(w, visible(strings.TrimRight(r.GetText(), "\n"))+"\n")
		return written(err)
	})
}

type connectionsTablesCmd struct {
	idArg
	Prefix string `help:"Only tables whose name starts so." placeholder:"TEXT"`
	Limit  int32  `help:"At most so many." default:"1000" placeholder:"N"`
}

func (c *connectionsTablesCmd) Run(ctx context.Context, s *session) error {
	cc, err := s.config()
	if err != nil {
		return err
	}
	r, err := cc.ListTables(ctx, &configv1.ListTablesRequest{Workspace: s.flags.Workspace, Id: c.ID, Prefix: c.Prefix, PageSize: c.Limit})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.answer(r, func(w io.Writer) error {
		t := newTable(w, "TABLE", "COLUMN", "TYPE", "NULL")
		for _, table := range r.GetTables() {
			name := table.GetName()
			for _, col := range table.GetColumns() {
				t.row(name, col.GetName(), col.GetType(), yesNo(col.GetNullable()))
				name = ""
			}
			if len(table.GetColumns()) == 0 {
				t.row(name)
			}
		}
		return t.flush()
	})
}
