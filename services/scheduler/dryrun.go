package scheduler

import (
	"cmp"
	"context"
	"slices"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/guard"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// A dry run goes the way of a run, in its lane, and is a dry pass to its end: ingestion answers what rows would become and
// writes none. It has a record of its own and changes nothing else: no checkpoint, status or schedule, no columns that
// drift is judged against, and nothing that later runs are judged by. It is never held: what would hold the run it tells.

// maxReasons bounds the reasons of rejects that a part, and a run, tell apart.
const maxReasons = 50

// rejectReason is why rows of a dry run were rejected or refused, and how many.
type rejectReason struct {
	Stage   string `json:"stage"`
	Column  string `json:"column,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Reason  string `json:"reason"`
	Rejects int64  `json:"rejects"`
}

// addReasons answers the sum of both, most first; what is beyond maxReasons is left out.
func addReasons(a, b []rejectReason) []rejectReason {
	if len(b) == 0 {
		return a
	}
	counts := map[rejectReason]int64{}
	for _, r := range slices.Concat(a, b) {
		n := r.Rejects
		r.Rejects = 0
		counts[r] += n
	}
	out := make([]rejectReason, 0, len(counts))
	for r, n := range counts {
		r.Rejects = n
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b rejectReason) int {
		return cmp.Or(cmp.Compare(b.Rejects, a.Rejects), cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason))
	})
	return out[:min(len(out), maxReasons)]
}

// reasonsOf answers why rows of a run were rejected: those of the parts that its account is of.
func reasonsOf(parts []partRow) (out []rejectReason) {
	for _, p := range parts {
		if p.counts() {
			out = addReasons(out, p.Facts.Reasons)
		}
	}
	return out
}

// ends judges a dry run whose parts are all complete and fenced. It answers the run with what would hold it, and whether
// it may be closed: it may not while the rows that it lacks are still to be listed.
func (s *Service) ends(ctx context.Context, tx *sqldb.Tx, now time.Time, r runRow, parts []partRow) (runRow, bool, error) {
	t := total(r, parts)
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return r, false, err
	}
	if r.mirrors() {
		if done, err := s.lacks(ctx, tx, now, r, parts, t, y); !done || err != nil {
			return r, false, err
		}
	}
	if h, ok := rejectHold(r, t, true); ok {
		r.Facts.Notices = append(r.Facts.Notices, wouldHold(h))
	}
	if h, ok := emptyHold(r, t, y); ok {
		r.Facts.Notices = append(r.Facts.Notices, wouldHold(h))
	}
	f, err := factsOf(ctx, tx, r, t, y, parts)
	if err != nil {
		return r, false, err
	}
	switch breaches := guard.Judge(r.Facts.Terms.Guard, f); {
	case len(breaches) == 0:
	case r.Facts.Terms.Guard.OnBreach == resource.GuardNotify:
		for _, b := range breaches {
			r.Facts.Notices = append(r.Facts.Notices, b.Message)
		}
	default:
		r.Facts.Notices = append(r.Facts.Notices, wouldHold(guardHold(breaches)))
	}
	return r, true, nil
}

// wouldHold says what a run would be held for.
func wouldHold(h hold) string {
	return "the run would be held: " + h.Message + " (reason: " + h.Reason + ")"
}

// pastDrift lets a dry run whose plan met columns that would hold the run go on with the columns as they are, and tells of
// them.
func pastDrift(r runRow, changes []columnChange) runRow {
	r.Facts.Notices = append(r.Facts.Notices, wouldHold(driftHold(changes)))
	r.Facts.Approved = append(slices.Clone(r.Facts.Approved), fault.ReasonSchemaDrift.Word())
	return r
}

// dryFaults answers everything that a dry run does not go with.
func dryFaults(t trigger) []fault.Violation {
	if !t.DryRun || !t.Resync {
		return nil
	}
	return []fault.Violation{{
		Field: "dry_run", Message: "does not go with resync: a resync counts every row as one that comes for the first time",
		Fix: "try the run out with full, or resync without dry_run",
	}}
}

// joins says whether a wish for a run is met by one that is open.
func (t trigger) joins(have runRow) bool { return t.Join && t.DryRun == have.Facts.DryRun }

// errDryOpen says that a dry run is in the way.
func errDryOpen(r runRow) error {
	return fault.New(fault.Precondition, fault.ReasonRunOpen,
		"dry run %s of sync %s is open in the %s lane; wait for its end or cancel it: millrace runs cancel %s", r.ID, r.SyncID, r.Lane, r.ID).With("run", r.ID.String())
}

// errNothingKept refuses to replay what a dry run rejected.
func errNothingKept(r runRow) error {
	return fault.New(fault.Precondition, fault.ReasonRunState,
		"run %s is a dry run, of which no reject is kept; run the sync and replay the rejects of that run: millrace run %s", r.ID, r.SyncID)
}

// counts says whether p is in the account of its run.
func (p partRow) counts() bool { return p.Part > 0 && p.State != run.Replaced && !p.Facts.Rehearsal }

// recognises answers the runs whose recorded effects count for r. Of what a dry run was to do nothing is in the store.
func (r runRow) recognises() []retriedRun {
	if r.Facts.DryRun {
		return nil
	}
	return r.Retried
}
