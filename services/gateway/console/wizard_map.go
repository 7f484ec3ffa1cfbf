package console

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource/resourcepb"
)

// mapPage asks what the rows become, and shows what the rules make of a sample beside them.
type mapPage struct {
	wizardStep
	ModelEtag, MappingEtag string
	Kinds                  []option
	GroupType, StartTime   string
	Enrich                 string // a path a line
	ByName                 bool
	Short                  bool // the mapping is in the short form for events, which is changed as a document
	TooMany                bool // there are more rules than a page edits
	Rules                  []ruleForm
	Blank                  ruleForm // that a script adds
	Columns                []string
	Wrong                  wrongs
	Preview                mapPreview
}

// A rule's column is chosen of a list of so many columns, and of so many in all lists together; more are typed.
const (
	selectableColumns = 60
	selectsTogether   = 6000
)

// Selects says whether a rule's column is chosen of a list.
func (p mapPage) Selects() bool {
	n := len(p.Columns)
	return n > 0 && n <= selectableColumns && n*len(p.Rules) <= selectsTogether
}

// ColumnsWith answers the columns, with one that may be among them no more.
func (p mapPage) ColumnsWith(column string) []string {
	if column == "" || slices.Contains(p.Columns, column) {
		return p.Columns
	}
	return append([]string{column}, p.Columns...)
}

// mapped is a mapping that is being edited: the model as the form has it, and its rules.
type mapped struct {
	model   *configv1.DataModel
	mapping *configv1.Mapping // nil: by name
	rules   []ruleForm
	bad     *faults
}

func (c *Console) editMapping(r *request) (view, error) {
	d, err := c.draft(r)
	if err != nil {
		return nil, err
	}
	m := mapped{model: d.Model, mapping: d.Mapping, bad: &faults{}}
	m.rules, _ = ruleForms(d.Mapping.GetRules())
	return c.mapView(r, d, m, nil)
}

// kindTexts say what a row of each record kind is.
func kindTexts() [][2]string {
	return [][2]string{
		{"users", "users: a row is a person's identities and attributes"},
		{"events", "events: a row is something that happened"},
		{"groups", "groups: a row is a company or another group of people"},
		{"lookup", "lookup: a row explains values of events, such as a product"},
		{"profile_history", "profile history: a row is what held from a time on"},
	}
}

// mapView shows a mapping in the form beside its preview, with what is wrong about it.
func (c *Console) mapView(r *request, d *draft, m mapped, failure error) (view, error) {
	p := mapPage{
		wizardStep: r.steps(d, "map"), ModelEtag: m.model.GetMeta().GetEtag(), MappingEtag: d.Mapping.GetMeta().GetEtag(),
		GroupType: m.model.GetGroupType(), StartTime: m.model.GetStartTime(), Enrich: strings.Join(m.model.GetEnrich(), "\n"),
		ByName: m.mapping == nil, Short: m.mapping.GetEvents() != nil, Rules: m.rules, Blank: ruleForm{N: blankRule, Form: formColumn},
		TooMany: len(m.mapping.GetRules()) > 0 && tooMany(m.mapping),
	}
	if isTyped := r.PostFormValue("etag.model") != ""; isTyped {
		p.ModelEtag, p.MappingEtag = r.PostFormValue("etag.model"), r.PostFormValue("etag.mapping")
	}
	for _, k := range kindTexts() {
		p.Kinds = append(p.Kinds, option{Value: k[0], Text: k[1], Chosen: k[0] == word(m.model.GetRecordKind())})
	}
	sample, err := c.sample(r, d.Model, false)
	p.Preview = c.previewOf(r, m, sample, err)
	for _, col := range sample.GetColumns() {
		if len(p.Columns) < maxColumns {
			p.Columns = append(p.Columns, col.GetName())
		}
	}
	told := wrongsOf(failure, "")
	if failure == nil && (len(m.rules) > 0 || m.mapping == nil) {
		told = p.Preview.wrong
	}
	p.Wrong = tell(p.Rules, told)
	return page{name: "wizard_map", title: "Mapping", section: "syncs", data: p, failure: failure}, nil
}

func tooMany(m *configv1.Mapping) bool {
	_, fits := ruleForms(m.GetRules())
	return !fits
}

// readMapped reads the form of a mapping over what is stored.
func (r *request) readMapped(d *draft) mapped {
	m := mapped{model: proto.CloneOf(d.Model), rules: r.readRuleForms(), bad: &faults{kind: kindMapping, id: d.mappingID()}}
	m.model.Meta.Etag = r.PostFormValue("etag.model")
	kind := r.PostFormValue("record_kind")
	m.model.RecordKind = configv1.RecordKind(configv1.RecordKind_value["RECORD_KIND_"+strings.ToUpper(kind)])
	m.model.GroupType, m.model.StartTime, m.model.Enrich = "", "", nil
	if kind == "groups" || kind == "profile_history" {
		m.model.GroupType = r.text("group_type")
	}
	if kind == "profile_history" {
		m.model.StartTime = r.text("start_time")
	}
	if kind == "lookup" {
		m.model.Enrich = strings.Fields(r.PostFormValue("enrich"))
	}
	switch {
	case r.PostFormValue("by") == "name":
	case r.PostFormValue("by") == "short":
		m.mapping = proto.CloneOf(d.Mapping)
	default:
		m.mapping = &configv1.Mapping{
			Meta:  &configv1.Meta{Id: d.mappingID(), DisplayName: d.Mapping.GetMeta().GetDisplayName(), Etag: r.PostFormValue("etag.mapping")},
			Rules: rulesFrom(m.rules, m.bad),
		}
	}
	return m
}

// updateMapping stores the form, or shows it again with a rule more or less.
func (c *Console) updateMapping(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	d, err := c.draft(r)
	if err != nil {
		return nil, err
	}
	m := r.readMapped(d)
	switch act := r.act(); {
	case act == "suggest":
		sample, err := c.sample(r, d.Model, false)
		if err != nil {
			return c.mapView(r, d, m, err)
		}
		m.rules = numbered(suggestRules(m.model, sample.GetColumns()))
		m.bad = &faults{kind: kindMapping, id: d.mappingID()}
		m.mapping = &configv1.Mapping{Meta: &configv1.Meta{Id: d.mappingID()}, Rules: rulesFrom(m.rules, m.bad)}
		return c.mapView(r, d, m, nil)
	case act == "add" || act == "show" || strings.HasPrefix(act, "remove."):
		return c.mapView(r, d, m, nil)
	}
	if err := c.checkMapped(r, d, m); err != nil {
		return c.mapView(r, d, m, err)
	}
	if err := c.storeMapped(r, d, m); err != nil {
		return c.mapView(r, d, m, err)
	}
	if r.act() == "next" {
		return seeOther(r.path("new", d.ID, "settings")), nil
	}
	return after(r.path("new", d.ID, "map"), "saved"), nil
}

func numbered(forms []ruleForm) []ruleForm {
	out, _ := ruleForms(rulesFrom(forms, &faults{}))
	return out
}

// checkMapped reports all that is wrong of the model and of the mapping together, before either is stored: their own
// rules and, to go on, whether they fit the columns.
func (c *Console) checkMapped(r *request, d *draft, m mapped) error {
	all := *m.bad
	model := resourcepb.OfDataModel(m.model)
	model.Normalize()
	all.out = append(all.out, model.Validate()...)
	if m.mapping != nil {
		mapping := resourcepb.OfMapping(m.mapping)
		mapping.Normalize()
		all.out = append(all.out, mapping.Validate()...)
	}
	if len(all.out) > 0 || r.act() != "next" {
		return all.err()
	}
	sample, err := c.sample(r, d.Model, false)
	if err != nil {
		return nil //nolint:nilerr // the warehouse is away; the activation checks it again
	}
	_, err = c.mapper.PreviewMapping(r.Context(), &mapperv1.PreviewMappingRequest{Mapping: m.mapping, DataModel: m.model, Arrow: sample.GetArrow()})
	if fault.ClassOf(fault.FromStatus(err)) == fault.Invalid {
		return err //nolint:wrapcheck // classified
	}
	return nil
}

// storeMapped stores model, mapping and, where there is one, that the sync goes by it.
func (c *Console) storeMapped(r *request, d *draft, m mapped) error {
	ctx := r.Context()
	if !proto.Equal(m.model, d.Model) {
		mask := &fieldmaskpb.FieldMask{Paths: []string{"record_kind", "group_type", "start_time", "enrich"}}
		if _, err := c.config.UpdateDataModel(ctx, &configv1.UpdateDataModelRequest{Workspace: r.workspace, DataModel: m.model, UpdateMask: mask}); err != nil {
			return err //nolint:wrapcheck // classified
		}
	}
	wanted := ""
	if m.mapping != nil {
		wanted = d.mappingID()
		if err := c.storeMapping(r, d, m.mapping); err != nil {
			return err
		}
	}
	if d.Sync != nil && d.Sync.GetMapping() != wanted {
		next := &configv1.Sync{Meta: d.Sync.GetMeta(), Mapping: wanted}
		if _, err := c.config.UpdateSync(ctx, &configv1.UpdateSyncRequest{Workspace: r.workspace, Sync: next, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"mapping"}}}); err != nil {
			return err //nolint:wrapcheck // classified
		}
	}
	if m.mapping == nil && d.Mapping != nil && d.Mapping.GetMeta().GetId() == d.ID {
		_, err := c.config.DeleteMapping(ctx, &configv1.DeleteMappingRequest{Workspace: r.workspace, Id: d.ID, Etag: r.PostFormValue("etag.mapping")})
		return found(err)
	}
	return nil
}

func (c *Console) storeMapping(r *request, d *draft, m *configv1.Mapping) error {
	if d.Mapping == nil {
		if m.GetMeta().GetDisplayName() == "" {
			m.Meta.DisplayName = d.Name()
		}
		_, err := c.config.CreateMapping(r.Context(), &configv1.CreateMappingRequest{Workspace: r.workspace, Mapping: m})
		return err //nolint:wrapcheck // classified
	}
	_, err := c.config.UpdateMapping(r.Context(), &configv1.UpdateMappingRequest{Workspace: r.workspace, Mapping: m, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"rules"}}})
	return err //nolint:wrapcheck // classified
}
