package store

import (
	"cmp"
	"slices"
	"time"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
)

// StoredReject is a reject as kept.
type StoredReject struct {
	Reject record.Reject
	Batch  id.Batch
	Origin StoredOrigin
	Time   time.Time
}

// StoredOrigin is the lineage of a reject.
type StoredOrigin struct {
	Workspace id.Workspace
	Sync      id.Sync
	SyncID    string
}

// RejectGroup is what rejects are counted by.
type RejectGroup struct {
	Stage                record.Stage
	Column, Rule, Reason string
}

// RejectCount is how many rejects a group has.
type RejectCount struct {
	RejectGroup
	Rejects int64
}

// OtherReasons is the reason of the group that stands for all groups beyond a limit.
const OtherReasons = "other reasons"

// Ranked answers counts, most first, with the rest, unless it is none, as the last group.
func Ranked(counts []RejectCount, rest int64) []RejectCount {
	slices.SortFunc(counts, func(a, b RejectCount) int {
		return cmp.Or(cmp.Compare(b.Rejects, a.Rejects), cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason))
	})
	if rest > 0 {
		counts = append(counts, RejectCount{RejectGroup{Reason: OtherReasons}, rest})
	}
	return counts
}
