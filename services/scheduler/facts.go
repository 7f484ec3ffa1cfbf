package scheduler

import "time"

// runFacts is what else is kept of a run, beside what queries look for.
type runFacts struct {
	From     time.Time `json:"from,omitzero"` // bounds of a backfill
	Until    time.Time `json:"until,omitzero"`
	ReplayOf string    `json:"replay_of,omitempty"` // the run whose rejects it replays
	Plan     planFacts `json:"plan,omitzero"`
}

// planFacts is what else is kept of a run's plan.
type planFacts struct {
	Counted *int64 `json:"counted,omitempty"` // rows of the parts in the snapshot, where the warehouse counted them
	Future  int64  `json:"future,omitempty"`  // rows beyond what the window may hold
}

// partFacts is what else is kept of a part.
type partFacts struct {
	Snapshot  string `json:"snapshot,omitempty"`  // that it was read under
	Probe     bool   `json:"probe,omitempty"`     // its lease is to show whether the warehouse answers; nothing has come yet
	Throttled int64  `json:"throttled,omitempty"` // how often in a row the warehouse has asked to wait
}

// syncFacts is what else goes on from run to run of a sync.
type syncFacts struct{}
