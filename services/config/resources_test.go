package config_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/services/config"
)

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

func feed(id string) *configv1.Feed { return &configv1.Feed{Meta: &configv1.Meta{Id: id}} }

func (h *house) createFeed(t *testing.T, f *configv1.Feed) *configv1.Feed {
	t.Helper()
	r, err := h.CreateFeed(t.Context(), &configv1.CreateFeedRequest{Feed: f})
	require.NoError(t, err)
	return r.GetFeed()
}

func TestAResourceIsMadeReadChangedAndDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		f := h.createFeed(t, feed("crm"))
		require.Equal(t, "default", f.GetMeta().GetWorkspace())
		require.Equal(t, "crm", f.GetMeta().GetDisplayName())
		require.NotEmpty(t, f.GetMeta().GetUid())
		require.NotEmpty(t, f.GetMeta().GetEtag())
		require.Equal(t, configv1.Environment_ENVIRONMENT_PROD, f.GetEnvironment())
		require.NotNil(t, f.GetMeta().GetCreateTime())

		_, err := h.CreateFeed(ctx, &configv1.CreateFeedRequest{Feed: feed("crm")})
		refused(t, err, fault.Conflict, fault.ReasonAlreadyExists)

		change := proto.CloneOf(f)
		change.Environment = configv1.Environment_ENVIRONMENT_DEV
		change.Meta.DisplayName = "ignored, for the mask does not name it"
		r, err := h.UpdateFeed(ctx, &configv1.UpdateFeedRequest{Feed: change, UpdateMask: mask("environment")})
		require.NoError(t, err)
		require.Equal(t, configv1.Environment_ENVIRONMENT_DEV, r.GetFeed().GetEnvironment())
		require.Equal(t, "crm", r.GetFeed().GetMeta().GetDisplayName())
		require.NotEqual(t, f.GetMeta().GetEtag(), r.GetFeed().GetMeta().GetEtag())
		require.Equal(t, f.GetMeta().GetUid(), r.GetFeed().GetMeta().GetUid())

		_, err = h.UpdateFeed(ctx, &configv1.UpdateFeedRequest{Feed: change, UpdateMask: mask("environment")})
		refused(t, err, fault.Conflict, fault.ReasonStaleEtag)
		_, err = h.DeleteFeed(ctx, &configv1.DeleteFeedRequest{Id: "crm", Etag: f.GetMeta().GetEtag()})
		refused(t, err, fault.Conflict, fault.ReasonStaleEtag)

		got, err := h.GetFeed(ctx, &configv1.GetFeedRequest{Id: "crm"})
		require.NoError(t, err)
		require.True(t, proto.Equal(r.GetFeed(), got.GetFeed()))
		_, err = h.GetFeed(ctx, &configv1.GetFeedRequest{Id: "crm", Workspace: "other"})
		refused(t, err, fault.NotFound, fault.ReasonNotFound)

		_, err = h.DeleteFeed(ctx, &configv1.DeleteFeedRequest{Id: "crm", Etag: got.GetFeed().GetMeta().GetEtag()})
		require.NoError(t, err)
		_, err = h.DeleteFeed(ctx, &configv1.DeleteFeedRequest{Id: "crm"})
		refused(t, err, fault.NotFound, fault.ReasonNotFound)
		again := h.createFeed(t, feed("crm"))
		require.NotEqual(t, f.GetMeta().GetUid(), again.GetMeta().GetUid())
		require.NotEqual(t, f.GetMeta().GetEtag(), again.GetMeta().GetEtag())
	})
}

func TestMasksAreStrict(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		f := h.createFeed(t, feed("crm"))
		for name, m := range map[string]*fieldmaskpb.FieldMask{"none": nil, "unknown": mask("colour"), "uid": mask("meta.uid"), "id": mask("meta.id", "environment")} {
			_, err := h.UpdateFeed(t.Context(), &configv1.UpdateFeedRequest{Feed: f, UpdateMask: m})
			e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
			require.Equal(t, "update_mask", e.Violations[0].Field, name)
		}
		f.Meta.DisplayName, f.Meta.Labels, f.Meta.Uid = "CRM", map[string]string{"team": "growth"}, "forged"
		f.InputProtection = configv1.InputProtection_INPUT_PROTECTION_READ_ONLY
		r, err := h.UpdateFeed(t.Context(), &configv1.UpdateFeedRequest{Feed: f, UpdateMask: mask("*")})
		require.NoError(t, err)
		require.Equal(t, "CRM", r.GetFeed().GetMeta().GetDisplayName())
		require.NotEqual(t, "forged", r.GetFeed().GetMeta().GetUid())
		require.Equal(t, configv1.InputProtection_INPUT_PROTECTION_READ_ONLY, r.GetFeed().GetInputProtection())
		_, err = h.UpdateFeed(t.Context(), &configv1.UpdateFeedRequest{Feed: feed("crm"), UpdateMask: mask("*")})
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, "etag", e.Violations[0].Field)
	})
}

func TestViolationsComeAllAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		_, err := h.CreateSync(t.Context(), &configv1.CreateSyncRequest{Sync: &configv1.Sync{
			Meta: &configv1.Meta{Id: "A B"}, Mode: 77, Lookback: "soon", Mapping: "no good", TriggerLimit: "x",
		}})
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		var fields []string
		for _, v := range e.Violations {
			fields = append(fields, v.Field)
		}
		require.ElementsMatch(t, []string{"id", "data_model", "mode", "lookback", "mapping", "trigger_limit"}, fields)

		_, err = h.CreateSync(t.Context(), &configv1.CreateSyncRequest{Sync: &configv1.Sync{
			Meta: &configv1.Meta{Id: "s"}, Mode: configv1.Mode_MODE_FULL, DataModel: "m", Mapping: "p", Feed: "f",
			Schedule: &configv1.Schedule{When: &configv1.Schedule_After{After: &configv1.After{Syncs: []string{"t"}}}},
		}})
		e = refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, []string{
			"Sync s data_model: there is no DataModel m; create it, or name another",
			"Sync s feed: there is no Feed f; create it, or name another",
			"Sync s mapping: there is no Mapping p; create it, or name another",
			"Sync s schedule.after[0]: there is no Sync t; create it, or name another",
		}, texts(e))
		_, err = h.GetFeed(t.Context(), &configv1.GetFeedRequest{Workspace: "../x", Id: "a"})
		refused(t, err, fault.Invalid, fault.ReasonInvalidArgument)
	})
}

func TestDisplayNamesAreUniqueInAKind(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		a := feed("a")
		a.Meta.DisplayName = "Shop"
		h.createFeed(t, a)
		b := feed("b")
		b.Meta.DisplayName = "Shop"
		_, err := h.CreateFeed(t.Context(), &configv1.CreateFeedRequest{Feed: b})
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, []string{`Feed b display_name: "Shop" is also that of a; choose another name`}, texts(e))
		_, err = h.CreateFeed(t.Context(), &configv1.CreateFeedRequest{Workspace: "other", Feed: b})
		require.NoError(t, err)
		h.mustApply(t, "kind: Connection\nid: c\ndisplay_name: Shop\nduckdb: {path: /x}\n")
		swap := "kind: Feed\nid: a\ndisplay_name: Shop 2\n---\nkind: Feed\nid: c\ndisplay_name: Shop\n"
		require.True(t, h.mustApply(t, swap).GetApplied())
	})
}

func TestListsArePagedFilteredAndOrdered(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		for i := range 7 {
			f := feed(fmt.Sprintf("f%d", i))
			f.Meta.DisplayName = fmt.Sprintf("%c", 'Z'-i)
			if i%2 == 0 {
				f.Meta.Labels = map[string]string{"team": "growth", "no": fmt.Sprint(i)}
			}
			h.createFeed(t, f)
		}
		list := func(r *configv1.ListFeedsRequest) []string {
			var ids []string
			for {
				got, err := h.ListFeeds(t.Context(), r)
				require.NoError(t, err)
				require.LessOrEqual(t, len(got.GetFeeds()), 2)
				for _, f := range got.GetFeeds() {
					ids = append(ids, f.GetMeta().GetId())
				}
				if r.PageToken = got.GetNextPageToken(); r.GetPageToken() == "" {
					return ids
				}
			}
		}
		up, down := []string{"f0", "f1", "f2", "f3", "f4", "f5", "f6"}, []string{"f6", "f5", "f4", "f3", "f2", "f1", "f0"}
		require.Equal(t, up, list(&configv1.ListFeedsRequest{PageSize: 2}))
		require.Equal(t, down, list(&configv1.ListFeedsRequest{PageSize: 2, OrderBy: "id desc"}))
		require.Equal(t, down, list(&configv1.ListFeedsRequest{PageSize: 2, OrderBy: "display_name"}))
		require.Equal(t, up, list(&configv1.ListFeedsRequest{PageSize: 2, OrderBy: "create_time"}))
		require.Len(t, list(&configv1.ListFeedsRequest{PageSize: 2, OrderBy: "update_time desc"}), 7)
		require.Equal(t, []string{"f0", "f2", "f4", "f6"}, list(&configv1.ListFeedsRequest{PageSize: 2, Filter: "labels.team=growth"}))
		require.Equal(t, []string{"f4"}, list(&configv1.ListFeedsRequest{PageSize: 2, Filter: `labels.team=growth AND labels.no="4"`}))
		require.Equal(t, []string{"f3"}, list(&configv1.ListFeedsRequest{PageSize: 2, Filter: `display_name="W"`}))
		require.Empty(t, list(&configv1.ListFeedsRequest{PageSize: 2, Workspace: "other"}))
		for _, r := range []*configv1.ListFeedsRequest{{Filter: "colour=red"}, {OrderBy: "uid"}, {PageToken: "x"}, {PageSize: -1}} {
			_, err := h.ListFeeds(t.Context(), r)
			refused(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		}
	})
}

func TestWhatIsUsedIsNotDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, example(t))
		ctx := t.Context()
		_, err := h.DeleteConnection(ctx, &configv1.DeleteConnectionRequest{Id: "shop"})
		e := refusal(t, err, fault.Precondition, fault.ReasonInUse)
		require.Contains(t, e.Message, "DataModel customers, DataModel orders")
		_, err = h.DeleteFeed(ctx, &configv1.DeleteFeedRequest{Id: "crm"})
		require.Contains(t, refusal(t, err, fault.Precondition, fault.ReasonInUse).Message, "Sync customers, Sync orders")
		_, err = h.DeleteDataModel(ctx, &configv1.DeleteDataModelRequest{Id: "orders"})
		refused(t, err, fault.Precondition, fault.ReasonInUse)
		_, err = h.DeleteMapping(ctx, &configv1.DeleteMappingRequest{Id: "orders"})
		refused(t, err, fault.Precondition, fault.ReasonInUse)
		_, err = h.DeleteSync(ctx, &configv1.DeleteSyncRequest{Id: "orders"})
		require.NoError(t, err)
		_, err = h.DeleteMapping(ctx, &configv1.DeleteMappingRequest{Id: "orders"})
		require.NoError(t, err)
	})
}

func TestSyncsThatWaitForEachOtherAreRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, "kind: Connection\nid: c\nduckdb: {path: /x}\n---\nkind: DataModel\nid: m\nconnection: c\nrecord_kind: users\ntable: t\n")
		sync := func(id, after string) string {
			return fmt.Sprintf("---\nkind: Sync\nid: %s\ndata_model: m\nmode: full\nschedule: {after: [%s]}\n", id, after)
		}
		_, err := h.apply(t, sync("a", "b")+sync("b", "d")+sync("d", "a")+sync("e", "a"))
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Len(t, e.Violations, 3, e.Message)
		require.Equal(t, "a.yaml:6:19 Sync a schedule.after: a would wait for itself; break the circle", e.Violations[0].String())
	})
}

func TestTheNumberOfResourcesIsBounded(t *testing.T) {
	h := start(t, "sqlite:"+filepath.Join(t.TempDir(), "control.db"), func(s *config.Settings) { s.MaxResources = 2 })
	h.createFeed(t, feed("a"))
	_, err := h.apply(t, "kind: Feed\nid: b\n---\nkind: Feed\nid: c\n")
	e := refusal(t, err, fault.Throttled, fault.ReasonLimitExceeded)
	require.Contains(t, e.Message, "3 resources, and 2 are allowed")
	h.createFeed(t, feed("b"))
}

func TestOfTwoUpdatesAtOnceOneIsStale(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		f := h.createFeed(t, feed("crm"))
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			change := proto.CloneOf(f)
			change.Meta.DisplayName = fmt.Sprintf("CRM %d", i)
			wg.Go(func() {
				_, errs[i] = h.UpdateFeed(t.Context(), &configv1.UpdateFeedRequest{Feed: change, UpdateMask: mask("meta.display_name")})
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			refused(t, err, fault.Conflict, fault.ReasonStaleEtag)
		}
		require.Equal(t, 1, won)
	})
}

func TestChangesAtOnceMakeVersionsWithoutGaps(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, example(t))
		errs := make([]error, 6)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = h.apply(t, fmt.Sprintf("kind: Connection\nid: shop\nduckdb: {path: /shop%d.duckdb}\n", i))
			})
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		last := h.sync(t, "customers").GetVersion()
		require.EqualValues(t, 7, last)
		for v := int64(1); v <= last; v++ {
			require.Equal(t, v, h.snapshot(t, "customers", v).GetVersion())
		}
	})
}
