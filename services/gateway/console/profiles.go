package console

import (
	"net/url"
	"slices"
	"strings"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/identity"
)

const (
	profilesOnPage    = 50
	identitiesInShort = 4
)

func (c *Console) profileRoutes() []route {
	return []route{
		{"GET /w/{workspace}/profiles", c.listProfiles},
		{"POST /w/{workspace}/profiles", c.findProfile},
		{"GET /w/{workspace}/profiles/{mpid}", c.showProfile},
		{"POST /w/{workspace}/profiles/{mpid}/unmerge", c.unmergeProfile},
	}
}

// dataSet is the data set that a page of profiles is of: prod or dev.
type dataSet string

func dataSetOf(r *request) dataSet {
	if r.FormValue("env") == "dev" {
		return "dev"
	}
	return "prod"
}

func (d dataSet) environment() configv1.Environment {
	if d == "dev" {
		return configv1.Environment_ENVIRONMENT_DEV
	}
	return configv1.Environment_ENVIRONMENT_PROD
}

// Query answers the data set as addresses have it, with further names and values: ?env=dev; empty where it is the one that
// is meant anyway.
func (d dataSet) Query(pairs ...string) string {
	q := url.Values{}
	if d == "dev" {
		q.Set("env", "dev")
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

type profilesPage struct {
	Workspace string
	Env       dataSet
	Types     []string // of identities, to choose from
	Type      string
	Value     string // what was asked for and not found
	Rows      []profileRow
	First     bool
	Older     string // where the next profiles are; empty: nowhere
}

// profileRow is a profile in the list.
type profileRow struct {
	Profile *ingestionv1.Profile
	Shown   []*ingestionv1.Identity
	More    int
	Path    string
}

func (c *Console) listProfiles(r *request) (view, error) { return c.profilesView(r, nil) }

func (c *Console) profilesView(r *request, failure error) (view, error) {
	env := dataSetOf(r)
	token := r.URL.Query().Get("page")
	p := profilesPage{Workspace: r.workspace, Env: env, Types: slices.Concat(identity.Types(), identity.DeviceTypes(), []string{identity.MPID}), Type: "customer_id", First: token == ""}
	if failure != nil {
		p.Type, p.Value = r.PostFormValue("type"), r.PostFormValue("value")
	}
	res, err := c.ingestion.ListProfiles(r.Context(), &ingestionv1.ListProfilesRequest{
		Workspace: r.workspace, Environment: env.environment(), PageSize: profilesOnPage, PageToken: token,
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	for _, x := range res.GetProfiles() {
		ids := x.GetIdentities()
		n := min(len(ids), identitiesInShort)
		p.Rows = append(p.Rows, profileRow{Profile: x, Shown: ids[:n], More: len(ids) - n, Path: r.path("profiles", x.GetMpid()) + env.Query()})
	}
	if next := res.GetNextPageToken(); next != "" {
		p.Older = r.path("profiles") + env.Query("page", next)
	}
	return page{name: "profiles", title: "Profiles", section: "profiles", data: p, failure: failure}, nil
}

// findProfile leads to the profile that an identity belongs to. The value is posted: no address, and so no log, has it.
func (c *Console) findProfile(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	env := dataSetOf(r)
	res, err := c.ingestion.GetProfile(r.Context(), &ingestionv1.GetProfileRequest{
		Workspace: r.workspace, Environment: env.environment(),
		Identity: &ingestionv1.Identity{Type: strings.TrimSpace(r.PostFormValue("type")), Value: r.PostFormValue("value")},
	})
	if err != nil {
		return c.profilesView(r, err)
	}
	return seeOther(r.path("profiles", res.GetProfile().GetMpid()) + env.Query()), nil
}
