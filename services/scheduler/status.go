package scheduler

import (
	"context"
	"fmt"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/killpoint"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// maxStatusText is what config takes of a reason, with some room left.
const maxStatusText = 4000

// shorten cuts a text for people at maxStatusText bytes.
func shorten(s string) string {
	if len(s) <= maxStatusText {
		return s
	}
	return strings.ToValidUTF8(s[:maxStatusText], "") + " …"
}

// statusAfter answers what a closed run means for the status of its sync, and whether it means anything.
//
// A permanent failure faults the sync: it takes no ticks until its owner acts. A run started by hand that is done makes
// it healthy. A failed history run leaves the live lane going, and the sync says so.
func statusAfter(r runRow) (statusRow, bool) {
	st := statusRow{SyncUID: r.SyncUID, Workspace: r.Workspace, SyncID: r.SyncID, Time: r.EndTime}
	switch {
	case r.Facts.ReplayOf != "": // the warehouse was not asked
		return statusRow{}, false
	case r.State == run.Failed && r.Lane == history:
		st.Status = string(resource.Healthy)
		st.Reason = shorten(fmt.Sprintf("history run %s failed: %s: %s", r.ID, r.Issue.Reason, r.Issue.Message))
		st.NextStep = fmt.Sprintf("retry it: millrace runs retry %s", r.ID)
		if r.FaultsSync {
			st.Status = string(resource.Faulted)
		}
		return st, true
	case r.State == run.Failed && r.FaultsSync && r.Issue.Reason == fault.ReasonResyncRequired.Word():
		st.Status, st.Reason = string(resource.ResyncRequired), shorten(r.Issue.Reason+": "+r.Issue.Message)
		st.NextStep = fmt.Sprintf("read everything anew: millrace syncs resync %s", r.SyncID)
		return st, true
	case r.State == run.Failed && r.FaultsSync:
		st.Status = string(resource.Faulted)
		st.Reason = shorten(r.Issue.Reason + ": " + r.Issue.Message)
		st.NextStep = nextStep(fault.ParseReason(r.Issue.Reason), r)
		return st, true
	case r.State.Done() && r.Reason.byHand(), r.State == run.Cancelled && r.Facts.Hold != nil:
		st.Status = string(resource.Healthy)
		return st, true
	}
	return statusRow{}, false
}

// statusHeld answers what a held run means for its sync. A held history run leaves the live lane going, and the sync says
// so.
func statusHeld(r runRow, now time.Time) statusRow {
	st := statusRow{
		SyncUID: r.SyncUID, Workspace: r.Workspace, SyncID: r.SyncID, Time: now, Status: string(resource.Held),
		Reason:   shorten(fmt.Sprintf("run %s is held: %s: %s", r.ID, r.Facts.Hold.Reason, r.Facts.Hold.Message)),
		NextStep: fmt.Sprintf("look at it (millrace runs get %s), then let it go on (millrace runs approve %s) or end it (millrace runs drop %s)", r.ID, r.ID, r.ID),
	}
	if r.Lane == history {
		st.Status = string(resource.Healthy)
	}
	return st
}

// nextStep says what the owner of a faulted sync can do.
func nextStep(reason fault.Reason, r runRow) string {
	again := fmt.Sprintf("then retry the run (millrace runs retry %s) or resume the sync (millrace syncs resume %s)", r.ID, r.SyncID)
	switch reason {
	case fault.ReasonWarehouseDenied, fault.ReasonSecretUnreadable:
		return "mend the connection's credentials or privileges, " + again
	case fault.ReasonQueryInvalid, fault.ReasonIteratorInvalid, fault.ReasonKeyInvalid:
		return "mend the data model, " + again
	case fault.ReasonMappingInvalid:
		return "mend the mapping, " + again
	case fault.ReasonFileNotFound, fault.ReasonPathForbidden:
		return "mend the connection's path or put the files there, " + again
	case fault.ReasonBudgetExceeded:
		return "raise the sync's budget or let the data model read less, " + again
	case fault.ReasonDriverMissing:
		return "run a build that has the warehouse's driver, " + again
	}
	return "mend what the reason names, " + again
}

// tellStatuses tells config what is still to be told, and forgets it once config knows.
func (k *keeper) tellStatuses(ctx context.Context) error {
	pending, err := statuses(ctx, k.db)
	if err != nil {
		return err
	}
	for _, st := range pending {
		killpoint.Reach("scheduler.status.before")
		err := k.peers.setStatus(ctx, st)
		killpoint.Reach("scheduler.status.after")
		switch {
		case err == nil || fault.ClassOf(err) == fault.NotFound: // told, or the sync is gone
		case fault.ClassOf(err).Permanent():
			k.log.ErrorContext(ctx, "config refuses a sync's status", "sync", st.SyncID, "status", st.Status, "error", err)
		default:
			return fmt.Errorf("sync %s: %w", st.SyncID, err)
		}
		if _, err := k.db.Exec(ctx, "DELETE FROM scheduler_statuses WHERE sync_uid = ? AND create_time = ?", st.SyncUID, sqldb.Micros(st.Time)); err != nil {
			return err
		}
	}
	return nil
}
