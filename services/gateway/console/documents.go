package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/document"
	"millrace.dev/pkg/resource/resourcepb"
)

const (
	documentsFile = "documents.yaml" // what violations call what was typed
	copyOf        = "-copy"
)

func (c *Console) documentRoutes() []route {
	return []route{
		{"GET /w/{workspace}/apply", c.writeDocuments},
		{"POST /w/{workspace}/apply", c.planDocuments},
		{"GET /w/{workspace}/apply/export", c.exportDocuments},
	}
}

// documentsPage is documents, what they would change, and what they were written against.
type documentsPage struct {
	Workspace string
	Heading   string
	Note      string
	Text      string
	Expected  []expectation
	// Planned is the digest of the text that Changes are of; empty before a plan.
	Planned  string
	Changes  []*configv1.PlannedChange
	Warnings []string
	// Differs is whether the plan changes anything.
	Differs bool
}

// expectation is what must still be stored for documents to be applied.
type expectation struct{ Name, Etag string } // Sync/customers

// Value is an expectation as a form carries it.
func (e expectation) Value() string { return e.Name + "=" + e.Etag }

func documentsView(p documentsPage, failure error) view {
	return page{name: "apply", title: p.Heading, section: "apply", data: p, failure: failure}
}

// writeDocuments answers the page on which documents are written: empty, or with what is stored of the resource that the
// query names, as it is or as a copy.
func (c *Console) writeDocuments(r *request) (view, error) {
	kind, id, heading := documentsOf(r)
	p := documentsPage{Workspace: r.workspace, Heading: heading}
	var stored []resource.Resource
	if kind != "" {
		var err error
		if stored, err = c.stored(r.Context(), r.workspace, kind, id); err != nil {
			return nil, err
		}
	}
	if isCopy(r) {
		stored = copied(stored)
		p.Note = "The copy goes by the same parts. Give it an id and a name of its own."
	}
	if err := p.fill(stored); err != nil {
		return nil, err
	}
	if r.URL.Query().Get("new") == "alert" {
		p.Heading, p.Text = "New alert", firstAlert
	}
	return documentsView(p, nil), nil
}

// documentsOf answers the resource that the query names, by the word of its kind, and what the page is called.
func documentsOf(r *request) (kind, id, heading string) {
	q := r.URL.Query()
	for _, k := range []string{"sync", "data_model", "mapping", "feed", "alert", "connection"} {
		if q.Get(k) == "" {
			continue
		}
		verb := "Edit "
		if isCopy(r) {
			verb = "Copy "
		}
		return k, q.Get(k), verb + say(k) + " " + q.Get(k)
	}
	return "", "", "Documents"
}

func isCopy(r *request) bool { return r.URL.Query().Get("copy") != "" }

// fill writes resources as documents, and notes their etags.
func (p *documentsPage) fill(stored []resource.Resource) error {
	var texts []string
	for _, res := range stored {
		f, err := document.Write(res)
		if err != nil {
			return err //nolint:wrapcheck // says what it could not write
		}
		texts = append(texts, strings.TrimRight(f.Content, "\n")+"\n")
		p.Expected = append(p.Expected, expectation{string(res.ResourceKind()) + "/" + res.Head().ID, res.Head().Etag})
	}
	p.Text = strings.Join(texts, "---\n")
	return nil
}

// copied answers the first of the resources under an id and a name of its own; a sync as a draft. Nothing is to be stored
// under that id.
func copied(stored []resource.Resource) []resource.Resource {
	if len(stored) == 0 {
		return nil
	}
	m := stored[0].Head()
	m.ID, m.DisplayName, m.Etag = short64(m.ID)+copyOf, m.DisplayName+" (copy)", ""
	delete(m.Labels, resource.LabelApplySet)
	if s, ok := stored[0].(*resource.Sync); ok {
		s.State = resource.Draft
	}
	return stored[:1]
}

// short64 cuts an id so that it has room for copyOf.
func short64(id string) string { return id[:min(len(id), 64-len(copyOf))] }

// stored answers a resource by the word of its kind; a sync with its data model and its mapping.
func (c *Console) stored(ctx context.Context, workspace, kind, id string) ([]resource.Resource, error) {
	switch kind {
	case "sync":
		return c.storedSync(ctx, workspace, id)
	case "data_model":
		res, err := c.config.GetDataModel(ctx, &configv1.GetDataModelRequest{Workspace: workspace, Id: id})
		m := resourcepb.OfDataModel(res.GetDataModel())
		return []resource.Resource{&m}, err //nolint:wrapcheck // classified
	case "mapping":
		res, err := c.config.GetMapping(ctx, &configv1.GetMappingRequest{Workspace: workspace, Id: id})
		m := resourcepb.OfMapping(res.GetMapping())
		return []resource.Resource{&m}, err //nolint:wrapcheck // classified
	case "feed":
		res, err := c.config.GetFeed(ctx, &configv1.GetFeedRequest{Workspace: workspace, Id: id})
		m := resourcepb.OfFeed(res.GetFeed())
		return []resource.Resource{&m}, err //nolint:wrapcheck // classified
	case "alert":
		res, err := c.config.GetAlert(ctx, &configv1.GetAlertRequest{Workspace: workspace, Id: id})
		m := resourcepb.OfAlert(res.GetAlert())
		return []resource.Resource{&m}, err //nolint:wrapcheck // classified
	default:
		res, err := c.config.GetConnection(ctx, &configv1.GetConnectionRequest{Workspace: workspace, Id: id})
		m := resourcepb.OfConnection(res.GetConnection())
		return []resource.Resource{&m}, err //nolint:wrapcheck // classified
	}
}

func (c *Console) storedSync(ctx context.Context, workspace, id string) ([]resource.Resource, error) {
	s, err := c.sync(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	own := resourcepb.OfSync(s)
	out := []resource.Resource{&own}
	for _, part := range [][2]string{{"data_model", s.GetDataModel()}, {"mapping", s.GetMapping()}} {
		if part[1] == "" {
			continue
		}
		more, err := c.stored(ctx, workspace, part[0], part[1])
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// planDocuments shows what documents would change or, once that was shown, changes it. Nothing is changed that was not
// shown: neither by a text that was edited after its plan, nor where something else is stored by now.
func (c *Console) planDocuments(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	_, _, heading := documentsOf(r)
	p := documentsPage{Workspace: r.workspace, Heading: heading, Text: strings.ReplaceAll(r.PostFormValue("documents"), "\r\n", "\n")}
	req := &configv1.ApplyRequest{
		Workspace: r.workspace, Documents: []*configv1.Document{{File: documentsFile, Content: p.Text}}, DryRun: true, ExpectedEtags: map[string]string{},
	}
	for _, e := range r.PostForm["expected"] {
		name, etag, _ := strings.Cut(e, "=")
		req.ExpectedEtags[name] = etag
		p.Expected = append(p.Expected, expectation{name, etag})
	}
	if r.PostFormValue("act") == "apply" {
		if r.PostFormValue("planned") == digestOf(p.Text) {
			req.DryRun = false
		} else {
			p.Note = "The documents are others than those that the plan was of. Look at what they would change now."
		}
	}
	res, err := c.config.Apply(r.Context(), req)
	if err != nil {
		if fault.ClassOf(fault.FromStatus(err)) == fault.Conflict {
			p.Expected = nil // asked again, it is planned against what is stored then
			p.Note = "What you typed is still here. Load the page anew to see what is stored now, or show what your documents would change in it."
		}
		return documentsView(p, err), nil
	}
	if res.GetApplied() {
		return after(appliedAt(r, res.GetChanges()), "applied"), nil
	}
	p.plan(res)
	return documentsView(p, nil), nil
}

// plan notes what documents would change, and what that was found against.
func (p *documentsPage) plan(res *configv1.ApplyResponse) {
	p.Planned, p.Changes, p.Warnings, p.Expected = digestOf(p.Text), res.GetChanges(), res.GetWarnings(), nil
	for _, l := range res.GetChanges() {
		p.Differs = p.Differs || l.GetAction() != configv1.Action_ACTION_UNCHANGED
		p.Expected = append(p.Expected, expectation{l.GetKind() + "/" + l.GetId(), l.GetEtag()})
	}
}

// appliedAt answers where to look at what was applied: the sync, if it is of one; the alerts, if it is of nothing else.
func appliedAt(r *request, changes []*configv1.PlannedChange) string {
	if !slices.ContainsFunc(changes, func(l *configv1.PlannedChange) bool { return l.GetKind() != string(resource.KindAlert) }) {
		return r.path("alerts")
	}
	var syncs []string
	for _, l := range changes {
		if l.GetKind() == string(resource.KindSync) && l.GetAction() != configv1.Action_ACTION_DELETE {
			syncs = append(syncs, l.GetId())
		}
	}
	if len(syncs) == 1 {
		return r.path("syncs", syncs[0])
	}
	return r.path("syncs")
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// download is a text that the browser keeps.
type download struct{ name, content string }

func (f download) write(_ *Console, w http.ResponseWriter, _ *request) error {
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+f.name+`"`)
	_, _ = w.Write([]byte(f.content)) // who has left needs no answer
	return nil
}

// exportDocuments answers everything of the workspace as documents that can be applied again.
func (c *Console) exportDocuments(r *request) (view, error) {
	res, err := c.config.Export(r.Context(), &configv1.ExportRequest{Workspace: r.workspace})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	texts := make([]string, 0, len(res.GetDocuments()))
	for _, d := range res.GetDocuments() {
		texts = append(texts, strings.TrimRight(d.GetContent(), "\n")+"\n")
	}
	return download{"millrace.yaml", strings.Join(texts, "---\n")}, nil
}
