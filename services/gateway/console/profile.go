package console

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
)

// Bounds of what a profile's page shows; the rest is counted.
const (
	shownAttributes = 500
	shownIdentities = 200
	shownCell       = 400 // characters
	shownData       = 4000
	eventsOnPage    = 25
	mergesOnPage    = 25
	shownGroups     = 20
	modelsAsked     = 1000
)

type profilePage struct {
	Workspace      string
	Env            dataSet
	Profile        *ingestionv1.Profile
	Asked          string // the mpid that was asked for, where it is merged into this one
	Identities     []*ingestionv1.Identity
	MoreIdentities int
	Attributes     []profileValue
	MoreAttributes int
	Groups         []groupRow
	NoGroups       string // why its groups are not known; empty: they are
	Events         []eventRow
	OlderEvents    string // where they are; empty: nowhere
	Merges         []mergeRow
	OlderMerges    string
}

// cutText is a value as a page shows it, cut where it is long.
type cutText struct {
	Text string
	Of   int // characters of the whole; 0: nothing is cut
}

func cutTo(s string, most int) cutText {
	if len(s) <= most {
		return cutText{Text: s}
	}
	n := utf8.RuneCountInString(s)
	if n <= most {
		return cutText{Text: s}
	}
	return cutText{Text: short(most, s), Of: n}
}

// profileValue is an attribute with where its value came from.
type profileValue struct {
	Name  cutText
	Value cutText
	From  *ingestionv1.Provenance // nil: not known
	Keys  cutText
}

// groupRow is a group that a profile is in.
type groupRow struct {
	Type       string
	ID         cutText
	Known      bool // some row brought the group itself
	Attributes []profileValue
	More       int
}

// eventRow is an event of a profile.
type eventRow struct {
	Time       *moment
	Type, Name cutText
	Attributes cutText
	Data       cutText
	Lookups    []lookupRow
	Sync, Run  string
	ID         string
}

// lookupRow is the row of a lookup table that an event names.
type lookupRow struct {
	Model string
	Row   cutText
}

// mergeRow is an entry of the log of merges.
type mergeRow struct {
	Merge *ingestionv1.Merge
	What  cutText
	Keys  cutText
	Undo  bool // it can be undone
}

func (c *Console) showProfile(r *request) (view, error) { return c.profileView(r, nil) }

// profileView answers the page of a profile, under what went wrong when something was to be done to it.
func (c *Console) profileView(r *request, failure error) (view, error) {
	ctx, env, mpid := r.Context(), dataSetOf(r), r.PathValue("mpid")
	q := r.URL.Query()
	res, err := c.ingestion.GetProfile(ctx, &ingestionv1.GetProfileRequest{Workspace: r.workspace, Environment: env.environment(), Mpid: mpid})
	if err != nil {
		if failure != nil {
			return nil, failure
		}
		return nil, err //nolint:wrapcheck // classified
	}
	x := res.GetProfile()
	p := profilePage{Workspace: r.workspace, Env: env, Profile: x}
	if x.GetMpid() != mpid {
		p.Asked = mpid
	}
	n := min(len(x.GetIdentities()), shownIdentities)
	p.Identities, p.MoreIdentities = x.GetIdentities()[:n], len(x.GetIdentities())-n
	p.Attributes, p.MoreAttributes = profileValues(x.GetUserAttributes(), x.GetProvenance(), shownAttributes)
	p.Groups, err = c.groupsOf(ctx, r.workspace, env, x.GetUserAttributes())
	switch {
	case isAway(err) && ctx.Err() == nil:
		p.NoGroups = failureOf(err).Message
	case err != nil:
		return nil, err
	}
	events, err := c.ingestion.ListProfileEvents(ctx, &ingestionv1.ListProfileEventsRequest{
		Workspace: r.workspace, Environment: env.environment(), Mpid: mpid, PageSize: eventsOnPage, PageToken: q.Get("events"),
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	for _, e := range events.GetEvents() {
		p.Events = append(p.Events, eventRowOf(e))
	}
	merges, err := c.ingestion.ListMerges(ctx, &ingestionv1.ListMergesRequest{
		Workspace: r.workspace, Environment: env.environment(), Mpid: mpid, PageSize: mergesOnPage, PageToken: q.Get("merges"),
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	for _, m := range merges.GetMerges() {
		p.Merges = append(p.Merges, mergeRowOf(m))
	}
	own := r.path("profiles", mpid)
	if next := events.GetNextPageToken(); next != "" {
		p.OlderEvents = own + env.Query("events", next) + "#events"
	}
	if next := merges.GetNextPageToken(); next != "" {
		p.OlderMerges = own + env.Query("merges", next) + "#merges"
	}
	return page{name: "profile", title: "Profile " + x.GetMpid(), section: "profiles", data: p, failure: failure}, nil
}

// profileValues answers attributes by their names, at most n, and how many more there are.
func profileValues(s *structpb.Struct, from map[string]*ingestionv1.Provenance, n int) ([]profileValue, int) {
	names := slices.Sorted(maps.Keys(s.GetFields()))
	var out []profileValue
	for _, name := range names[:min(len(names), n)] {
		out = append(out, profileValue{
			Name: cutTo(name, shownCell), Value: cutTo(valueText(s.GetFields()[name]), shownCell),
			From: from[name], Keys: cutTo(strings.Join(from[name].GetKeyValues(), ", "), shownCell),
		})
	}
	return out, len(names) - len(out)
}

// groupsOf answers the groups that attributes name: those of the name of a group type of some data model.
func (c *Console) groupsOf(ctx context.Context, workspace string, env dataSet, attributes *structpb.Struct) ([]groupRow, error) {
	models, err := c.config.ListDataModels(ctx, &configv1.ListDataModelsRequest{Workspace: workspace, PageSize: modelsAsked})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	types := map[string]bool{}
	for _, m := range models.GetDataModels() {
		if t := m.GetGroupType(); t != "" && attributes.GetFields()[t] != nil {
			types[t] = true
		}
	}
	var out []groupRow
	for _, t := range slices.Sorted(maps.Keys(types)) {
		for _, id := range groupIDs(attributes.GetFields()[t]) {
			if len(out) == shownGroups {
				return out, nil
			}
			row, err := c.groupOf(ctx, workspace, env, t, id)
			if err != nil {
				return nil, err
			}
			out = append(out, row)
		}
	}
	return out, nil
}

func (c *Console) groupOf(ctx context.Context, workspace string, env dataSet, groupType, id string) (groupRow, error) {
	row := groupRow{Type: groupType, ID: cutTo(id, shownCell)}
	res, err := c.ingestion.GetGroup(ctx, &ingestionv1.GetGroupRequest{Workspace: workspace, Environment: env.environment(), GroupType: groupType, GroupId: id})
	if fault.ClassOf(fault.FromStatus(err)) == fault.NotFound {
		return row, nil
	}
	if err != nil {
		return row, err //nolint:wrapcheck // classified
	}
	row.Known = true
	row.Attributes, row.More = profileValues(res.GetGroup().GetAttributes(), res.GetGroup().GetProvenance(), shownGroups)
	return row, nil
}

// groupIDs answers the ids of groups that an attribute holds, alone or in a list.
func groupIDs(v *structpb.Value) []string {
	var out []string
	for _, x := range append([]*structpb.Value{v}, v.GetListValue().GetValues()...) {
		if x.GetListValue() != nil || x.GetStructValue() != nil {
			continue
		}
		if text := valueText(x); text != "" && text != "null" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

func eventRowOf(e *ingestionv1.Event) eventRow {
	f := e.GetData().GetFields()
	row := eventRow{
		Time: eventTime(f["timestamp_unixtime_ms"]), Type: cutTo(e.GetEventType(), shownCell), Name: cutTo(valueText(f["event_name"]), shownCell),
		Data: cutTo(valueText(structpb.NewStructValue(e.GetData())), shownData), Sync: e.GetSync(), Run: e.GetRun(), ID: e.GetId(),
	}
	if a := f["custom_attributes"]; a != nil {
		row.Attributes = cutTo(valueText(a), shownCell)
	}
	for _, model := range slices.Sorted(maps.Keys(e.GetLookups())) {
		row.Lookups = append(row.Lookups, lookupRow{model, cutTo(valueText(structpb.NewStructValue(e.GetLookups()[model])), shownCell)})
	}
	return row
}

// eventTime answers an event's instant, which travels in milliseconds as a number, or as text where it is large.
func eventTime(v *structpb.Value) *moment {
	if v == nil {
		return nil
	}
	ms := int64(v.GetNumberValue())
	if text := v.GetStringValue(); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil
		}
		ms = n
	}
	at := time.UnixMilli(ms).UTC()
	return &moment{UTC: at.Format("2006-01-02 15:04:05.000") + " UTC", Machine: at.Format(time.RFC3339Nano)}
}

func mergeRowOf(m *ingestionv1.Merge) mergeRow {
	return mergeRow{
		Merge: m, What: cutTo(mergeText(m), shownData), Keys: cutTo(strings.Join(m.GetKeyValues(), ", "), shownCell),
		Undo: m.GetKind() == "merged" && !m.GetErased() && m.GetUndoTime() == nil,
	}
}

// mergeText says in words what an entry of the log of merges is.
func mergeText(m *ingestionv1.Merge) string {
	others := strings.Join(m.GetOthers(), ", ")
	if m.GetErased() {
		return fmt.Sprintf("%s: %s and %s, by %s; somebody in it was erased, and its values with them", m.GetKind(), m.GetMpid(), others, m.GetRule())
	}
	switch m.GetKind() {
	case "merged":
		moved := make([]string, len(m.GetMoved()))
		for i, x := range m.GetMoved() {
			moved[i] = identityText(x)
		}
		return fmt.Sprintf("%s was merged into %s by strategy %s: %s glues them; moved %s", others, m.GetMpid(), m.GetRule(), identityText(m.GetGlue()), strings.Join(moved, ", "))
	case "stopped":
		by := m.GetRule()
		if m.GetLimit() != "" {
			by += " (" + m.GetLimit() + ")"
		}
		return fmt.Sprintf("%s were not merged by rule %s: %s was left out, the row went to %s", others, by, identityText(m.GetGlue()), m.GetMpid())
	default:
		return fmt.Sprintf("%s goes on from %s by strategy %s: %s links them", m.GetMpid(), others, m.GetRule(), identityText(m.GetGlue()))
	}
}

func identityText(i *ingestionv1.Identity) string { return i.GetType() + "=" + i.GetValue() }

// unmergeProfile takes a merge back.
func (c *Console) unmergeProfile(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	env := dataSetOf(r)
	_, err := c.ingestion.UndoMerge(r.Context(), &ingestionv1.UndoMergeRequest{Workspace: r.workspace, Environment: env.environment(), Merge: r.PostFormValue("merge")})
	if err != nil {
		return c.profileView(r, err)
	}
	return seeOther(r.path("profiles", r.PathValue("mpid")) + env.Query("done", "unmerged")), nil
}
