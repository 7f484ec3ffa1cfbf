package scheduler

import (
	"context"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/sqldb"
)

// A mirror whose warehouse finds out what has changed needs to know since when. The base of a sync is what its last done
// run found, and it stands only while the platform has just that: whatever else may have written or taken away rows of the
// sync withdraws it, and the next run reads everything. What the warehouse keeps follows; it decides nothing.

// comparison is how the warehouse found out what has changed, as the plan has it.
type comparison struct {
	State   string       `json:"state"`
	Since   string       `json:"since,omitempty"`
	Rows    int64        `json:"rows"`
	Gone    int64        `json:"gone,omitempty"`
	Terms   string       `json:"terms,omitempty"`
	Columns []planColumn `json:"columns,omitempty"`
	Added   []string     `json:"added,omitempty"`
	Notice  string       `json:"-"` // what the owner should know; told as a notice of the run
	Lost    string       `json:"-"` // why it is not what it was to be; told as a notice of the run
}

// tableRows answers how many rows the source has: those that were read, unless only what has changed is.
func (p planFacts) tableRows(read int64) int64 {
	if p.Comparison != nil {
		return p.Comparison.Rows
	}
	return read
}

// baseFor answers what the plan of r may be compared with; nil: nothing. A run whose parts were worked on under another
// plan may have written what neither that base nor the new plan knows of.
func baseFor(ctx context.Context, q sqldb.Querier, r runRow, y syncRow) (*comparison, error) {
	if y.Facts.Base == nil || r.Full || r.Facts.Resync || r.Facts.ReplayOf != "" || r.Lane != live {
		return nil, nil //nolint:nilnil // nothing to compare with
	}
	have, err := partsOf(ctx, q, r.ID)
	if err != nil || workedOn(have) {
		return nil, err
	}
	return y.Facts.Base, nil
}

// workedOn says whether a worker had any part that reads.
func workedOn(parts []partRow) bool {
	for _, p := range parts {
		if p.Part > 0 && (p.Epoch > 0 || p.Origin != "") {
			return true
		}
	}
	return false
}

// baseAfter answers the base of a sync once r is closed.
func baseAfter(r runRow, parts []partRow, y syncRow) *comparison {
	c := r.Totals.Counts
	switch {
	case r.RunNo <= y.Facts.BaseFrom:
		return nil
	case r.Facts.DryRun:
		return y.Facts.Base
	case r.State.Done() && r.Lane == live && r.Facts.ReplayOf == "" && r.Facts.Plan.Comparison != nil:
		if c.Refused+c.Protected > 0 { // they are judged again, by what is known then
			return nil
		}
		return r.Facts.Plan.Comparison
	case r.State.Done(), workedOn(parts) && !r.Facts.Dry:
		return nil
	}
	return y.Facts.Base
}

// forgetBase withdraws the base of a sync, and that of runs that are open.
func (s *Service) forgetBase(ctx context.Context, syncUID string) error {
	if syncUID == "" {
		return fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "sync_uid", Message: "is empty", Fix: "pass the uid of the sync"}})
	}
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		y, err := getSync(ctx, tx, syncUID)
		if err != nil || y.LastRunNo == 0 {
			return err
		}
		y.Facts.Base, y.Facts.BaseFrom = nil, y.LastRunNo
		return putSync(ctx, tx, y)
	})
	return plain(err)
}

// withdraws says whether r, which is closed, may have written what no live run that is open knows of: that run's comparison
// was made without it.
func withdraws(r runRow, parts []partRow) bool {
	return r.Lane != live && !r.Facts.DryRun && (r.State.Done() || workedOn(parts) && !r.Facts.Dry)
}

// settleBase keeps what the next run of the sync of a closed run is compared with.
func settleBase(ctx context.Context, tx *sqldb.Tx, r runRow, parts []partRow) error {
	y, err := getSync(ctx, tx, r.SyncUID)
	if err != nil {
		return err
	}
	after, from := baseAfter(r, parts, y), y.Facts.BaseFrom
	if withdraws(r, parts) {
		from = y.LastRunNo
	}
	if after == y.Facts.Base && from == y.Facts.BaseFrom {
		return nil
	}
	y.Facts.Base, y.Facts.BaseFrom = after, from
	return putSync(ctx, tx, y)
}

// isEmptyRead says whether r, whose parts are all complete, found no row at all.
func isEmptyRead(r runRow, t totals) bool {
	return r.Facts.Plan.Complete && r.Facts.Plan.tableRows(t.Counts.Read) == 0
}
