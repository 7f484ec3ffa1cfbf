package scheduler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
	"millrace.dev/services/scheduler/alerts"
)

// conditions is what is wrong with a sync, and since when.
type conditions map[resource.AlertEvent]time.Time

// with answers c with an event; one that is there keeps its time.
func (c conditions) with(e resource.AlertEvent, since time.Time) conditions {
	out := conditions{e: since}
	maps.Copy(out, c)
	return out
}

// without answers c less some events.
func (c conditions) without(es ...resource.AlertEvent) conditions {
	out := conditions{}
	for e, since := range c {
		if !slices.Contains(es, e) {
			out[e] = since
		}
	}
	return out
}

// list answers the events, the gravest first.
func (c conditions) list() []resource.AlertEvent {
	var out []resource.AlertEvent
	for _, e := range resource.AlertEvents() {
		if _, ok := c[e]; ok {
			out = append(out, e)
		}
	}
	return out
}

// shift is a change of what is wrong with a sync: what alerts compare, and what is kept. A run of the history lane stands
// for itself: it is told whatever the live lane does, and nothing of it is kept but that it has faulted its sync.
type shift struct{ before, after, kept conditions }

// closing answers what the end of a run changes. status is what it makes of its sync's status, empty for nothing; mended
// says that it retries a run that had failed.
func closing(was conditions, r runRow, status resource.SyncStatus, mended bool) shift {
	at := r.EndTime
	faults := func(c conditions) conditions {
		switch status {
		case resource.Faulted, resource.ResyncRequired:
			return c.with(resource.AlertFaulted, at)
		case resource.Healthy:
			return c.without(resource.AlertFaulted)
		}
		return c
	}
	if r.Lane == history {
		return closingHistory(was, r, mended, faults)
	}
	now := was.without(resource.AlertHeld)
	switch r.State {
	case run.Failed:
		now = now.without(resource.AlertPartiallySucceeded).with(resource.AlertFailed, at)
	case run.PartiallySucceeded:
		now = now.without(resource.AlertFailed).with(resource.AlertPartiallySucceeded, at)
	case run.Succeeded:
		now = now.without(resource.AlertFailed, resource.AlertPartiallySucceeded)
	}
	now = faults(now)
	return shift{was, now, now}
}

func closingHistory(was conditions, r runRow, mended bool, faults func(conditions) conditions) shift {
	outcomes := []resource.AlertEvent{resource.AlertFailed, resource.AlertPartiallySucceeded}
	t := shift{was, was, faults(was)}
	switch {
	case r.State == run.Failed:
		t.before = was.without(outcomes...)
		t.after = t.before.with(resource.AlertFailed, r.EndTime)
	case r.State == run.PartiallySucceeded:
		t.before = was.without(outcomes...)
		t.after = t.before.with(resource.AlertPartiallySucceeded, r.EndTime)
	case r.State == run.Succeeded && mended:
		t.before = was.with(resource.AlertFailed, r.EndTime)
	case r.State == run.Cancelled && waits(r):
		t.before = was.with(resource.AlertHeld, r.EndTime)
	}
	t.after = faults(t.after)
	return t
}

// waits says whether a run that is closed was waiting for its owner then. A drift that was approved has led to a plan.
func waits(r runRow) bool {
	h := r.Facts.Hold
	return h != nil && !slices.Contains(r.Facts.Approved, h.Reason) && (h.Reason != fault.ReasonSchemaDrift.Word() || r.Plan.Text == "")
}

// holding answers what the beginning of a hold changes.
func holding(was conditions, r runRow, at time.Time) shift {
	now := was.with(resource.AlertHeld, at)
	if r.Lane == history {
		return shift{was.without(resource.AlertHeld), now, was}
	}
	return shift{was, now, now}
}

// approving answers what the approval of a held run changes.
func approving(was conditions, r runRow, at time.Time) shift {
	if r.Lane == history {
		return shift{was.with(resource.AlertHeld, at), was, was}
	}
	now := was.without(resource.AlertHeld)
	return shift{was, now, now}
}

// shifted keeps what is wrong with a sync, and the change for those who are to be told, in the transaction of what made it.
func shifted(ctx context.Context, tx *sqldb.Tx, y syncRow, t shift, c alerts.Change) error {
	before, after := t.before.list(), t.after.list()
	if slices.Equal(before, after) && maps.Equal(y.Facts.Conditions, t.kept) {
		return nil
	}
	y.Facts.Conditions = t.kept
	if slices.Equal(before, after) {
		return putSync(ctx, tx, y)
	}
	y.Facts.Changes++
	if err := putSync(ctx, tx, y); err != nil {
		return err
	}
	c.ID, c.Before, c.After = changeID(y.UID, y.Facts.Changes), before, after
	return putChange(ctx, tx, c)
}

// changeBy answers the change that a run makes.
func changeBy(r runRow, at time.Time, why alerts.Cause) alerts.Change {
	return alerts.Change{
		Workspace: string(r.Workspace), Sync: r.SyncID, Time: at, Cause: why,
		Run: alerts.Run{ID: r.ID.String(), No: r.RunNo, Lane: string(r.Lane), State: string(r.State)},
	}
}

// tellClosed keeps what the end of a run means for those who watch its sync.
func tellClosed(ctx context.Context, tx *sqldb.Tx, r runRow) error {
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return err
	}
	mended := false
	if r.Lane == history && r.State == run.Succeeded && len(r.Retried) > 0 {
		old, err := id.ParseRun(r.Retried[0].Run)
		if err != nil {
			return damaged("run", err)
		}
		before, err := getRun(ctx, tx, old)
		if err != nil {
			return err
		}
		mended = before.State == run.Failed
	}
	st, _ := statusAfter(r)
	return shifted(ctx, tx, y, closing(y.Facts.Conditions, r, resource.SyncStatus(st.Status), mended), changeBy(r, r.EndTime, causeOf(r, st.NextStep)))
}

// rowsRejected is the reason of an alert of a run that succeeded in part.
const rowsRejected = "rows_rejected"

// causeOf says why a closed run has changed something.
func causeOf(r runRow, next string) alerts.Cause {
	c := alerts.Cause{Reason: r.Issue.Reason, Message: r.Issue.Message, NextStep: next}
	if next == "" {
		c.NextStep = "look at it: millrace runs get " + r.ID.String()
	}
	switch n := r.Totals.Counts; r.State {
	case run.PartiallySucceeded:
		c.Reason, c.Message = rowsRejected, fmt.Sprintf("%d of %d rows were rejected or refused", n.Rejected+n.Refused, n.Read)
		c.NextStep = "look at them: millrace rejects list " + r.ID.String()
	case run.Succeeded:
		c = alerts.Cause{Message: fmt.Sprintf("run %d succeeded", r.RunNo)}
	case run.Cancelled:
		c = alerts.Cause{Message: fmt.Sprintf("run %d was ended by its owner", r.RunNo)}
	}
	return c
}

// tellHeld keeps for those who watch a sync that a run of it is held.
func tellHeld(ctx context.Context, tx *sqldb.Tx, r runRow, now time.Time) error {
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return err
	}
	why := alerts.Cause{Reason: r.Facts.Hold.Reason, Message: r.Facts.Hold.Message, NextStep: statusHeld(r, now).NextStep}
	return shifted(ctx, tx, y, holding(y.Facts.Conditions, r, now), changeBy(r, now, why))
}

// tellApproved keeps for those who watch a sync that its run is held no more.
func tellApproved(ctx context.Context, tx *sqldb.Tx, r runRow, now time.Time) error {
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return err
	}
	why := alerts.Cause{Message: fmt.Sprintf("run %d was approved and goes on", r.RunNo)}
	return shifted(ctx, tx, y, approving(y.Facts.Conditions, r, now), changeBy(r, now, why))
}
