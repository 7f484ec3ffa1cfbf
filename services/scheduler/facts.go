package scheduler

import "time"

// runFacts is what else is kept of a run, beside what queries look for.
type runFacts struct {
	From     time.Time `json:"from,omitzero"` // bounds of a backfill
	Until    time.Time `json:"until,omitzero"`
	ReplayOf string    `json:"replay_of,omitempty"` // the run whose rejects it replays
}

// partFacts is what else is kept of a part.
type partFacts struct {
	Snapshot string `json:"snapshot,omitempty"` // that it was read under
}

// syncFacts is what else goes on from run to run of a sync.
type syncFacts struct{}
