package console

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

// newFeed is the choice of a feed that is made with the settings.
const newFeed = "+new"

const choicesOnPage = 500 // feeds, and syncs to wait for

// settingsPage asks how rows come in: as which input, in which mode, and when.
type settingsPage struct {
	wizardStep
	Etag                 string
	NameInput            input
	Feeds                []option
	NewFeed              input
	Environments, Guards []option
	FeedIsNew            bool
	Modes                []option
	OnDelete, Engines    []option
	Iterator             *configv1.Iterator
	When                 map[string]bool // which form of schedule is chosen
	Every, Start         string
	Cron, Zone, Once     string
	After                []option
	From, Until          string
	Lookback, Delay      string
	Wrong                wrongs
	FeedWrong            wrongs
}

// typedSettings are a sync and perhaps its new feed as a form has them.
type typedSettings struct {
	sync *configv1.Sync
	feed *configv1.Feed // nil: an existing one
	when string
	text map[string]string // instants as they were typed
	bad  *faults
}

func (c *Console) editSettings(r *request) (view, error) {
	d, err := c.draft(r)
	if err != nil {
		return nil, err
	}
	t := typedSettings{sync: d.Sync, when: whenOf(d.Sync.GetSchedule()), text: map[string]string{}}
	if d.Sync == nil {
		t.sync, t.when = firstSettings(d), "on_demand"
	}
	for name, at := range map[string]*timestamppb.Timestamp{
		"from": t.sync.GetFrom(), "until": t.sync.GetUntil(), "once": t.sync.GetSchedule().GetOnce(), "start": t.sync.GetSchedule().GetEvery().GetStart(),
	} {
		t.text[name] = instantText(at)
	}
	return c.settingsView(r, d, t, nil)
}

// firstSettings are those that a form begins with.
func firstSettings(d *draft) *configv1.Sync {
	s := &configv1.Sync{Meta: &configv1.Meta{DisplayName: d.Name()}, Mode: configv1.Mode_MODE_FULL}
	if d.Model.GetIterator().GetColumn() != "" {
		s.Mode = configv1.Mode_MODE_INCREMENTAL
	}
	return s
}

func whenOf(s *configv1.Schedule) string {
	switch {
	case s.GetEvery() != nil:
		return "every"
	case s.GetCron() != nil:
		return "cron"
	case s.GetOnce() != nil:
		return "once"
	case s.GetAfter() != nil:
		return "after"
	}
	return "on_demand"
}

// instantText writes an instant as a form takes it; a midnight as a date.
func instantText(t *timestamppb.Timestamp) string {
	if t == nil || !t.IsValid() {
		return ""
	}
	at := t.AsTime()
	if at.Equal(at.Truncate(24 * time.Hour)) {
		return at.Format(time.DateOnly)
	}
	return at.Format(time.RFC3339Nano)
}

// instant reads an RFC 3339 instant, or a date or local time, which are UTC.
func (f *faults) instant(field, text string) *timestamppb.Timestamp {
	if text == "" {
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly, "2006-01-02T15:04", "2006-01-02 15:04", time.DateTime} {
		if at, err := time.Parse(layout, text); err == nil {
			return timestamppb.New(at)
		}
	}
	f.add(field, fmt.Sprintf("%q is no instant", short(64, text)), "write 2026-01-31, or 2026-01-31T08:00:00Z")
	return nil
}

// settingsView shows settings in the form, with what is wrong about them.
func (c *Console) settingsView(r *request, d *draft, t typedSettings, failure error) (view, error) {
	ctx := r.Context()
	feeds, err := c.config.ListFeeds(ctx, &configv1.ListFeedsRequest{Workspace: r.workspace, PageSize: choicesOnPage})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	syncs, err := c.config.ListSyncs(ctx, &configv1.ListSyncsRequest{Workspace: r.workspace, PageSize: choicesOnPage})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	s, when := t.sync, t.sync.GetSchedule()
	p := settingsPage{
		wizardStep: r.steps(d, "settings"), Etag: s.GetMeta().GetEtag(), Iterator: d.Model.GetIterator(), When: map[string]bool{t.when: true},
		Feeds: feedOptions(feeds.GetFeeds(), s.GetFeed(), t.feed != nil), FeedIsNew: t.feed != nil,
		NewFeed:      input{Name: "new_feed", Label: "Id of the new feed", Kind: inputText, Value: t.feed.GetMeta().GetId(), Wrong: wrongsOf(failure, kindFeed)["id"]},
		Environments: options(word(t.feed.GetEnvironment()), "prod", "dev"),
		Guards:       options(word(t.feed.GetInputProtection()), "create_and_update", "update_only", "read_only"),
		Modes:        options(word(s.GetMode()), "incremental", "full", "mirror"),
		OnDelete:     options(word(s.GetOnDelete()), "withdraw", "delete_profile"),
		Engines:      options(word(s.GetMirrorEngine()), "row_index", "diff", "native"),
		Every:        when.GetEvery().GetEvery(), Start: t.text["start"], Cron: when.GetCron().GetExpression(), Zone: when.GetCron().GetTimeZone(), Once: t.text["once"],
		From: t.text["from"], Until: t.text["until"], Lookback: s.GetLookback(), Delay: s.GetDelay(), Wrong: wrongsOf(failure, ""), FeedWrong: wrongsOf(failure, kindFeed),
	}
	p.NameInput = input{Name: "display_name", Label: "Name", Kind: inputText, Required: true, Value: s.GetMeta().GetDisplayName(), Wrong: wrongsOf(failure, kindSync)["display_name"]}
	p.sayModes()
	for _, other := range syncs.GetSyncs() {
		if id := other.GetMeta().GetId(); id != d.ID {
			p.After = append(p.After, option{Value: id, Text: other.GetMeta().GetDisplayName(), Chosen: slices.Contains(when.GetAfter().GetSyncs(), id)})
		}
	}
	return page{name: "wizard_settings", title: "Settings", section: "syncs", data: p, failure: failure}, nil
}

// sayModes puts what modes and their settings mean in place of their words.
func (p *settingsPage) sayModes() {
	for i, m := range []configv1.Mode{configv1.Mode_MODE_INCREMENTAL, configv1.Mode_MODE_FULL, configv1.Mode_MODE_MIRROR} {
		p.Modes[i].Text = modeText(m)
	}
	for i, e := range []configv1.MirrorEngine{configv1.MirrorEngine_MIRROR_ENGINE_ROW_INDEX, configv1.MirrorEngine_MIRROR_ENGINE_DIFF, configv1.MirrorEngine_MIRROR_ENGINE_NATIVE} {
		p.Engines[i].Text = engineText(e)
	}
	for i, o := range []configv1.OnDelete{configv1.OnDelete_ON_DELETE_WITHDRAW, configv1.OnDelete_ON_DELETE_DELETE_PROFILE} {
		p.OnDelete[i].Text = onDeleteText(o)
	}
}

// feedOptions offers the feeds of the workspace; without one of that id, default stands for the built-in one.
func feedOptions(feeds []*configv1.Feed, chosen string, isNew bool) []option {
	if chosen == "" {
		chosen = resource.DefaultFeed
	}
	own := slices.ContainsFunc(feeds, func(f *configv1.Feed) bool { return f.GetMeta().GetId() == resource.DefaultFeed })
	if !own {
		builtIn := resource.BuiltInFeed()
		feeds = append([]*configv1.Feed{resourcepb.ToFeed(builtIn)}, feeds...)
	}
	var out []option
	for _, f := range feeds {
		id := f.GetMeta().GetId()
		out = append(out, option{Value: id, Text: id + ": " + say(f.GetEnvironment()) + ", " + say(f.GetInputProtection()), Chosen: !isNew && id == chosen})
	}
	return append(out, option{Value: newFeed, Text: "a new feed", Chosen: isNew})
}

// readSettings reads the form over what is stored.
func (r *request) readSettings(d *draft) typedSettings {
	t := typedSettings{text: map[string]string{}, when: r.PostFormValue("when"), bad: &faults{kind: kindSync, id: d.ID}}
	for _, name := range []string{"from", "until", "once", "start"} {
		t.text[name] = r.text(name)
	}
	s := &configv1.Sync{
		Meta:      &configv1.Meta{Id: d.ID, DisplayName: r.text("display_name"), Etag: r.PostFormValue("etag")},
		DataModel: d.Model.GetMeta().GetId(), Mapping: d.Mapping.GetMeta().GetId(), Feed: r.PostFormValue("feed"),
		Mode:     configv1.Mode(configv1.Mode_value["MODE_"+strings.ToUpper(r.PostFormValue("mode"))]),
		Lookback: r.text("lookback"), Delay: r.text("delay"), From: t.bad.instant("from", t.text["from"]), Until: t.bad.instant("until", t.text["until"]),
		Schedule: r.readSchedule(t),
	}
	if s.GetMode() == configv1.Mode_MODE_MIRROR {
		s.OnDelete = configv1.OnDelete(configv1.OnDelete_value["ON_DELETE_"+strings.ToUpper(r.PostFormValue("on_delete"))]).Enum()
		s.MirrorEngine = configv1.MirrorEngine(configv1.MirrorEngine_value["MIRROR_ENGINE_"+strings.ToUpper(r.PostFormValue("mirror_engine"))]).Enum()
	}
	switch s.GetFeed() {
	case resource.DefaultFeed:
		s.Feed = ""
	case newFeed:
		s.Feed = r.text("new_feed")
		t.feed = &configv1.Feed{
			Meta:            &configv1.Meta{Id: s.GetFeed(), DisplayName: s.GetFeed()},
			Environment:     configv1.Environment(configv1.Environment_value["ENVIRONMENT_"+strings.ToUpper(r.PostFormValue("environment"))]),
			InputProtection: configv1.InputProtection(configv1.InputProtection_value["INPUT_PROTECTION_"+strings.ToUpper(r.PostFormValue("input_protection"))]),
		}
	}
	t.sync = s
	return t
}

func (r *request) readSchedule(t typedSettings) *configv1.Schedule {
	switch t.when {
	case "every":
		return &configv1.Schedule{When: &configv1.Schedule_Every{Every: &configv1.Every{Every: r.text("every"), Start: t.bad.instant("schedule.start", t.text["start"])}}}
	case "cron":
		return &configv1.Schedule{When: &configv1.Schedule_Cron{Cron: &configv1.Cron{Expression: r.text("cron"), TimeZone: r.text("zone")}}}
	case "once":
		if t.text["once"] == "" {
			t.bad.add("schedule.once", "is missing", "say when")
		}
		return &configv1.Schedule{When: &configv1.Schedule_Once{Once: t.bad.instant("schedule.once", t.text["once"])}}
	case "after":
		return &configv1.Schedule{When: &configv1.Schedule_After{After: &configv1.After{Syncs: r.PostForm["after"]}}}
	}
	return &configv1.Schedule{When: &configv1.Schedule_OnDemand{OnDemand: &configv1.OnDemand{}}}
}

// updateSettings stores the form: the first time it makes the sync, as a draft.
func (c *Console) updateSettings(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	d, err := c.draft(r)
	if err != nil {
		return nil, err
	}
	t := r.readSettings(d)
	if r.act() == "show" {
		return c.settingsView(r, d, t, nil)
	}
	if err := c.storeSettings(r, d, t); err != nil {
		return c.settingsView(r, d, t, err)
	}
	return seeOther(r.path("new", d.ID, "review")), nil
}

// storeSettings stores a new feed and the sync, once nothing is wrong with either by itself.
func (c *Console) storeSettings(r *request, d *draft, t typedSettings) error {
	if err := t.check(); err != nil {
		return err
	}
	if t.feed != nil {
		if _, err := c.config.CreateFeed(r.Context(), &configv1.CreateFeedRequest{Workspace: r.workspace, Feed: t.feed}); err != nil {
			return err //nolint:wrapcheck // classified
		}
	}
	if d.Sync == nil {
		_, err := c.config.CreateSync(r.Context(), &configv1.CreateSyncRequest{Workspace: r.workspace, Sync: t.sync})
		return err //nolint:wrapcheck // classified
	}
	paths := []string{"meta.display_name", "feed", "mode", "schedule", "from", "until", "lookback", "delay", "on_delete", "mirror_engine"}
	_, err := c.config.UpdateSync(r.Context(), &configv1.UpdateSyncRequest{Workspace: r.workspace, Sync: t.sync, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	return err //nolint:wrapcheck // classified
}

// check reports all that is wrong with what was typed, by itself.
func (t typedSettings) check() error {
	all := *t.bad
	said := map[string]bool{}
	for _, v := range all.out {
		said[v.Field] = true
	}
	sync := resourcepb.OfSync(t.sync)
	sync.Normalize()
	for _, v := range append(resourcepb.CheckSync(t.sync), sync.Validate()...) {
		if !said[v.Field] {
			v.Kind, v.ID = kindSync, t.sync.GetMeta().GetId()
			all.out, said[v.Field] = append(all.out, v), true
		}
	}
	if t.feed != nil {
		feed := resourcepb.OfFeed(t.feed)
		feed.Normalize()
		all.out = append(all.out, feed.Validate()...)
	}
	return all.err()
}
