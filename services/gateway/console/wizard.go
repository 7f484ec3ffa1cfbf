package console

import (
	"slices"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

const (
	kindModel   = "DataModel"
	kindMapping = "Mapping"
	kindSync    = "Sync"
	kindFeed    = "Feed"
)

const draftsOnPage = 1000 // syncs and models among which drafts are looked for

// wizardRoutes are the steps that set a sync up. Each step stores what it asks for: the connection, the data model, the
// mapping and the sync are resources from the first step on, and the sync is a draft until the last one. Nothing is held
// between the steps.
func (c *Console) wizardRoutes() []route {
	const at = "/w/{workspace}/new"
	return []route{
		{"GET " + at, c.chooseConnection},
		{"GET " + at + "/model", c.newModel},
		{"POST " + at + "/model", c.createModel},
		{"GET " + at + "/{id}/model", c.editModel},
		{"POST " + at + "/{id}/model", c.updateModel},
		{"GET " + at + "/{id}/map", c.editMapping},
		{"POST " + at + "/{id}/map", c.updateMapping},
		{"POST " + at + "/{id}/map/preview", c.previewMapping},
		{"GET " + at + "/{id}/settings", c.editSettings},
		{"POST " + at + "/{id}/settings", c.updateSettings},
		{"GET " + at + "/{id}/review", c.reviewDraft},
		{"POST " + at + "/{id}/activate", c.activateDraft},
		{"POST " + at + "/{id}/discard", c.discardDraft},
	}
}

// draft is what is stored of a sync that is being set up. The id of the path names the sync and, until that exists, the
// data model; the mapping of a new one has the same id.
type draft struct {
	ID      string
	Model   *configv1.DataModel
	Mapping *configv1.Mapping // nil: by name
	Sync    *configv1.Sync    // nil until the settings are made
}

// mappingID answers the id that the draft's mapping has or would get.
func (d *draft) mappingID() string {
	if id := d.Sync.GetMapping(); id != "" {
		return id
	}
	return d.ID
}

// Active says whether what is changed is in use already.
func (d *draft) Active() bool {
	s := d.Sync.GetState()
	return d.Sync != nil && s != configv1.SyncState_SYNC_STATE_DRAFT
}

// Name answers how people call it.
func (d *draft) Name() string {
	if d.Sync != nil {
		return d.Sync.GetMeta().GetDisplayName()
	}
	return d.Model.GetMeta().GetDisplayName()
}

// found answers nil in place of an error that says that something is not there.
func found(err error) error {
	if err != nil && fault.ClassOf(fault.FromStatus(err)) == fault.NotFound {
		return nil
	}
	return err
}

// draft reads what is stored by the id of the path.
func (c *Console) draft(r *request) (*draft, error) {
	ctx, d := r.Context(), &draft{ID: r.PathValue("id")}
	sync, err := c.config.GetSync(ctx, &configv1.GetSyncRequest{Workspace: r.workspace, Id: d.ID})
	if found(err) != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	d.Sync = sync.GetSync()
	model := d.ID
	if d.Sync != nil {
		model = d.Sync.GetDataModel()
	}
	m, err := c.config.GetDataModel(ctx, &configv1.GetDataModelRequest{Workspace: r.workspace, Id: model})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	d.Model = m.GetDataModel()
	if d.Sync != nil && d.Sync.GetMapping() == "" {
		return d, nil
	}
	mapping, err := c.config.GetMapping(ctx, &configv1.GetMappingRequest{Workspace: r.workspace, Id: d.mappingID()})
	if found(err) != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	d.Mapping = mapping.GetMapping()
	return d, nil
}

// stepLink is a step of the wizard in its navigation; without an address it can not be gone to yet.
type stepLink struct {
	Text, Path string
	Current    bool
	Done       bool
}

// wizardStep is what the pages of all steps show.
type wizardStep struct {
	Workspace, ID string
	Name          string
	Active        bool // changes a sync that is in use
	Steps         []stepLink
}

// steps answers the navigation of a draft, which is nil before its data model is stored.
func (r *request) steps(d *draft, current string) wizardStep {
	out := wizardStep{Workspace: r.workspace}
	has := map[string]bool{"connect": true, "model": d != nil, "map": d != nil, "settings": d != nil, "review": d != nil && d.Sync != nil}
	if d != nil {
		out.ID, out.Name, out.Active = d.ID, d.Name(), d.Active()
	}
	names := []string{"connect", "model", "map", "settings", "review"}
	at := slices.Index(names, current)
	for i, name := range names {
		s := stepLink{Text: sentence(name), Current: name == current, Done: i < at}
		switch {
		case name == "connect":
			s.Path = r.path("new")
		case has[name]:
			s.Path = r.path("new", d.ID, name)
		}
		out.Steps = append(out.Steps, s)
	}
	return out
}

// startPage offers the connections to begin with, and the drafts to go on with.
type startPage struct {
	wizardStep
	Rows   []connectionRow
	Drafts []draftRow
}

// draftRow is something that was begun and not activated.
type draftRow struct {
	ID, Name, Path, Next string
	Changed              *moment
}

func (c *Console) chooseConnection(r *request) (view, error) {
	res, err := c.config.ListConnections(r.Context(), &configv1.ListConnectionsRequest{Workspace: r.workspace, PageSize: connectionsOnPage})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	p := startPage{wizardStep: r.steps(nil, "connect")}
	for _, m := range res.GetConnections() {
		p.Rows = append(p.Rows, connectionRowOf(m))
	}
	if p.Drafts, err = c.drafts(r); err != nil {
		return nil, err
	}
	return page{name: "wizard", title: "New sync", section: "syncs", data: p}, nil
}

// drafts answers the syncs that are drafts, and the data models that no sync uses yet.
func (c *Console) drafts(r *request) ([]draftRow, error) {
	syncs, err := c.config.ListSyncs(r.Context(), &configv1.ListSyncsRequest{Workspace: r.workspace, PageSize: draftsOnPage, OrderBy: "update_time desc"})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	models, err := c.config.ListDataModels(r.Context(), &configv1.ListDataModelsRequest{Workspace: r.workspace, PageSize: draftsOnPage, OrderBy: "update_time desc"})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	var out []draftRow
	used := map[string]bool{}
	for _, s := range syncs.GetSyncs() {
		used[s.GetDataModel()] = true
		if s.GetState() == configv1.SyncState_SYNC_STATE_DRAFT {
			out = append(out, draftRow{ID: s.GetMeta().GetId(), Name: s.GetMeta().GetDisplayName(), Path: r.path("new", s.GetMeta().GetId(), "review"), Next: "review", Changed: instant(s.GetMeta().GetUpdateTime())})
		}
	}
	if syncs.GetNextPageToken() != "" {
		return out, nil // whether a model is used is not known
	}
	for _, m := range models.GetDataModels() {
		if !used[m.GetMeta().GetId()] {
			out = append(out, draftRow{ID: m.GetMeta().GetId(), Name: m.GetMeta().GetDisplayName(), Path: r.path("new", m.GetMeta().GetId(), "model"), Next: "model", Changed: instant(m.GetMeta().GetUpdateTime())})
		}
	}
	return out, nil
}

// discardDraft deletes what is stored of a draft, from the sync down. What something else uses stays.
func (c *Console) discardDraft(r *request) (view, error) {
	d, err := c.draft(r)
	if err != nil {
		return nil, err
	}
	if d.Active() {
		return nil, fault.New(fault.Precondition, fault.ReasonInUse, "the sync %s is no draft any more; delete it on its own page", d.ID)
	}
	ctx := r.Context()
	if d.Sync != nil {
		if _, err := c.config.DeleteSync(ctx, &configv1.DeleteSyncRequest{Workspace: r.workspace, Id: d.ID}); found(err) != nil {
			return nil, err //nolint:wrapcheck // classified
		}
	}
	if d.Mapping != nil {
		if _, err := c.config.DeleteMapping(ctx, &configv1.DeleteMappingRequest{Workspace: r.workspace, Id: d.Mapping.GetMeta().GetId()}); unused(err) != nil {
			return nil, err //nolint:wrapcheck // classified
		}
	}
	if _, err := c.config.DeleteDataModel(ctx, &configv1.DeleteDataModelRequest{Workspace: r.workspace, Id: d.Model.GetMeta().GetId()}); unused(err) != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	return after(r.path("new"), "deleted"), nil
}

// unused answers nil in place of an error that says that something is gone, or that something else uses it.
func unused(err error) error {
	if err != nil && fault.ReasonOf(fault.FromStatus(err)) == fault.ReasonInUse {
		return nil
	}
	return found(err)
}

// act answers which button of a form was pressed: remove.3 removes the rule of that number; show shows what was typed, and
// stores nothing.
func (r *request) act() string { return r.PostFormValue("act") }
