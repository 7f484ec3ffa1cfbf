// Package recordpb turns batches' names, counts and results into their messages and back.
package recordpb

import (
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// ToCounts answers c as a message.
func ToCounts(c record.Counts) *schedulerv1.Counts {
	return &schedulerv1.Counts{
		Read: c.Read, Filtered: c.Filtered, Rejected: c.Rejected, Mapped: c.Mapped, Absent: c.Absent,
		Created: c.Created, Updated: c.Updated, Unchanged: c.Unchanged, Deleted: c.Deleted, Protected: c.Protected, Refused: c.Refused,
		LateRows: c.LateRows, Collapsed: c.Collapsed, Unattributed: c.Unattributed, NullIterator: c.NullIterator,
		Merges: c.Merges, Blocked: c.Blocked,
	}
}

// OfCounts reads what ToCounts answered; zero for nil.
func OfCounts(c *schedulerv1.Counts) record.Counts {
	return record.Counts{
		Read: c.GetRead(), Filtered: c.GetFiltered(), Rejected: c.GetRejected(), Mapped: c.GetMapped(), Absent: c.GetAbsent(),
		Created: c.GetCreated(), Updated: c.GetUpdated(), Unchanged: c.GetUnchanged(), Deleted: c.GetDeleted(),
		Protected: c.GetProtected(), Refused: c.GetRefused(), LateRows: c.GetLateRows(), Collapsed: c.GetCollapsed(),
		Unattributed: c.GetUnattributed(), NullIterator: c.GetNullIterator(), Merges: c.GetMerges(), Blocked: c.GetBlocked(),
	}
}

// ToBatch answers b as a message.
func ToBatch(b id.Batch) *schedulerv1.BatchRef {
	return &schedulerv1.BatchRef{Run: b.Run.String(), Part: b.Part, Epoch: b.Epoch, Seq: b.Seq, Fragment: b.Fragment}
}

// OfBatch reads what ToBatch answered. Invalid when it names no run.
func OfBatch(b *schedulerv1.BatchRef) (id.Batch, error) {
	run, err := id.ParseRun(b.GetRun())
	if err != nil {
		return id.Batch{}, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "batch: %w", err)
	}
	return id.Batch{Run: run, Part: b.GetPart(), Epoch: b.GetEpoch(), Seq: b.GetSeq(), Fragment: b.GetFragment()}, nil
}

// ToResult answers r as a message.
func ToResult(r profile.Result) *schedulerv1.IngestResult {
	digest := r.Digest.Bytes()
	return &schedulerv1.IngestResult{
		Batch: ToBatch(r.Batch), FirstRow: r.FirstRow, Rows: r.Rows, Last: r.Last, Counts: ToCounts(r.Counts), Digest: digest[:],
	}
}

// OfResult reads what ToResult answered. Invalid when it names no batch or its digest has not 16 bytes.
func OfResult(r *schedulerv1.IngestResult) (profile.Result, error) {
	b, err := OfBatch(r.GetBatch())
	if err != nil {
		return profile.Result{}, err
	}
	digest, err := OfDigest(r.GetDigest())
	if err != nil {
		return profile.Result{}, err
	}
	return profile.Result{Batch: b, FirstRow: r.GetFirstRow(), Rows: r.GetRows(), Last: r.GetLast(), Counts: OfCounts(r.GetCounts()), Digest: digest}, nil
}

// OfDigest reads the 16 bytes of a digest.
func OfDigest(b []byte) (row.Hash, error) {
	if len(b) != 16 {
		return row.Hash{}, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "digest has %d bytes; send 16", len(b))
	}
	return row.FromBytes(b), nil
}
