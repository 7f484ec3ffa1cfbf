package browser_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// syncManaged: a sync is paused, edited as documents, whose faults are found by a click, and deleted with what it brought; an
// alert is written and deleted.
func syncManaged(t *testing.T, c console) {
	c.applyShop(t)
	p := open(t, c.base)
	p.visit(c.path("/syncs/customers"))
	p.reads("There is no run yet.")
	p.mark()
	c.run(t, "customers")
	p.until("the run is shown", func() bool { return strings.Contains(p.text(), "Rows read by the last run") })
	require.True(t, p.marked(), "the page goes on by itself")
	p.shows("sync")
	p.click("button", "Pause")
	p.reads("The sync is paused.")
	p.reads("once it is resumed")
	p.click("button", "Resume")
	p.reads("The sync is active again.")
	p.click("button", "Resync")
	p.has("dialog", "Resync customers?…")
	p.click("button", "Cancel")
	p.click("link", "Edit")
	p.reads("Show what would change")
	text := eval[string](p, "document.getElementById('documents').value")
	p.fill("Documents…", strings.Replace(text, "mode: incremental", "mode: nonsense", 1))
	p.faults.expect(400)
	p.click("button", "Show what would change")
	p.reads("One thing is to be mended.")
	at := p.matches(`(\d+):\d+ Sync`)[0]
	p.click("link", at+"…")
	require.Equal(t, "mode: nonsense", eval[string](p, "documents.value.slice(documents.selectionStart, documents.selectionEnd)"))
	p.fill("Documents…", strings.Replace(text, "lookback: 10m", "lookback: 3h", 1))
	p.click("button", "Show what would change")
	p.reads("lookback")
	p.shows("edit")
	p.click("button", "Apply")
	p.reads("The documents are applied.")
	p.at(c.path("/syncs/customers"))
	p.click("link", "Delete")
	p.click("link", "Count what would be removed")
	p.reads("Profiles that lose something")
	p.shows("delete")
	p.click("button", "Delete the sync")
	p.reads("It is deleted.")
	p.visit(c.path("/alerts"))
	p.click("link", "New alert")
	p.click("button", "Show what would change")
	p.click("button", "Apply")
	p.reads("The documents are applied.")
	p.click("button", "Delete on-call")
	p.has("dialog", "Delete the alert on-call?…")
	p.click("button", "Go on")
	p.reads("It is deleted.")
}
