package scheduler

import "time"

// runFacts is what else is kept of a run, beside what queries look for.
type runFacts struct {
	From     time.Time `json:"from,omitzero"` // bounds of a backfill
	Until    time.Time `json:"until,omitzero"`
	ReplayOf string    `json:"replay_of,omitempty"` // the run whose rejects it replays
	Resync   bool      `json:"resync,omitempty"`
	Plan     planFacts `json:"plan,omitzero"`

	Terms    terms          `json:"terms,omitzero"`
	Dry      bool           `json:"dry,omitempty"`      // it makes its dry pass: the store answers without writing
	DryRun   bool           `json:"dry_run,omitempty"`  // it is a dry pass to its end
	Reasons  []rejectReason `json:"reasons,omitempty"`  // of a closed dry run: why rows were rejected
	Samples  []sample       `json:"samples,omitempty"`  // of the dry pass; of rows that were collapsed, of any run
	Hold     *hold          `json:"hold,omitempty"`     // why it is held, or was
	Approved []string       `json:"approved,omitempty"` // the reasons of holds that its owner let it go on past
	Skipped  int64          `json:"skipped,omitempty"`  // ticks that fell due while it was held
	Notices  []string       `json:"notices,omitempty"`
	Cost     cost           `json:"cost,omitzero"` // of every attempt that could tell it, lost leases among them
	Drift    []columnChange `json:"drift,omitempty"`
}

// planFacts is what else is kept of a run's plan.
type planFacts struct {
	Counted *int64 `json:"counted,omitempty"` // rows of the parts in the snapshot, where the warehouse counted them
	Future  int64  `json:"future,omitempty"`  // rows beyond what the window may hold
	// Complete says that the parts are everything that the query selects, in one snapshot.
	Complete bool     `json:"complete,omitempty"`
	Keys     []string `json:"keys,omitempty"` // the columns that make the row key
	// Comparison is how the warehouse found out what has changed; nil: it did not, the parts are what the query selects.
	Comparison *comparison    `json:"comparison,omitempty"`
	Accepted   acceptedSchema `json:"accepted,omitzero"`
	Drift      []columnChange `json:"drift,omitempty"`
	Estimated  cost           `json:"estimated,omitzero"` // of its queries, before they ran
}

// partFacts is what else is kept of a part.
type partFacts struct {
	Snapshot  string           `json:"snapshot,omitempty"`   // that it was read under
	Probe     bool             `json:"probe,omitempty"`      // its lease is to show whether the warehouse answers; nothing has come yet
	Throttled int64            `json:"throttled,omitempty"`  // how often in a row the warehouse has asked to wait
	Nulls     map[string]int64 `json:"nulls,omitempty"`      // of each column, in a dry pass
	Reasons   []rejectReason   `json:"reasons,omitempty"`    // why rows were rejected, in a dry pass
	Absent    bool             `json:"absent,omitempty"`     // it has the rows that a mirror run lacks
	Rehearsal bool             `json:"rehearsal,omitempty"`  // and the store answers without writing
	AtMost    int64            `json:"at_most,omitempty"`    // and is rehearsed where they are more
	ReadEpoch uint32           `json:"read_epoch,omitempty"` // of an adopted part: the epoch that read it
}

// syncFacts is what else goes on from run to run of a sync.
type syncFacts struct {
	// IndexRows is how many rows of the sync are known by the account: each run adds what it created and takes off what
	// it deleted. What a retried run counted is counted by the run that retries it.
	IndexRows int64          `json:"index_rows,omitempty"`
	Accepted  acceptedSchema `json:"accepted,omitzero"`   // the columns of its last stored plan
	Keys      []string       `json:"keys,omitempty"`      // the key columns of its last done run
	Fresh     time.Time      `json:"fresh,omitzero"`      // the plan of its last done live run: what the warehouse had then is in
	Base      *comparison    `json:"base,omitempty"`      // what the platform has, as the warehouse keeps it; nil: not known
	BaseFrom  int64          `json:"base_from,omitempty"` // the last run that makes no base: it was open when that was withdrawn
	Kept      *keptAt        `json:"kept,omitempty"`      // where its runs keep snapshots in a warehouse; nil: nowhere
	// Conditions is what is wrong with the sync, as alerts tell it; Changes is how often that has changed.
	Conditions conditions `json:"conditions,omitempty"`
	Changes    int64      `json:"changes,omitempty"`
}

// acceptedSchema is the columns that drift is judged against.
type acceptedSchema struct {
	Model   string       `json:"model,omitempty"` // fingerprint of connection and query
	Columns []planColumn `json:"columns,omitempty"`
}

// planColumn is a column of a query.
type planColumn struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Arrow string `json:"arrow"`
}
