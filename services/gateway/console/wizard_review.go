package console

import (
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
)

const (
	reviewedRows  = 5
	reviewedRules = 200
)

// reviewPage shows all that was chosen, and what sample rows would do.
type reviewPage struct {
	wizardStep
	Draft       *draft
	Connection  connectionRow
	Kind        string
	Rules       []ruleRow
	MoreRules   int
	Settings    []syncSetting
	Feed        string
	Samples     []sampleProfile
	Figures     *ingestionv1.IdentityFigures
	SampleFault string // why there are no samples
	Warnings    []string
	Activated   bool
	Mends       []mend
}

// mend leads from what is wrong to the step where it is mended.
type mend struct {
	fault.Violation
	Step, Path string
}

// sampleProfile is what a sample row would do.
type sampleProfile struct {
	Effect   string
	Who      string // the first of its identities
	Row      string
	Becomes  string // the profile or group as it would be
	Record   string
	Outcome  string   // where its identities lead
	Merges   []string // what would be merged or not, and why
	Fates    []string // identities that are not simply kept
	Rejects  []string
	Rejected bool
}

func (c *Console) reviewDraft(r *request) (view, error) {
	d, err := c.draft(r)
	if err != nil {
		return nil, err
	}
	if d.Sync == nil {
		return seeOther(r.path("new", d.ID, "settings")), nil
	}
	return c.reviewView(r, d, nil, nil)
}

// reviewView shows the review of a draft, with the warnings of its activation or why it is refused.
func (c *Console) reviewView(r *request, d *draft, warnings []string, failure error) (view, error) {
	p := reviewPage{wizardStep: r.steps(d, "review"), Draft: d, Kind: word(d.Model.GetRecordKind()), Settings: settingsOf(d.Sync, d.Model), Warnings: warnings, Activated: len(warnings) > 0}
	p.Rules, p.MoreRules = rulesOf(d.Mapping, reviewedRules)
	if p.Feed = d.Sync.GetFeed(); p.Feed == "" {
		p.Feed = "default"
	}
	connection, err := c.config.GetConnection(r.Context(), &configv1.GetConnectionRequest{Workspace: r.workspace, Id: d.Model.GetConnection()})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	p.Connection = connectionRowOf(connection.GetConnection())
	p.Mends = mendsOf(r, d, failure)
	if !p.Activated {
		c.sampleProfiles(r, d, &p)
	}
	return page{name: "wizard_review", title: "Review", section: "syncs", data: p, failure: failure}, nil
}

// sampleProfiles asks what sample rows would do.
func (c *Console) sampleProfiles(r *request, d *draft, p *reviewPage) {
	res, err := c.config.PreviewSync(r.Context(), &configv1.PreviewSyncRequest{Workspace: r.workspace, Id: d.ID, Limit: reviewedRows})
	if err != nil {
		e := fault.As(fault.FromStatus(err))
		p.SampleFault = e.Message
		if len(p.Mends) == 0 {
			p.Mends = mendsOf(r, d, e)
		}
		if len(e.Violations) > 0 {
			p.SampleFault = "The sample can not be mapped as it is."
		}
		return
	}
	for _, row := range res.GetRows() {
		p.Samples = append(p.Samples, sampleProfileOf(row))
	}
	var f ingestionv1.IdentityFigures
	if readStruct(res.GetFigures(), &f) {
		p.Figures = &f
	}
}

func sampleProfileOf(row *configv1.PreviewedRow) sampleProfile {
	s := sampleProfile{Effect: row.GetEffect(), Row: recordText(row.GetRow()), Record: recordText(row.GetRecord()), Rejects: row.GetRejects(), Rejected: row.GetRecord() == nil}
	s.Becomes = recordText(essence(row.GetProfile()))
	if row.GetProfile() == nil {
		s.Becomes = recordText(essence(row.GetGroup()))
	}
	var o ingestionv1.IdentityOutcome
	if !readStruct(row.GetIdentity(), &o) {
		return s
	}
	s.Outcome = o.GetOutcome()
	for _, m := range o.GetMerges() {
		s.Merges = append(s.Merges, mergeText(m))
	}
	for n, i := range o.GetIdentities() {
		if n == 0 {
			s.Who = identityText(i.GetIdentity())
		}
		if fate := i.GetFate(); fate != "kept" {
			why := ""
			if i.GetRule() != "" {
				why = " by rule " + i.GetRule()
			}
			s.Fates = append(s.Fates, fate+": "+identityText(i.GetIdentity())+why)
		}
	}
	return s
}

// essence answers of a profile or group who it is and what it has; identities as type and value.
func essence(s *structpb.Struct) *structpb.Struct {
	if s == nil {
		return nil
	}
	out := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for _, name := range []string{"mpid", "user_attributes", "group_type", "group_id", "attributes"} {
		if v, ok := s.GetFields()[name]; ok {
			out.Fields[name] = v
		}
	}
	identities := &structpb.ListValue{}
	for _, v := range s.GetFields()["identities"].GetListValue().GetValues() {
		i := v.GetStructValue().GetFields()
		identities.Values = append(identities.Values, structpb.NewStringValue(i["type"].GetStringValue()+"="+i["value"].GetStringValue()))
	}
	if len(identities.GetValues()) > 0 {
		out.Fields["identities"] = structpb.NewListValue(identities)
	}
	return out
}

// readStruct reads a message that travels as JSON; false where there is none.
func readStruct(s *structpb.Struct, into proto.Message) bool {
	if s == nil {
		return false
	}
	data, err := protojson.Marshal(s)
	return err == nil && protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, into) == nil
}

// mendsOf leads from the violations of an error to the steps of the wizard.
func mendsOf(r *request, d *draft, err error) []mend {
	if err == nil {
		return nil
	}
	var out []mend
	for _, v := range fault.As(fault.FromStatus(err)).Violations {
		m := mend{Violation: v, Step: "settings", Path: r.path("new", d.ID, "settings")}
		switch v.Kind {
		case kindModel:
			m.Step, m.Path = "model", r.path("new", d.ID, "model")
			if v.Field == "record_kind" || v.Field == "group_type" || v.Field == "start_time" {
				m.Step, m.Path = "map", r.path("new", d.ID, "map")
			}
		case kindMapping, "":
			m.Step, m.Path = "map", r.path("new", d.ID, "map")
		case kindConnection:
			m.Step, m.Path = "connection", r.path("connections", d.Model.GetConnection(), "edit")
		}
		if v.Kind == kindSync && v.Field == "mapping" {
			m.Step, m.Path = "map", r.path("new", d.ID, "map")
		}
		out = append(out, m)
	}
	return out
}

// activateDraft makes the sync active. Warnings are shown before the wizard is left.
func (c *Console) activateDraft(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	d, err := c.draft(r)
	if err != nil {
		return nil, err
	}
	if d.Sync == nil {
		return seeOther(r.path("new", d.ID, "settings")), nil
	}
	if etag := r.PostFormValue("etag"); etag != d.Sync.GetMeta().GetEtag() {
		return c.reviewView(r, d, nil, fault.New(fault.Conflict, fault.ReasonStaleEtag, "the sync is no longer as it was reviewed"))
	}
	res, err := c.config.ActivateSync(r.Context(), &configv1.ActivateSyncRequest{Workspace: r.workspace, Id: d.ID})
	if err != nil {
		return c.reviewView(r, d, nil, err)
	}
	if len(res.GetWarnings()) == 0 {
		return after(r.path("syncs", d.ID), "activated"), nil
	}
	d.Sync = res.GetSync()
	return c.reviewView(r, d, res.GetWarnings(), nil)
}
