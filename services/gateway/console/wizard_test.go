package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	"millrace.dev/pkg/fault"
)

// shelf is a config service that keeps one connection and what the wizard stores, with a warehouse and a mapper behind it.
type shelf struct {
	models   map[string]*configv1.DataModel
	mappings map[string]*configv1.Mapping
	syncs    map[string]*configv1.Sync
	feeds    []*configv1.Feed
	asked    int                                // how often the warehouse was asked for rows
	mapped   *mapperv1.PreviewMappingRequest    // the last one
	used     string                             // the mapping that another sync uses
	refuse   error                              // of the mapper
	sample   *configv1.PreviewDataModelResponse // of the warehouse
	warnings []string                           // of the activation
	told     *configv1.PreviewSyncResponse      // of the sample profiles
}

func newShelf() *shelf {
	row, _ := structpb.NewStruct(map[string]any{"id": 7, "email": "ann@example.com", "note": "<script>alert(1)</script>" + strings.Repeat("x", 10_000), "gone": nil})
	return &shelf{
		models: map[string]*configv1.DataModel{}, mappings: map[string]*configv1.Mapping{}, syncs: map[string]*configv1.Sync{},
		sample: &configv1.PreviewDataModelResponse{Arrow: []byte("rows"), Rows: []*structpb.Struct{row}, Columns: []*configv1.Column{
			{Name: "id", Type: "BIGINT"}, {Name: "email", Type: "VARCHAR", Nullable: true}, {Name: "note", Type: "VARCHAR"}, {Name: "gone", Type: "INTEGER"}, {Name: "updated_at", Type: "TIMESTAMP WITH TIME ZONE"},
		}},
	}
}

func notThere() error {
	return fault.New(fault.NotFound, fault.ReasonNotFound, "there is none of that id")
}

// keep stores a resource under its id with a new etag, as the config service does.
func keep[M proto.Message](in map[string]M, meta *configv1.Meta, m M) {
	meta.Etag += "x"
	in[meta.GetId()] = proto.CloneOf(m)
}

func (s *shelf) answers() answers {
	return answers{
		"ListConnections": says(&configv1.ListConnectionsResponse{Connections: []*configv1.Connection{appDB()}}),
		"GetConnection":   says(&configv1.GetConnectionResponse{Connection: appDB()}),
		"ListTables":      says(&configv1.ListTablesResponse{Tables: []*configv1.Table{{Name: "public.people", Columns: []*configv1.Column{{Name: "id", Type: "bigint"}}}}}),
		"ListSyncs": func(any) (proto.Message, error) {
			out := &configv1.ListSyncsResponse{}
			for _, m := range s.syncs {
				out.Syncs = append(out.Syncs, m)
			}
			return out, nil
		},
		"ListDataModels": func(any) (proto.Message, error) {
			out := &configv1.ListDataModelsResponse{}
			for _, m := range s.models {
				out.DataModels = append(out.DataModels, m)
			}
			return out, nil
		},
		"ListFeeds": func(any) (proto.Message, error) { return &configv1.ListFeedsResponse{Feeds: s.feeds}, nil },
		"GetDataModel": func(in any) (proto.Message, error) {
			m, ok := s.models[in.(*configv1.GetDataModelRequest).GetId()]
			if !ok {
				return nil, notThere()
			}
			return &configv1.GetDataModelResponse{DataModel: m}, nil
		},
		"GetMapping": func(in any) (proto.Message, error) {
			m, ok := s.mappings[in.(*configv1.GetMappingRequest).GetId()]
			if !ok {
				return nil, notThere()
			}
			return &configv1.GetMappingResponse{Mapping: m}, nil
		},
		"GetSync": func(in any) (proto.Message, error) {
			m, ok := s.syncs[in.(*configv1.GetSyncRequest).GetId()]
			if !ok {
				return nil, notThere()
			}
			return &configv1.GetSyncResponse{Sync: m}, nil
		},
		"CreateDataModel": func(in any) (proto.Message, error) {
			m := in.(*configv1.CreateDataModelRequest).GetDataModel()
			keep(s.models, m.GetMeta(), m)
			return &configv1.CreateDataModelResponse{DataModel: m}, nil
		},
		"UpdateDataModel": func(in any) (proto.Message, error) {
			m := in.(*configv1.UpdateDataModelRequest).GetDataModel()
			if m.GetMeta().GetEtag() != s.models[m.GetMeta().GetId()].GetMeta().GetEtag() {
				return nil, fault.New(fault.Conflict, fault.ReasonStaleEtag, "the data model has changed")
			}
			keep(s.models, m.GetMeta(), m)
			return &configv1.UpdateDataModelResponse{DataModel: m}, nil
		},
		"CreateMapping": func(in any) (proto.Message, error) {
			m := in.(*configv1.CreateMappingRequest).GetMapping()
			keep(s.mappings, m.GetMeta(), m)
			return &configv1.CreateMappingResponse{Mapping: m}, nil
		},
		"UpdateMapping": func(in any) (proto.Message, error) {
			m := in.(*configv1.UpdateMappingRequest).GetMapping()
			keep(s.mappings, m.GetMeta(), m)
			return &configv1.UpdateMappingResponse{Mapping: m}, nil
		},
		"DeleteMapping": func(in any) (proto.Message, error) {
			id := in.(*configv1.DeleteMappingRequest).GetId()
			if id == s.used {
				return nil, fault.New(fault.Precondition, fault.ReasonInUse, "the mapping is used by another sync")
			}
			delete(s.mappings, id)
			return &configv1.DeleteMappingResponse{}, nil
		},
		"DeleteDataModel": func(in any) (proto.Message, error) {
			delete(s.models, in.(*configv1.DeleteDataModelRequest).GetId())
			return &configv1.DeleteDataModelResponse{}, nil
		},
		"DeleteSync": func(in any) (proto.Message, error) {
			delete(s.syncs, in.(*configv1.DeleteSyncRequest).GetId())
			return &configv1.DeleteSyncResponse{}, nil
		},
		"CreateFeed": func(in any) (proto.Message, error) {
			s.feeds = append(s.feeds, in.(*configv1.CreateFeedRequest).GetFeed())
			return &configv1.CreateFeedResponse{}, nil
		},
		"CreateSync": func(in any) (proto.Message, error) {
			m := in.(*configv1.CreateSyncRequest).GetSync()
			m.State = configv1.SyncState_SYNC_STATE_DRAFT
			keep(s.syncs, m.GetMeta(), m)
			return &configv1.CreateSyncResponse{Sync: m}, nil
		},
		"UpdateSync": func(in any) (proto.Message, error) {
			r := in.(*configv1.UpdateSyncRequest)
			m := proto.CloneOf(s.syncs[r.GetSync().GetMeta().GetId()])
			if r.GetUpdateMask().GetPaths()[0] == "mapping" {
				m.Mapping = r.GetSync().GetMapping()
			} else {
				m = r.GetSync()
				m.State = configv1.SyncState_SYNC_STATE_DRAFT
			}
			keep(s.syncs, m.GetMeta(), m)
			return &configv1.UpdateSyncResponse{Sync: m}, nil
		},
		"PreviewDataModel": func(in any) (proto.Message, error) {
			s.asked++
			if !in.(*configv1.PreviewDataModelRequest).GetWithArrow() {
				return nil, fault.New(fault.Internal, fault.ReasonInternal, "rows are wanted as Arrow")
			}
			if strings.Contains(s.models[in.(*configv1.PreviewDataModelRequest).GetId()].GetSql(), "peple") {
				return nil, fault.New(fault.Invalid, fault.ReasonQueryInvalid, "line 1: there is no table peple")
			}
			return s.sample, nil
		},
		"PreviewMapping": func(in any) (proto.Message, error) {
			s.mapped = proto.CloneOf(in.(*mapperv1.PreviewMappingRequest))
			if s.refuse != nil {
				return nil, s.refuse
			}
			record, _ := structpb.NewStruct(map[string]any{"user_identities": map[string]any{"email": "ann@example.com"}, "user_attributes": map[string]any{"long": strings.Repeat("y", 10_000)}})
			return &mapperv1.PreviewMappingResponse{Rows: []*mapperv1.MappedRow{{Record: record}, {Rejects: []*mapperv1.RejectReason{{Column: "note", Rule: "rules[1]", Reason: "is no number"}}}}}, nil
		},
		"PreviewSync": func(any) (proto.Message, error) {
			if s.told == nil {
				return nil, fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the warehouse is away")
			}
			return s.told, nil
		},
		"ActivateSync": func(in any) (proto.Message, error) {
			m := s.syncs[in.(*configv1.ActivateSyncRequest).GetId()]
			if s.refuse != nil {
				return nil, s.refuse
			}
			m.State = configv1.SyncState_SYNC_STATE_ACTIVE
			return &configv1.ActivateSyncResponse{Sync: m, Warnings: s.warnings}, nil
		},
	}
}

// begun is a console with a stored data model of the id people.
func begun(t *testing.T) (*Console, *shelf) {
	t.Helper()
	s := newShelf()
	m := &configv1.DataModel{Meta: &configv1.Meta{Id: "people", DisplayName: "People", Etag: "m1"}, Connection: "app_db", RecordKind: configv1.RecordKind_RECORD_KIND_USERS, Query: &configv1.DataModel_Sql{Sql: "SELECT * FROM people"}, KeyColumns: []string{"id"}}
	s.models["people"] = m
	return open(t, s.answers()), s
}

func TestTheWizardLeadsFromAConnectionToAnActiveSync(t *testing.T) {
	s := newShelf()
	c := open(t, s.answers())
	const at = "/w/default/new"
	require.Contains(t, get(t, c, at).Body.String(), `href="/w/default/new/model?connection=app_db"`)
	require.Contains(t, get(t, c, at+"/model?connection=app_db&table=public.people").Body.String(), `value="People"`)

	w := post(t, c, at+"/model", url.Values{"connection": {"app_db"}, "display_name": {"People"}, "source": {"table"}, "table": {"public.people"}, "act": {"run"}})
	require.Equal(t, "/w/default/new/people/model#sample", w.Header().Get("Location"), w.Body.String())
	body := get(t, c, at+"/people/model").Body.String()
	require.Contains(t, body, `aria-label="Key email"`)
	require.Contains(t, body, "TIMESTAMP WITH TIME ZONE")
	require.Contains(t, body, "NULL</span>")
	require.Contains(t, body, "10\u202f025 characters")
	require.NotContains(t, body, "<script>alert")
	require.Equal(t, 1, s.asked)

	w = post(t, c, at+"/people/model", url.Values{
		"etag": {"x"}, "display_name": {"People"}, "source": {"table"}, "table": {"public.people"},
		"columns": {"shown"}, "key": {"id"}, "iterator": {"updated_at"}, "iterator_type": {""}, "act": {"next"},
	})
	require.Equal(t, at+"/people/map", w.Header().Get("Location"), w.Body.String())
	require.Equal(t, configv1.IteratorType_ITERATOR_TYPE_TIMESTAMP, s.models["people"].GetIterator().GetType(), "as the column is")

	w = post(t, c, at+"/people/map", url.Values{
		"etag.model": {"xx"}, "record_kind": {"users"}, "by": {"rules"}, "rule": {"0", "1"},
		"form.0": {"column"}, "column.0": {"email"}, "to.0": {"user_identities.email"}, "transform.0": {"trim lower"},
		"form.1": {"unmapped"}, "to.1": {"user_attributes.*"}, "act": {"next"},
	})
	require.Equal(t, at+"/people/settings", w.Header().Get("Location"), w.Body.String())
	require.Equal(t, []string{"trim", "lower"}, s.mappings["people"].GetRules()[0].GetTransform())
	require.Equal(t, "$unmapped", s.mappings["people"].GetRules()[1].GetColumn())
	require.Equal(t, 1, s.asked, "the sample is kept")

	require.Contains(t, get(t, c, at+"/people/settings").Body.String(), `value="incremental" checked`)
	w = post(t, c, at+"/people/settings", url.Values{
		"display_name": {"People"}, "feed": {newFeed}, "new_feed": {"crm"}, "environment": {"dev"}, "input_protection": {"update_only"},
		"mode": {"incremental"}, "when": {"every"}, "every": {"hourly"}, "start": {"2026-01-01T00:15"}, "from": {"2024-01-01"}, "delay": {"30s"},
	})
	require.Equal(t, at+"/people/review", w.Header().Get("Location"), w.Body.String())
	require.Equal(t, configv1.Environment_ENVIRONMENT_DEV, s.feeds[0].GetEnvironment())
	require.Equal(t, "crm", s.syncs["people"].GetFeed())
	require.Equal(t, "people", s.syncs["people"].GetMapping())
	require.Equal(t, int64(1704067200), s.syncs["people"].GetFrom().GetSeconds())
	require.Contains(t, get(t, c, at).Body.String(), `href="/w/default/new/people/review"`, "a draft can be gone on with")

	body = get(t, c, at+"/people/review").Body.String()
	require.Contains(t, body, "<dd>hourly</dd>")
	require.Contains(t, body, "The warehouse is away")
	w = post(t, c, at+"/people/activate", url.Values{"etag": {s.syncs["people"].GetMeta().GetEtag()}})
	require.Equal(t, "/w/default/syncs/people?done=activated", w.Header().Get("Location"), w.Body.String())
}

func TestAFailingQueryIsToldBesideItself(t *testing.T) {
	c, s := begun(t)
	w := post(t, c, "/w/default/new/people/model", url.Values{"etag": {"m1"}, "display_name": {"People"}, "source": {"sql"}, "sql": {"SELECT * FROM peple"}, "act": {"run"}})
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), `id="sql.wrong"><li>line 1: there is no table peple`)
	require.Contains(t, w.Body.String(), "SELECT * FROM peple</textarea>")
	require.Contains(t, w.Body.String(), `name="etag" value="m1x"`, "what was typed is stored")
	require.Equal(t, 1, s.asked)
	w = post(t, c, "/w/default/new/people/model", url.Values{"etag": {"m1"}, "display_name": {"Typed"}, "source": {"sql"}, "sql": {"SELECT 1"}, "act": {"run"}})
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "Load it anew")
	require.Contains(t, w.Body.String(), `value="Typed"`)
}

func TestANewModelTakesNoIdOfAnother(t *testing.T) {
	c, s := begun(t)
	s.mappings["people"] = &configv1.Mapping{Meta: &configv1.Meta{Id: "people"}}
	w := post(t, c, "/w/default/new/model", url.Values{"connection": {"app_db"}, "display_name": {"people"}, "source": {"sql"}, "sql": {"SELECT 1"}, "act": {"run"}})
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "there is a data model people already; choose another id")
	require.Contains(t, w.Body.String(), "there is a mapping people already; choose another id")
}

func TestAWideQueryIsBounded(t *testing.T) {
	c, s := begun(t)
	s.sample = &configv1.PreviewDataModelResponse{Rows: []*structpb.Struct{{}}, EstimatedBytesScanned: proto.Int64(3 << 30)}
	for i := range 3000 {
		s.sample.Columns = append(s.sample.Columns, &configv1.Column{Name: fmt.Sprintf("c%d", i), Type: "INTEGER"})
	}
	body := get(t, c, "/w/default/new/people/model").Body.String()
	require.Contains(t, body, "would scan 3.0 GiB")
	require.Contains(t, body, "and 2\u202f960 more columns")
	require.Contains(t, body, "and 2\u202f000 more columns, which are not shown")
	require.Contains(t, body, "is not in the query", "the key is not")
	require.Contains(t, get(t, c, "/w/default/new/people/map").Body.String(), `class="of-column" list="column-names"`, "too many for a list to choose of")
}

func TestRulesAreAddedAndRemovedWithoutAScript(t *testing.T) {
	c, s := begun(t)
	form := url.Values{"etag.model": {"m1"}, "record_kind": {"users"}, "by": {"rules"}, "rule": {"0", "4"}, "form.0": {"column"}, "column.0": {"email"}, "to.0": {"first"}, "form.4": {"static"}, "value.4": {"shop & co"}, "to.4": {"second"}}
	show := func(act string) string {
		form.Set("act", act)
		w := post(t, c, "/w/default/new/people/map", form)
		require.Equal(t, http.StatusOK, w.Code)
		return w.Body.String()
	}
	rows := func(body string) int { return strings.Count(body, `name="rule"`) - 1 } // one is the template
	require.Equal(t, 3, rows(show("add")))
	require.Contains(t, show("show"), "shop &amp; co")
	left := show("remove.0")
	require.Equal(t, 1, rows(left))
	require.NotContains(t, left, `value="first"`)
	require.Contains(t, left, `aria-label="Remove rule 1"`)
	require.Contains(t, show("suggest"), `value="user_identities.email"`)
	form.Set("record_kind", "lookup")
	require.Contains(t, show("suggest"), `value="lookup.*"`)
	require.Empty(t, s.mappings, "nothing is stored yet")
}

func TestThePreviewFollowsWhatIsTyped(t *testing.T) {
	c, s := begun(t)
	form := url.Values{"record_kind": {"users"}, "by": {"rules"}, "rule": {"0"}, "form.0": {"static"}, "value.0": {"12.5"}, "value_type.0": {"number"}, "to.0": {"user_attributes.score"}, "default.0": {"[1"}}
	preview := func() string {
		w := post(t, c, "/w/default/new/people/map/preview", form)
		require.Equal(t, http.StatusOK, w.Code)
		return w.Body.String()
	}
	body := preview()
	require.InDelta(t, 12.5, s.mapped.GetMapping().GetRules()[0].GetStatic().GetNumberValue(), 0)
	require.Contains(t, body, "1 of 2</span> sample rows become records")
	require.Contains(t, body, "Column <bdi>note</bdi>: is no number")
	require.NotContains(t, body, "<html")
	require.Less(t, len(body), 20_000, "long values are cut")
	require.NotContains(t, body, "<script>alert")

	form.Set("value.0", "many")
	require.Contains(t, preview(), "<strong>Rule 1</strong> &#34;many&#34; is no number")
	form.Set("value.0", "1")
	s.refuse = fault.Of(fault.ReasonMappingInvalid, []fault.Violation{{Field: "rules[0].to", Message: "leads to no field", Fix: "mend it"}, {Field: "rules", Message: "leaves columns unused: note"}})
	body = preview()
	require.Contains(t, body, `data-rule-wrong="1"`)
	require.Contains(t, body, "leaves columns unused: note")
}

func TestAMappingIsRefusedWithAllThatIsWrongAndNothingIsStored(t *testing.T) {
	c, s := begun(t)
	w := post(t, c, "/w/default/new/people/map", url.Values{
		"etag.model": {"m1"}, "record_kind": {"groups"}, "by": {"rules"}, "rule": {"0", "1"}, "form.0": {"column"}, "column.0": {""}, "to.0": {"a"}, "form.1": {"static"}, "value.1": {"{"}, "value_type.1": {"json"}, "act": {"next"},
	})
	require.Equal(t, http.StatusBadRequest, w.Code)
	body := w.Body.String()
	require.Contains(t, body, "no column is chosen; choose one, or remove the rule")
	require.Contains(t, body, "is no JSON; write a list, an object or null, or choose text")
	require.Contains(t, body, "say what kind of groups the rows are")
	require.Equal(t, 2, strings.Count(body, `class="rule bad"`))
	require.Empty(t, s.mappings)
	require.Equal(t, configv1.RecordKind_RECORD_KIND_USERS, s.models["people"].GetRecordKind())
}

func TestAMappingCanGoBackToByName(t *testing.T) {
	c, s := begun(t)
	s.mappings["people"] = &configv1.Mapping{Meta: &configv1.Meta{Id: "people", Etag: "x"}, Rules: []*configv1.Rule{{Column: "email", To: "user_identities.email"}}}
	s.syncs["people"] = &configv1.Sync{Meta: &configv1.Meta{Id: "people"}, DataModel: "people", Mapping: "people"}
	w := post(t, c, "/w/default/new/people/map", url.Values{"etag.model": {"m1"}, "etag.mapping": {"x"}, "record_kind": {"users"}, "by": {"name"}, "act": {"save"}})
	require.Equal(t, "/w/default/new/people/map?done=saved", w.Header().Get("Location"), w.Body.String())
	require.Empty(t, s.mappings)
	require.Empty(t, s.syncs["people"].GetMapping())
}

func TestADraftIsDiscardedAsAWholeButForWhatOthersUse(t *testing.T) {
	c, s := begun(t)
	s.mappings["shared"] = &configv1.Mapping{Meta: &configv1.Meta{Id: "shared"}}
	s.syncs["people"] = &configv1.Sync{Meta: &configv1.Meta{Id: "people"}, DataModel: "people", Mapping: "shared", State: configv1.SyncState_SYNC_STATE_DRAFT}
	s.used = "shared"
	w := post(t, c, "/w/default/new/people/discard", nil)
	require.Equal(t, "/w/default/new?done=deleted", w.Header().Get("Location"), w.Body.String())
	require.Empty(t, s.models)
	require.Empty(t, s.syncs)
	require.Len(t, s.mappings, 1)

	c, s = begun(t)
	s.syncs["people"] = &configv1.Sync{Meta: &configv1.Meta{Id: "people"}, DataModel: "people", State: configv1.SyncState_SYNC_STATE_PAUSED}
	require.Equal(t, http.StatusConflict, post(t, c, "/w/default/new/people/discard", nil).Code)
	require.Len(t, s.models, 1)
}

func TestSettingsAreRefusedWithAllThatIsWrong(t *testing.T) {
	c, s := begun(t)
	w := post(t, c, "/w/default/new/people/settings", url.Values{
		"display_name": {"People"}, "feed": {newFeed}, "new_feed": {"CRM!"}, "environment": {"prod"}, "input_protection": {"read_only"}, "mode": {""}, "when": {"once"}, "once": {"soon"}, "lookback": {"a bit"}, "from": {"31/12/2024"},
	})
	require.Equal(t, http.StatusBadRequest, w.Code)
	for _, id := range []string{"new_feed", "mode", "once", "lookback", "from"} {
		require.Contains(t, w.Body.String(), `id="`+id+`.wrong"`)
	}
	require.Contains(t, w.Body.String(), `value="31/12/2024"`)
	require.Empty(t, s.syncs)
	require.Empty(t, s.feeds)
}

func TestTheReviewShowsWhatSampleRowsWouldDo(t *testing.T) {
	c, s := begun(t)
	s.syncs["people"] = &configv1.Sync{Meta: &configv1.Meta{Id: "people", Etag: "s1"}, DataModel: "people", Mode: configv1.Mode_MODE_FULL, State: configv1.SyncState_SYNC_STATE_DRAFT}
	row, _ := structpb.NewStruct(map[string]any{"id": 7})
	profile, _ := structpb.NewStruct(map[string]any{"mpid": "42"})
	identity, _ := structpb.NewStruct(map[string]any{"outcome": "merged", "merges": []any{map[string]any{"kind": "merged", "mpid": "42", "others": []any{"43"}, "rule": "default", "glue": map[string]any{"type": "email", "value": "ann@example.com"}}}})
	figures, _ := structpb.NewStruct(map[string]any{"creates": "1", "merges": "1"})
	s.told = &configv1.PreviewSyncResponse{Figures: figures, Rows: []*configv1.PreviewedRow{
		{Row: row, Record: row, Effect: "updated", Profile: profile, Identity: identity},
		{Row: row, Effect: "reject", Rejects: []string{"column id: is no text"}},
	}}
	body := get(t, c, "/w/default/new/people/review").Body.String()
	require.Contains(t, body, "identities: merged")
	require.Contains(t, body, "email=ann@example.com glues them")
	require.Contains(t, body, "column id: is no text")
	require.Contains(t, body, "1 profiles would be created")
	require.Contains(t, body, ">Activate</button>")
}

func TestARefusedActivationLeadsToTheSteps(t *testing.T) {
	c, s := begun(t)
	s.syncs["people"] = &configv1.Sync{Meta: &configv1.Meta{Id: "people", Etag: "s1"}, DataModel: "people", State: configv1.SyncState_SYNC_STATE_DRAFT}
	s.refuse = fault.Of(fault.ReasonInvalidArgument, []fault.Violation{
		{Kind: "DataModel", ID: "people", Field: "iterator", Message: "is missing"}, {Kind: "Mapping", ID: "people", Field: "rules[0].to", Message: "leads nowhere"}, {Kind: "Sync", ID: "people", Field: "mode", Message: "does not go"},
	})
	w := post(t, c, "/w/default/new/people/activate", url.Values{"etag": {"s1"}})
	require.Equal(t, http.StatusBadRequest, w.Code)
	for _, step := range []string{"model", "map", "settings"} {
		require.Contains(t, w.Body.String(), `<li><a href="/w/default/new/people/`+step+`">`)
	}
	s.refuse = nil
	w = post(t, c, "/w/default/new/people/activate", url.Values{"etag": {"older"}})
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, configv1.SyncState_SYNC_STATE_DRAFT, s.syncs["people"].GetState())
	s.warnings = []string{"Sync people: 3 rows have a NULL among the key columns id"}
	w = post(t, c, "/w/default/new/people/activate", url.Values{"etag": {"s1"}})
	require.Contains(t, w.Body.String(), "3 rows have a NULL among the key columns id")
	require.Contains(t, w.Body.String(), "To the sync")
}

func TestObjectsAreWrittenOutAsRows(t *testing.T) {
	value := structpb.NewNumberValue(3)
	rules := []*configv1.Rule{
		{Object: "user_identities", Rules: []*configv1.Rule{{Column: "id", To: "customer_id", Type: "string"}}},
		{Object: "events", Rules: []*configv1.Rule{{Object: "data", Rules: []*configv1.Rule{{Static: value, To: "event_num"}}}}},
		{Column: "$unmapped", To: "*"}, {Ignore: "etl"}, {Expression: "row.a + 1", To: "b", OnNull: "clear", Default: structpb.NewStringValue("none")},
	}
	forms, fits := ruleForms(rules)
	require.True(t, fits)
	bad := &faults{}
	got := rulesFrom(forms, bad)
	require.Empty(t, bad.out)
	want := []*configv1.Rule{
		{Column: "id", To: "user_identities.customer_id", Type: "string"}, {Static: value, To: "events.data.event_num"},
		{Column: "$unmapped", To: "*"}, {Ignore: "etl"}, {Expression: "row.a + 1", To: "b", OnNull: "clear", Default: structpb.NewStringValue("none")},
	}
	require.Len(t, got, len(want))
	for i := range want {
		require.True(t, proto.Equal(want[i], got[i]), "%v is not %v", got[i], want[i])
	}
}

func TestSamplesAreKeptWithinTheirBounds(t *testing.T) {
	s, at := newSamples(), time.Unix(1000, 0)
	answer := &configv1.PreviewDataModelResponse{Arrow: make([]byte, 10<<20)}
	for i := range 5 {
		s.put(fmt.Sprint(i), answer, at.Add(time.Duration(i)*time.Second))
	}
	require.Len(t, s.kept, 3)
	require.LessOrEqual(t, s.bytes, maxSampleMem)
	require.Nil(t, s.get("0", at))
	require.NotNil(t, s.get("4", at))
	require.Nil(t, s.get("4", at.Add(time.Hour)), "is old")
	s.put("large", &configv1.PreviewDataModelResponse{Arrow: make([]byte, maxSampleMem+1)}, at)
	require.Nil(t, s.get("large", at))
	for i := range 100 {
		s.put(fmt.Sprint("small", i), &configv1.PreviewDataModelResponse{}, at)
	}
	require.LessOrEqual(t, len(s.kept), maxSamples)
}
