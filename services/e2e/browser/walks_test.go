package browser_test

import (
	"fmt"
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheConsole walks through the console of one Millrace, each walk in a workspace and a profile of its own.
func TestTheConsole(t *testing.T) {
	c := start(t, 50)
	for i, w := range []struct {
		name string
		walk func(*testing.T, console)
	}{
		{"the first look", firstLook},
		{"the wizard", wizard},
		{"a live run", liveRun},
		{"a failing connection", failingConnection},
		{"a reject replayed", rejectReplayed},
		{"a trace from its run", traceFromRun},
		{"a sync managed", syncManaged},
		{"keyboard only", keyboardOnly},
		{"every page light and dark", everyPage},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.walk(t, c.in(fmt.Sprintf("walk-%d", i+1)))
		})
	}
}

// firstLook: who has nothing yet is led to the first sync; who has syncs sees them.
func firstLook(t *testing.T, c console) {
	p := open(t, c.base)
	p.visit(c.path("/syncs"))
	p.reads("There is no sync yet.")
	p.has("link", "Set up the first sync")
	p.shows("nothing-yet")

	c.applyShop(t)
	c.run(t, "orders")
	p.visit(c.path("/syncs"))
	p.matches(`customers active on demand .*none yet`)
	p.matches(`orders active on demand .*succeeded`)
	p.shows("syncs")

	p.faults.expect(http.StatusNotFound)
	p.visit(c.path("/syncs/nobody"))
	p.has("alert", "…")
	p.click("link", "To the syncs")
	p.at(c.path("/syncs"))
}

// wizard: from nothing to an active sync on the demo's warehouse, with a preview of what its mapping makes of real rows.
func wizard(t *testing.T, c console) {
	p := open(t, c.base)
	p.visit(c.path("/syncs"))
	p.click("link", "Set up the first sync")
	p.at(c.path("/new"))
	p.click("link", "New connection")
	p.click("link", "DuckDB and files")
	p.fill("Name…", "Shop warehouse")
	p.fill("Id", "shop")
	p.fill("Path…", c.shop+"/shop.duckdb")
	p.shows("connection")
	p.click("button", "Save and go on")

	p.at(c.path("/new/model"))
	p.fill("Name…", "Customers")
	p.fill("Table", "customers")
	p.click("button", "Run query")
	p.at(c.path("/new/customers/model"))
	p.reads("Sample rows")
	p.tick("checkbox", "Key id")
	p.tick("radio", "Iterator updated_at")
	p.fill("Time zone", "UTC")
	p.shows("model")
	p.click("button", "Save and go on")

	p.at(c.path("/new/customers/map"))
	p.tick("radio", "By these rules")
	p.click("button", "Suggest rules")
	p.has("textbox|combobox", "Destination of rule 2")
	p.click("button", "Add rule")
	p.choose("Column of rule 3", "id")
	p.fill("Destination of rule 3", "user_identities.customer_id")
	p.reads(`"customer_id": "1"`) // the preview follows what is typed
	p.matches(`10 of 10 sample rows become records`)
	p.shows("mapping")
	p.click("button", "Save and go on")

	p.at(c.path("/new/customers/settings"))
	p.tick("radio", "On demand: when somebody or something starts it")
	p.shows("settings")
	p.click("button", "Save and go on")

	p.at(c.path("/new/customers/review"))
	p.reads("What sample rows would do")
	p.shows("review")
	p.click("button", "Activate")
	p.at(c.path("/syncs/customers"))
	p.reads("The sync is active.")
	p.click("button", "Run now")
	p.reads("Run 1 of customers succeeded")
	p.reads("created 6 000")
}

// liveRun: a run is started by a button, is seen to go on without the page being loaded anew, and ends with a certificate.
func liveRun(t *testing.T, c console) {
	c.apply(t, manyDocuments)
	p := open(t, c.base)
	p.visit(c.path("/syncs"))
	p.click("link", "many")
	p.at(c.path("/syncs/many"))
	p.click("button", "Run now")
	p.at(c.path("/runs/[0-9a-f-]{36}"))
	p.reads("The run is started.")
	p.mark()
	p.has("progressbar", "Progress")
	const progress = `(\d[\d ]*) of 24 000 rows`
	first := p.matches(progress)[0]
	p.until("further rows are shown", func() bool {
		now := regexp.MustCompile(progress).FindStringSubmatch(p.text())
		return now != nil && now[1] != first
	})
	require.True(t, p.marked(), "the page goes on by itself")
	p.shows("running")

	p.over("Run 1 of many succeeded")
	p.reads("read 24 000 = ")
	p.reads("Every row that was read is accounted for, by count and by the sum of the rows’ hashes.")
	p.shows("over")
	p.click("link", "Runs")
	p.matches(`many #1 succeeded manual .* balanced`)
	p.shows("runs")
}

// failingConnection: the test of a connection names the step that failed and what to do; once that is done it passes.
func failingConnection(t *testing.T, c console) {
	c.apply(t, wrongDocuments)
	p := open(t, c.base)
	p.visit(c.path("/connections"))
	p.reads("Warehouse that moved")
	p.click("link", "Test elsewhere")
	p.reads("Mend the step that failed, then test again.")
	p.matches(`failed .*moved\.duckdb`)
	p.shows("failed")

	p.click("link", "Edit")
	p.fill("Path…", c.shop+"/shop.duckdb")
	p.click("button", "Save")
	p.reads("It is saved.")
	p.click("link", "Test")
	p.reads("Millrace can read this warehouse.")
	p.shows("passed")
	p.click("link", "Tables")
	p.reads("order_history")
}

// rejectReplayed: rows that were rejected are shown with why; after the mapping is mended they come in by a replay.
func rejectReplayed(t *testing.T, c console) {
	c.apply(t, visitsDocuments(asNumber))
	c.run(t, "visits")
	p := open(t, c.base)
	p.visit(c.path("/runs"))
	p.matches(`visits #1 partially succeeded`)
	p.click("link", "visits #1")
	p.at(c.path("/runs/[0-9a-f-]{36}"))
	p.click("link", "Rejects (10)")
	p.at(c.path("/runs/[0-9a-f-]{36}/rejects"))
	rejects := p.path()
	p.reads("10 rows by reason")
	p.reads("many")
	p.shows("rejects")

	p.visit(c.path("/apply"))
	p.fill("Documents…", visitsMapping(asMended))
	p.click("button", "Show what would change")
	p.reads("What the documents would change")
	p.shows("plan")
	p.click("button", "Apply")
	p.reads("The documents are applied.")

	p.visit(rejects)
	p.click("button", "Replay")
	p.has("dialog", "Replay the 10 rejects?…")
	p.click("button", "Go on")
	p.at(c.path("/runs/[0-9a-f-]{36}"))
	p.over("Run 2 of visits succeeded")
	p.reads("read 10 = ")
	p.shows("replayed")

	p.click("link", "Runs")
	p.matches(`visits #2 .*visits #1`)
	p.choose("State", "partially succeeded")
	p.click("button", "Filter")
	p.matches(`visits #1 partially succeeded`)
	p.hasNot("link", "visits #2")

	p.click("link", "Profiles")
	p.fill("Identity type", "customer_id")
	p.fill("Value", "101")
	p.click("button", "Look up")
	p.at(c.path(`/profiles/-?\d+`))
	p.matches(`visits 99 visits run`)
	p.shows("profile")
}

// traceFromRun: from a run one gets to the journey of a batch, and back.
func traceFromRun(t *testing.T, c console) {
	c.applyShop(t)
	run := c.run(t, "orders")
	c.traced(t, run.GetId())
	p := open(t, c.base)
	p.visit(c.path("/runs/" + run.GetId()))
	p.click("link", "Trace of batch 1/1/0")
	p.at(c.path("/traces/[0-9a-f]{32}"))
	p.reads("Where the time went")
	for _, stage := range []string{"extract", "map", "ingest"} {
		p.has("rowheader", stage+"…")
	}
	p.shows("batch")
	p.click("link", "Batches of the run")
	p.reads("Time of these batches by stage")
	p.shows("batches")
	p.visit(c.path("/runs/" + run.GetId()))
	p.click("link", run.GetTraceId())
	p.at(c.path("/traces/" + run.GetTraceId()))
	p.click("link", "Run")
	p.at(c.path("/runs/" + run.GetId()))
}

// keyboardOnly: what the mouse gets to, the keyboard does, and one sees where one is.
func keyboardOnly(t *testing.T, c console) {
	c.apply(t, visitsDocuments(asNumber))
	p := open(t, c.base)
	p.visit(c.path("/syncs"))
	p.tabTo("link", "Skip to the page")
	p.key(enter)
	p.tabTo("link", "New sync") // the first thing of the page itself
	p.tabTo("link", "visits")
	p.key(enter)
	p.at(c.path("/syncs/visits"))
	p.tabTo("button", "Run now")
	p.key(enter)
	p.at(c.path("/runs/[0-9a-f-]{36}"))
	p.over("Run 1 of visits partially succeeded")
	p.tabTo("link", "Rejects (10)")
	p.key(enter)
	p.at(c.path("/runs/[0-9a-f-]{36}/rejects"))
	p.tabTo("button", "Replay")
	p.key(enter)
	p.has("dialog", "Replay the 10 rejects?…")
	p.until("the dialog has the focus", func() bool { return p.focused().called("button", "Cancel") })
	p.key(escape)
	p.hasNot("dialog", "Replay the 10 rejects?…")
	p.until("the focus is where it was", func() bool { return p.focused().called("button", "Replay") })
	p.key(enter)
	p.has("dialog", "Replay the 10 rejects?…")
	p.tabTo("button", "Go on")
	p.key(enter)
	p.reads("Run 2 of visits partially succeeded")
}

// everyPage: the pages are as the system is, until the reader says otherwise, and can be read either way.
func everyPage(t *testing.T, c console) {
	c.applyShop(t)
	c.apply(t, visitsDocuments(asNumber))
	c.run(t, "orders")
	run := c.run(t, "visits")
	trace := c.traced(t, run.GetId())
	p := open(t, c.base)
	for _, scheme := range []string{"light", "dark"} {
		p.prefer(scheme)
		for _, page := range []struct{ name, path string }{
			{"syncs", "/syncs"}, {"sync", "/syncs/orders"}, {"delete", "/syncs/orders/delete"}, {"usage", "/syncs/orders/usage"},
			{"runs", "/runs"}, {"run", "/runs/" + run.GetId()}, {"rejects", "/runs/" + run.GetId() + "/rejects"},
			{"traces", "/traces"}, {"trace", "/traces/" + trace}, {"kept", "/traces/configs"},
			{"profiles", "/profiles"}, {"connections", "/connections"}, {"connection", "/connections/shop"}, {"tables", "/connections/shop/tables"},
			{"provider", "/new/connection"}, {"new-connection", "/new/connection?provider=postgres"}, {"apply", "/apply?sync=orders"},
			{"alerts", "/alerts"}, {"new", "/new"}, {"new-model", "/new/visits/model"}, {"new-map", "/new/visits/map"}, {"new-settings", "/new/visits/settings"}, {"new-review", "/new/visits/review"},
		} {
			p.visit(c.path(page.path))
			require.Equal(t, scheme == "dark", p.dark(), page.path)
			p.shows(scheme + "-" + page.name)
		}
	}
	p.click("button", "Light or dark")
	require.False(t, p.dark())
	p.visit(c.path("/runs"))
	require.False(t, p.dark(), "it is kept")
	p.click("button", "Light or dark")
	require.True(t, p.dark())
}

// dark says whether the page is darker than its text.
func (p *page) dark() bool {
	return eval[bool](p, `(() => {
		const sum = (colour) => colour.match(/\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0);
		const s = getComputedStyle(document.body);
		return sum(s.backgroundColor) < sum(s.color);
	})()`)
}
