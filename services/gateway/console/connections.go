package console

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "millrace.dev/gen/millrace/config/v1"
)

const (
	connectionsOnPage = 100
	tablesOnPage      = 200
	columnsOfTable    = 200 // that a page shows of each table
)

func (c *Console) connectionRoutes() []route {
	const at = "/w/{workspace}/connections"
	return []route{
		{"GET " + at, c.listConnections},
		{"GET " + at + "/{id}", c.showConnection},
		{"GET " + at + "/{id}/test", c.testConnection},
		{"GET " + at + "/{id}/setup", c.printSetup},
		{"GET " + at + "/{id}/tables", c.listTables},
		{"GET " + at + "/{id}/edit", c.editConnection},
		{"POST " + at + "/{id}/edit", c.updateConnection},
		{"POST " + at + "/{id}/delete", c.deleteConnection},
		{"GET /w/{workspace}/new/connection", c.newConnection},
		{"POST /w/{workspace}/new/connection", c.createConnection},
	}
}

// connectionRow is a connection in the list.
type connectionRow struct {
	Connection *configv1.Connection
	Provider   string
	Leads      string // where to, in short
}

type connectionsPage struct {
	Rows []connectionRow
	Next string
}

func (c *Console) listConnections(r *request) (view, error) {
	res, err := c.config.ListConnections(r.Context(), &configv1.ListConnectionsRequest{Workspace: r.workspace, PageSize: connectionsOnPage, PageToken: r.FormValue("page")})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	p := connectionsPage{Next: pageAt(res.GetNextPageToken(), r.path("connections"))}
	for _, m := range res.GetConnections() {
		p.Rows = append(p.Rows, connectionRowOf(m))
	}
	return page{name: "connections", title: "Connections", section: "connections", data: p}, nil
}

func connectionRowOf(m *configv1.Connection) connectionRow {
	p, block := blockOf(m)
	row := connectionRow{Connection: m, Provider: p.Title}
	var at []string
	for _, name := range p.at {
		if v := block.Get(block.Descriptor().Fields().ByName(protoreflect.Name(name))).String(); v != "" {
			at = append(at, v)
		}
	}
	row.Leads = strings.Join(at, " · ")
	return row
}

// blockOf answers the provider of a connection and its block; of one that this console does not know, its name alone.
func blockOf(m *configv1.Connection) (provider, protoreflect.Message) {
	msg := m.ProtoReflect()
	f := msg.WhichOneof(msg.Descriptor().Oneofs().ByName("provider"))
	if f == nil {
		return provider{}, nil
	}
	p, ok := providerNamed(string(f.Name()))
	if !ok {
		p = provider{Name: string(f.Name()), Title: string(f.Name())}
	}
	return p, msg.Get(f).Message()
}

// connectionPage is one connection; Tab says which part of it is shown.
type connectionPage struct {
	connectionRow
	Tab      string
	Settings []shownSetting
	Test     *configv1.TestConnectionResponse
	Setup    string
	Prefix   string
	Tables   []tableRow
	Full     bool // there may be more tables
}

// shownSetting is a setting as a page tells it: of a secret that it is stored, and no more.
type shownSetting struct {
	Label, Value string
	Stored       bool
}

// tableRow is a table of a warehouse with as many columns as a page shows.
type tableRow struct {
	*configv1.Table
	More int
}

// connection begins the page of a connection.
func (c *Console) connection(r *request, tab string) (connectionPage, error) {
	res, err := c.config.GetConnection(r.Context(), &configv1.GetConnectionRequest{Workspace: r.workspace, Id: r.PathValue("id")})
	if err != nil {
		return connectionPage{}, err //nolint:wrapcheck // classified
	}
	return connectionPage{connectionRow: connectionRowOf(res.GetConnection()), Tab: tab}, nil
}

func (p connectionPage) view(failure error) view {
	return page{name: "connection", title: p.Connection.GetMeta().GetDisplayName(), section: "connections", data: p, failure: failure}
}

func (c *Console) showConnection(r *request) (view, error) {
	p, err := c.connection(r, "settings")
	if err != nil {
		return nil, err
	}
	p.Settings = connectionSettings(p.Connection)
	return p.view(nil), nil
}

// connectionSettings answers what is set of a connection.
func connectionSettings(m *configv1.Connection) []shownSetting {
	p, block := blockOf(m)
	var out []shownSetting
	for _, s := range p.settings {
		f := block.Descriptor().Fields().ByName(protoreflect.Name(s.name))
		switch {
		case !block.Has(f):
		case f.Message() != nil:
			out = append(out, shownSetting{Label: s.label, Stored: true})
		default:
			out = append(out, shownSetting{Label: s.label, Value: block.Get(f).String()})
		}
	}
	return out
}

func (c *Console) testConnection(r *request) (view, error) {
	p, err := c.connection(r, "test")
	if err != nil {
		return nil, err
	}
	p.Test, err = c.config.TestConnection(r.Context(), &configv1.TestConnectionRequest{Workspace: r.workspace, Id: r.PathValue("id")})
	return p.view(err), nil
}

func (c *Console) printSetup(r *request) (view, error) {
	p, err := c.connection(r, "setup")
	if err != nil {
		return nil, err
	}
	res, err := c.config.PrintSetup(r.Context(), &configv1.PrintSetupRequest{Workspace: r.workspace, Id: r.PathValue("id")})
	p.Setup = res.GetText()
	return p.view(err), nil
}

func (c *Console) listTables(r *request) (view, error) {
	p, err := c.connection(r, "tables")
	if err != nil {
		return nil, err
	}
	p.Prefix = r.FormValue("prefix")
	p.Tables, p.Full, err = c.tables(r, r.PathValue("id"), p.Prefix)
	return p.view(err), nil
}

// tables answers the tables of a connection whose names begin with a prefix, and whether there may be more.
func (c *Console) tables(r *request, connection, prefix string) ([]tableRow, bool, error) {
	res, err := c.config.ListTables(r.Context(), &configv1.ListTablesRequest{Workspace: r.workspace, Id: connection, Prefix: prefix, PageSize: tablesOnPage})
	if err != nil {
		return nil, false, err //nolint:wrapcheck // classified
	}
	var out []tableRow
	for _, t := range res.GetTables() {
		row := tableRow{Table: t, More: max(0, len(t.GetColumns())-columnsOfTable)}
		t.Columns = t.GetColumns()[:len(t.GetColumns())-row.More]
		out = append(out, row)
	}
	return out, len(out) >= tablesOnPage, nil
}

func (c *Console) deleteConnection(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	_, err := c.config.DeleteConnection(r.Context(), &configv1.DeleteConnectionRequest{Workspace: r.workspace, Id: r.PathValue("id"), Etag: r.PostFormValue("etag")})
	if err == nil {
		return after(r.path("connections"), "deleted"), nil
	}
	p, missing := c.connection(r, "settings")
	if missing != nil {
		return nil, missing
	}
	p.Settings = connectionSettings(p.Connection)
	return p.view(err), nil
}
