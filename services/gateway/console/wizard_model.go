package console

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// maxColumns is how many columns of a query a page shows.
const maxColumns = 1000

// modelPage asks for the data model: a table or a query, its keys, and the column that orders change.
type modelPage struct {
	wizardStep
	Etag       string
	Connection string
	NameInput  input
	IDInput    input
	ByTable    bool
	Table, SQL string
	Tables     []tableRow
	TablesNote string // why there are none to choose of
	Columns    []columnRow
	More       int // columns that are not shown
	Ordered    bool
	Types      []option
	Zone       string
	ReadNulls  bool
	Sample     *sampleTable
	Wrong      wrongs
}

// columnRow is a column to choose of.
type columnRow struct {
	Name, Type    string
	Nullable      bool
	Key, Iterator bool
	Gone          bool // is chosen, and the query has it no more
}

func (c *Console) newModel(r *request) (view, error) {
	connection := r.FormValue("connection")
	if connection == "" {
		return seeOther(r.path("new")), nil
	}
	table := r.FormValue("table")
	m := &configv1.DataModel{Connection: connection, Query: &configv1.DataModel_Table{Table: table}, Meta: &configv1.Meta{DisplayName: tableTitle(table)}}
	return c.modelView(r, nil, m, nil)
}

// tableTitle makes a name of a table's: "main"."order_history" becomes Order history.
func tableTitle(table string) string {
	last := table[strings.LastIndexByte(table, '.')+1:]
	return sentence(strings.ReplaceAll(strings.Trim(last, "\"`[]"), "_", " "))
}

// modelView shows a data model in the form, with what is wrong about it.
func (c *Console) modelView(r *request, d *draft, m *configv1.DataModel, failure error) (view, error) {
	wrong := wrongsOf(failure, kindModel)
	p := modelPage{
		wizardStep: r.steps(d, "model"), Etag: m.GetMeta().GetEtag(), Connection: m.GetConnection(), Wrong: wrong,
		Table: m.GetTable(), SQL: m.GetSql(), ByTable: m.GetSql() == "",
		Zone: m.GetIterator().GetTimeZone(), ReadNulls: m.GetIterator().GetNulls() == configv1.NullPolicy_NULL_POLICY_READ,
		Ordered:   m.GetIterator().GetColumn() != "",
		Types:     options(word(m.GetIterator().GetType()), "", "timestamp", "date", "integer", "decimal"),
		NameInput: input{Name: "display_name", Label: "Name", Hint: "Of the sync that is to be.", Kind: inputText, Required: true, Value: m.GetMeta().GetDisplayName(), Wrong: wrong["display_name"]},
		IDInput:   input{Name: "id", Label: "Id", Hint: "As documents and commands name it; it can not be changed later. Left empty: made of the name.", Kind: inputText, Value: m.GetMeta().GetId(), Wrong: wrong["id"]},
	}
	p.Types[0].Text = "as the column is"
	tables, full, err := c.tables(r, m.GetConnection(), "")
	switch {
	case err != nil && fault.ClassOf(fault.FromStatus(err)) == fault.NotFound:
		return nil, err
	case err != nil:
		p.TablesNote = "The tables can not be listed: " + fault.As(fault.FromStatus(err)).Message
	case full:
		p.TablesNote = "There are more tables than are offered; write the name of any."
	}
	p.Tables = tables
	var sample *configv1.PreviewDataModelResponse
	if d != nil {
		sample = c.samples.get(sampleKey(r.workspace, d.Model), time.Now())
	}
	if sample == nil && d != nil && failure == nil {
		if sample, err = c.sample(r, d.Model, false); err != nil {
			failure = ofQuery(err, m)
			p.Wrong = wrongsOf(failure, kindModel)
		}
	}
	if sample != nil {
		t := sampleTableOf(sample)
		p.Sample = &t
	}
	p.Columns, p.More = columnRows(sample.GetColumns(), m)
	return page{name: "wizard_model", title: "Data model", section: "syncs", data: p, failure: failure}, nil
}

// ofQuery says of an error of a query that it is about the query, so that it stands beside it.
func ofQuery(err error, m *configv1.DataModel) error {
	e := fault.As(fault.FromStatus(err))
	if len(e.Violations) > 0 || e.Class != fault.Invalid && e.Class != fault.Precondition {
		return e
	}
	out := *e
	field := "sql"
	if m.GetSql() == "" {
		field = "table"
	}
	out.Violations = []fault.Violation{{Kind: kindModel, ID: m.GetMeta().GetId(), Field: field, Message: e.Message}}
	return &out
}

// columnRows answers the columns of a query with what is chosen of them, and how many are not shown. What was chosen and is
// not among them any more comes first.
func columnRows(columns []*configv1.Column, m *configv1.DataModel) ([]columnRow, int) {
	var out []columnRow
	has := map[string]bool{}
	for _, col := range columns {
		has[col.GetName()] = true
	}
	chosen := slices.Clone(m.GetKeyColumns())
	if it := m.GetIterator().GetColumn(); it != "" && !slices.Contains(chosen, it) {
		chosen = append(chosen, it)
	}
	row := func(name string) columnRow {
		return columnRow{Name: name, Key: slices.Contains(m.GetKeyColumns(), name), Iterator: name == m.GetIterator().GetColumn()}
	}
	for _, name := range chosen {
		if !has[name] {
			gone := row(name)
			gone.Gone = len(columns) > 0
			out = append(out, gone)
		}
	}
	more := max(0, len(columns)-maxColumns)
	for _, col := range columns[:len(columns)-more] {
		of := row(col.GetName())
		of.Type, of.Nullable = col.GetType(), col.GetNullable()
		out = append(out, of)
	}
	return out, more
}

// readModel puts what the form says into a data model.
func (r *request) readModel(m *configv1.DataModel, columns []*configv1.Column) {
	if m.Meta == nil {
		m.Meta = &configv1.Meta{}
	}
	m.Meta.DisplayName, m.Meta.Etag = r.text("display_name"), r.PostFormValue("etag")
	if r.PostFormValue("source") == "sql" {
		m.Query = &configv1.DataModel_Sql{Sql: r.PostFormValue("sql")}
	} else {
		m.Query = &configv1.DataModel_Table{Table: r.text("table")}
	}
	if r.PostFormValue("columns") == "" {
		return // none were shown
	}
	m.KeyColumns, m.Iterator = r.PostForm["key"], nil
	if column := r.PostFormValue("iterator"); column != "" {
		m.Iterator = &configv1.Iterator{Column: column, Type: iteratorTypeOf(r.PostFormValue("iterator_type")), TimeZone: r.text("time_zone")}
		if m.Iterator.GetType() == 0 {
			m.Iterator.Type = iteratorTypeOf(guessIterator(columns, column))
		}
		if r.PostFormValue("read_nulls") != "" {
			m.Iterator.Nulls = configv1.NullPolicy_NULL_POLICY_READ
		}
	}
}

func iteratorTypeOf(word string) configv1.IteratorType {
	return configv1.IteratorType(configv1.IteratorType_value["ITERATOR_TYPE_"+strings.ToUpper(word)])
}

// guessIterator answers the type of an iterator by the warehouse's own name of its column's type; empty where it says
// nothing.
func guessIterator(columns []*configv1.Column, name string) string {
	i := slices.IndexFunc(columns, func(c *configv1.Column) bool { return c.GetName() == name })
	if i < 0 {
		return ""
	}
	typ := strings.ToLower(columns[i].GetType())
	for _, is := range [][2]string{{"timestamp", "timestamp"}, {"datetime", "timestamp"}, {"date", "date"}, {"int", "integer"}, {"decimal", "decimal"}, {"numeric", "decimal"}, {"number", "decimal"}} {
		if strings.Contains(typ, is[0]) {
			return is[1]
		}
	}
	return ""
}

func (c *Console) createModel(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	id := r.text("id")
	if id == "" {
		id = slug(r.text("display_name"))
	}
	m := &configv1.DataModel{Meta: &configv1.Meta{Id: id}, Connection: r.PostFormValue("connection"), RecordKind: configv1.RecordKind_RECORD_KIND_USERS}
	r.readModel(m, nil)
	if r.act() == "show" {
		m.Meta.Id = r.text("id")
		return c.modelView(r, nil, m, nil)
	}
	err := c.isFree(r, id)
	if err == nil {
		_, err = c.config.CreateDataModel(r.Context(), &configv1.CreateDataModelRequest{Workspace: r.workspace, DataModel: m})
	}
	if err != nil {
		m.Meta.Id = r.text("id")
		return c.modelView(r, nil, m, err)
	}
	return seeOther(r.path("new", id, "model") + "#sample"), nil
}

// isFree says whether an id can name a new data model, mapping and sync.
func (c *Console) isFree(r *request, id string) error {
	if !resource.ValidID(id) {
		return nil // said by what is created
	}
	bad := faults{kind: kindModel, id: id}
	_, err := c.config.GetSync(r.Context(), &configv1.GetSyncRequest{Workspace: r.workspace, Id: id})
	_, err2 := c.config.GetDataModel(r.Context(), &configv1.GetDataModelRequest{Workspace: r.workspace, Id: id})
	_, err3 := c.config.GetMapping(r.Context(), &configv1.GetMappingRequest{Workspace: r.workspace, Id: id})
	for _, e := range []struct {
		kind string
		err  error
	}{{"sync", err}, {"data model", err2}, {"mapping", err3}} {
		if e.err == nil {
			bad.add("id", "there is a "+e.kind+" "+id+" already", "choose another id")
		} else if found(e.err) != nil {
			return e.err
		}
	}
	return bad.err()
}

func (c *Console) editModel(r *request) (view, error) {
	d, err := c.draft(r)
	if err != nil {
		return nil, err
	}
	return c.modelView(r, d, d.Model, nil)
}

// updateModel stores the form. To run the query is to store it and to show its rows.
func (c *Console) updateModel(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	d, err := c.draft(r)
	if err != nil {
		return nil, err
	}
	m := proto.CloneOf(d.Model)
	sample := c.samples.get(sampleKey(r.workspace, d.Model), time.Now())
	r.readModel(m, sample.GetColumns())
	if r.act() == "show" {
		return c.modelView(r, d, m, nil)
	}
	paths := []string{"meta.display_name", "sql", "table", "key_columns", "iterator"}
	res, err := c.config.UpdateDataModel(r.Context(), &configv1.UpdateDataModelRequest{Workspace: r.workspace, DataModel: m, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	if err != nil {
		return c.modelView(r, d, m, err)
	}
	if r.act() == "next" {
		return seeOther(r.path("new", d.ID, "map")), nil
	}
	d.Model = res.GetDataModel()
	if _, err := c.sample(r, d.Model, true); err != nil {
		return c.modelView(r, d, d.Model, ofQuery(err, d.Model))
	}
	return seeOther(r.path("new", d.ID, "model") + "#sample"), nil
}
