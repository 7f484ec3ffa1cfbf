package config_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

func dry(r *configv1.ApplyRequest) { r.DryRun = true }

func set(name string) func(*configv1.ApplyRequest) {
	return func(r *configv1.ApplyRequest) { r.ApplySet = name }
}

func prune(r *configv1.ApplyRequest) { r.Prune = true }

// plan answers a plan's lines as `action kind id: fields`.
func plan(r *configv1.ApplyResponse) []string {
	var out []string
	for _, c := range r.GetChanges() {
		line := strings.ToLower(strings.TrimPrefix(c.GetAction().String(), "ACTION_")) + " " + c.GetKind() + " " + c.GetId()
		if len(c.GetFields()) > 0 {
			line += ": " + strings.Join(c.GetFields(), ", ")
		}
		out = append(out, line)
	}
	return out
}

func notes(r *configv1.ApplyResponse, kind, id string) []string {
	for _, c := range r.GetChanges() {
		if c.GetKind() == kind && c.GetId() == id {
			return c.GetNotes()
		}
	}
	return nil
}

func TestTheExampleIsPlannedAppliedAndThenUnchanged(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		want := []string{
			"create Connection shop", "create Feed crm", "create DataModel customers", "create Mapping customers", "create Sync customers",
			"create DataModel orders", "create Mapping orders", "create Sync orders", "create Connection app_db: postgres.password (set)",
		}
		r := h.mustApply(t, example(t), dry)
		require.Equal(t, want, plan(r))
		require.False(t, r.GetApplied())
		require.Equal(t, []string{"the first run reads everything from 2024-01-01T00:00:00Z on"}, notes(r, "Sync", "customers"))
		list, err := h.ListSyncs(t.Context(), &configv1.ListSyncsRequest{})
		require.NoError(t, err)
		require.Empty(t, list.GetSyncs())

		r = h.mustApply(t, example(t))
		require.Equal(t, want, plan(r))
		require.True(t, r.GetApplied())
		require.Empty(t, r.GetWarnings())
		c, err := h.GetConnection(t.Context(), &configv1.GetConnectionRequest{Id: "shop"})
		require.NoError(t, err)
		require.Equal(t, "/docs/shop.duckdb", c.GetConnection().GetDuckdb().GetPath())
		s, err := h.GetSync(t.Context(), &configv1.GetSyncRequest{Id: "customers"})
		require.NoError(t, err)
		require.Equal(t, configv1.SyncState_SYNC_STATE_ACTIVE, s.GetSync().GetState())
		require.Equal(t, configv1.SyncStatus_SYNC_STATUS_HEALTHY, s.GetSync().GetStatus())
		require.EqualValues(t, 1, s.GetSync().GetVersion())

		for _, line := range plan(h.mustApply(t, example(t))) {
			require.True(t, strings.HasPrefix(line, "unchanged "), line)
		}
		again, err := h.GetSync(t.Context(), &configv1.GetSyncRequest{Id: "customers"})
		require.NoError(t, err)
		require.Equal(t, s.GetSync().GetMeta().GetEtag(), again.GetSync().GetMeta().GetEtag())
	})
}

func TestAPlanSaysWhatAChangeMeans(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, example(t))
		changed := strings.NewReplacer("to: source", "to: origin", "SELECT id, email", "SELECT id, lower(email)", "delay: 30s", "delay: 1m", "password: {env: PGPASSWORD}", "password: other", "mode: incremental\nschedule: {on_demand: {}}", "mode: full\nlookback: 1h\nschedule: {on_demand: {}}").Replace(example(t))
		r := h.mustApply(t, changed)
		require.Equal(t, []string{
			"unchanged Connection shop", "unchanged Feed crm", "change DataModel customers: sql", "change Mapping customers: rules", "change Sync customers: delay",
			"unchanged DataModel orders", "unchanged Mapping orders", "change Sync orders: mode, lookback", "change Connection app_db: postgres.password (changed)",
		}, plan(r))
		require.Equal(t, []string{
			"the next run reads with the new query from its checkpoint on; `millrace run customers --full` judges the rows below it again",
			"the next run maps the rows that it reads by the new rules; `millrace run customers --full` maps all rows again and updates those whose result differs",
		}, notes(r, "Sync", "customers"))
		require.Equal(t, []string{"the next run is full", "lookback is not used in mode full"}, notes(r, "Sync", "orders"))
		require.Len(t, r.GetWarnings(), 1)
		require.Contains(t, r.GetWarnings()[0], "Connection app_db postgres.password: the secret itself stands in the document")

		r = h.mustApply(t, "kind: Feed\nid: crm\ninput_protection: update_only\n", dry)
		require.Equal(t, []string{
			"sync customers: the next run writes as feed crm (prod, update_only)", "sync orders: the next run writes as feed crm (prod, update_only)",
			"sync orders: lookback is not used in mode full",
		}, notes(r, "Feed", "crm"))
	})
}

func TestWhatDocumentsLeaveOutIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, example(t))
		_, err := h.PauseSync(t.Context(), &configv1.PauseSyncRequest{Id: "orders"})
		require.NoError(t, err)
		r := h.mustApply(t, strings.NewReplacer("state: active\n", "", ", password: {env: PGPASSWORD}", ", password: {kept: true}").Replace(example(t)))
		for _, line := range plan(r) {
			require.True(t, strings.HasPrefix(line, "unchanged "), line)
		}
		s, err := h.GetSync(t.Context(), &configv1.GetSyncRequest{Id: "orders"})
		require.NoError(t, err)
		require.Equal(t, configv1.SyncState_SYNC_STATE_PAUSED, s.GetSync().GetState())
		require.Equal(t, canary, h.password(t))
		h.mustApply(t, "kind: Connection\nid: app_db\npostgres: {host: 127.0.0.1, database: new, user: millrace}\n")
		require.Equal(t, canary, h.password(t), "left out is kept")
	})
}

func TestEveryViolationIsSaidAndNothingIsWritten(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.warehouse.script(nil, fault.Of(fault.ReasonMappingInvalid, []fault.Violation{
			{Field: "rules[0].to", Message: "names no field", Fix: "begin with user_identities"},
			{Field: "iterator.type", Message: `column "t" is text`, Fix: "cast it"},
			{Field: "rules", Message: "leaves columns unused: a, b", Fix: "map them"},
		}))
		_, err := h.apply(t, `kind: Connection
id: c
duckdb: {path: x}
---
kind: DataModel
id: m
connection: c
record_kind: users
table: t
iterator: {column: t, type: timestamp}
---
kind: Mapping
id: m
rules:
  - {column: a, to: nowhere}
---
kind: Sync
id: s
data_model: m
mapping: m
mode: incremental
state: active
---
kind: Sync
id: broken
data_model: gone
mode: fulll
---
kind: Connection
id: d
postgres: {host: h, database: d, user: u, password: {kept: true}}
---
kind: Sync
id: events
data_model: e
mode: incremental
---
kind: DataModel
id: e
connection: nowhere
record_kind: events
table: t
`)
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, []string{
			`a.yaml:10:29 DataModel m iterator.type: column "t" is text; cast it`,
			"a.yaml:15:3 Mapping m rules: leaves columns unused: a, b; map them",
			"a.yaml:15:21 Mapping m rules[0].to: names no field; begin with user_identities",
			"a.yaml:26:13 Sync broken data_model: there is no DataModel gone; create it, or name another",
			`a.yaml:27:7 Sync broken mode: unknown value "fulll"; use incremental, full or mirror`,
			"a.yaml:31:53 Connection d postgres.password: nothing is stored that could be kept; give the secret",
			"a.yaml:40:13 DataModel e connection: there is no Connection nowhere; create it, or name another",
		}, texts(e))
		require.Contains(t, e.Message, "7 violation(s)")
		got, err := h.ListConnections(t.Context(), &configv1.ListConnectionsRequest{})
		require.NoError(t, err)
		require.Empty(t, got.GetConnections())
	})
}

func TestAnActiveSyncIsCheckedAgainstItsWarehouse(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.warehouse.script(fault.New(fault.Invalid, fault.ReasonQueryInvalid, "line 1: no column emial; correct the query"), nil)
		_, err := h.apply(t, example(t))
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, []string{
			"a.yaml:15:6 DataModel customers sql: line 1: no column emial; correct the query",
			"a.yaml:53:6 DataModel orders sql: line 1: no column emial; correct the query",
		}, texts(e))

		h.warehouse.script(fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the warehouse refuses the user; grant it the right to read"), nil)
		_, err = h.apply(t, example(t))
		e = refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, []string{"a.yaml:1:1 Connection shop: the warehouse refuses the user; grant it the right to read"}, texts(e))

		h.warehouse.script(fault.New(fault.NotFound, fault.ReasonFileNotFound, "no file matches; correct the path"), nil)
		_, err = h.apply(t, example(t))
		require.Equal(t, []string{"a.yaml:4:16 Connection shop duckdb.path: no file matches; correct the path"}, texts(refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)))

		h.warehouse.script(fault.New(fault.Unavailable, fault.ReasonWarehouseLocked, "the file is locked by another process; close it"), nil)
		r := h.mustApply(t, example(t))
		require.True(t, r.GetApplied())
		require.Equal(t, []string{
			"Sync customers: not checked against its warehouse: the file is locked by another process; close it",
			"Sync orders: not checked against its warehouse: the file is locked by another process; close it",
		}, r.GetWarnings())
	})
}

func TestPruneDeletesOnlyWhatTheSetBroughtIn(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.createFeed(t, feed("byhand"))
		h.mustApply(t, example(t), set("shop"))
		h.mustApply(t, "kind: Feed\nid: other\n", set("elsewhere"))
		f, err := h.GetFeed(t.Context(), &configv1.GetFeedRequest{Id: "crm"})
		require.NoError(t, err)
		require.Equal(t, map[string]string{"millrace.dev/apply-set": "shop"}, f.GetFeed().GetMeta().GetLabels())

		_, err = h.apply(t, "", prune)
		refused(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		without := example(t)[:strings.Index(example(t), "---\nkind: DataModel\nid: orders")]
		r := h.mustApply(t, without, set("shop"))
		require.Len(t, r.GetChanges(), 5, "without prune nothing is deleted")
		r = h.mustApply(t, without, set("shop"), prune)
		require.Equal(t, []string{"delete Sync orders", "delete Mapping orders", "delete DataModel orders", "delete Connection app_db"}, plan(r)[5:])
		feeds, err := h.ListFeeds(t.Context(), &configv1.ListFeedsRequest{})
		require.NoError(t, err)
		require.Len(t, feeds.GetFeeds(), 3)

		h.mustApply(t, "kind: Sync\nid: mine\ndata_model: customers\nmode: full\n")
		_, err = h.apply(t, "", set("shop"), prune)
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, []string{"DataModel customers: cannot be deleted: it is used by Sync mine; delete them first, or let them name another"}, texts(e))
	})
}

func TestWhatAnotherSetBroughtInStaysItsOwnUntilPruneClaimsIt(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, "kind: Feed\nid: crm\n", set("here"))
		require.Equal(t, []string{"unchanged Feed crm"}, plan(h.mustApply(t, "kind: Feed\nid: crm\n", set("there"))))
		require.Equal(t, []string{"change Feed crm: labels"}, plan(h.mustApply(t, "kind: Feed\nid: crm\n", set("there"), prune)))
		require.Empty(t, plan(h.mustApply(t, "", set("here"), prune)))
		require.Equal(t, []string{"delete Feed crm"}, plan(h.mustApply(t, "", set("there"), prune)))
	})
}

func TestAnExportIsTakenBackUnchanged(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, example(t), set("shop"))
		e, err := h.Export(t.Context(), &configv1.ExportRequest{})
		require.NoError(t, err)
		require.Len(t, e.GetDocuments(), 9)
		require.Equal(t, "connection-app_db.yaml", e.GetDocuments()[0].GetFile())
		require.Contains(t, e.GetDocuments()[0].GetContent(), "password: {kept: true}")
		r, err := h.Apply(t.Context(), &configv1.ApplyRequest{Documents: e.GetDocuments()})
		require.NoError(t, err)
		for _, line := range plan(r) {
			require.True(t, strings.HasPrefix(line, "unchanged "), line)
		}
		h.mustApply(t, "", set("shop"), prune)
		documents := e.GetDocuments()
		documents[0].Content = strings.Replace(documents[0].GetContent(), "{kept: true}", "{env: PGPASSWORD}", 1)
		documents[0].Secrets = map[string]string{"env:PGPASSWORD": canary}
		r, err = h.Apply(t.Context(), &configv1.ApplyRequest{Documents: documents})
		require.NoError(t, err)
		require.True(t, r.GetApplied())
		after, err := h.Export(t.Context(), &configv1.ExportRequest{})
		require.NoError(t, err)
		for i, d := range after.GetDocuments()[1:] {
			require.Equal(t, e.GetDocuments()[i+1].GetContent(), d.GetContent())
		}
	})
}

func TestAChangeThatOthersOvertakeIsPlannedAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, example(t))
		before := h.warehouse.describes
		h.warehouse.onCheck = func() {
			h.mustApply(t, "kind: Mapping\nid: orders\nevents: {time: placed_at, name: status}\n")
		}
		r := h.mustApply(t, strings.Replace(example(t), "id: orders\ndata_model: orders\n", "id: orders\ndisplay_name: Orders\ndata_model: orders\n", 1)[strings.Index(example(t), "---\nkind: Sync\nid: orders"):])
		require.True(t, r.GetApplied())
		require.GreaterOrEqual(t, h.warehouse.describes-before, 3, "checked, overtaken, and checked again")
	})
}

// What somebody was shown is what is applied: a plan says what it was made against, and one that is asked for against
// something else is refused.
func TestAPlanIsAppliedAgainstWhatItWasMadeAgainst(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		const feed, changed = "kind: Feed\nid: crm\n", "kind: Feed\nid: crm\nenvironment: dev\n"
		against := func(etag string) func(*configv1.ApplyRequest) {
			return func(r *configv1.ApplyRequest) { r.ExpectedEtags = map[string]string{"Feed/crm": etag} }
		}
		planned := h.mustApply(t, feed, dry)
		require.Empty(t, planned.GetChanges()[0].GetEtag(), "nothing is stored")
		h.mustApply(t, feed, against(""))

		planned = h.mustApply(t, changed, dry)
		etag := planned.GetChanges()[0].GetEtag()
		f, err := h.GetFeed(t.Context(), &configv1.GetFeedRequest{Id: "crm"})
		require.NoError(t, err)
		require.Equal(t, f.GetFeed().GetMeta().GetEtag(), etag)

		for _, stale := range []string{"", "another"} {
			_, err = h.apply(t, changed, against(stale))
			refused(t, err, fault.Conflict, fault.ReasonStaleEtag)
		}
		h.mustApply(t, changed, against(etag), dry)
		h.mustApply(t, changed, against(etag))
		_, err = h.apply(t, changed, against(etag))
		refused(t, err, fault.Conflict, fault.ReasonStaleEtag)
	})
}
