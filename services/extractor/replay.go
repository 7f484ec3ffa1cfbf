package extractor

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/wire"
)

// replayLimit bounds the bytes of kept rows that are in memory at once: several times what a batch is read with.
const replayLimit = 4 * rawLimit

// rejected are rows of the rejects of one batch, as they were read.
type rejected struct {
	origin record.Origin // of then
	rows   arrow.RecordBatch
}

// readRejected reads an envelope of rejected rows, without the system columns: key, hash and time follow from the row and
// the sync as it is now, as when the warehouse brings it again.
func readRejected(envelope []byte) (rejected, error) {
	o, b, err := wire.DecodeRows(envelope, replayLimit)
	if err != nil {
		return rejected{}, fmt.Errorf("read kept rows: %w", err)
	}
	meta := b.Record.Schema().Metadata()
	own := arrow.NewSchema(b.Record.Schema().Fields()[:b.Columns()], &meta)
	return rejected{o, array.NewRecordBatch(own, b.Record.Columns()[:b.Columns()], b.Record.NumRows())}, nil
}

// planReplay plans a run that takes the rejected rows of another in place of the warehouse's: one part, and nothing to
// watch. Rows of whatever columns must fit the mapping as it is now.
func (s *Service) planReplay(ctx context.Context, l *lease, snap resource.Snapshot) (plan, error) {
	name := "rejects of run " + l.replayOf.String()
	p := plan{Plan: source.Plan{Snapshot: name, Parts: []source.Range{{Unit: name}}}, payloadCap: s.bus.PayloadCap()}
	fits := map[string]bool{}
	for envelope, err := range s.peers.rejected(ctx, l) {
		if err != nil {
			return plan{}, err
		}
		r, err := readRejected(envelope)
		if err != nil {
			return plan{}, err
		}
		p.EstimatedRows += r.rows.NumRows()
		if p.SnapshotTime.IsZero() {
			p.SnapshotTime = r.origin.SnapshotTime
		}
		columns := fingerprint(r.rows.Schema())
		if fits[columns] {
			continue
		}
		program, err := replayable(l, snap, r.rows.Schema())
		if err != nil {
			return plan{}, err
		}
		fits[columns] = true
		p.fingerprint, p.keys, p.program = columns, program.KeyColumns(), program.Version()
	}
	if p.EstimatedRows == 0 {
		return plan{}, fault.New(fault.Precondition, fault.ReasonRunState, "no row of the %s is kept any more; read them from the warehouse again", name)
	}
	return p, nil
}

// replayable compiles the mapping of now against the columns of then.
func replayable(l *lease, snap resource.Snapshot, schema *arrow.Schema) (*mapping.Program, error) {
	_, _, err := axisOf(snap, schema)
	if err == nil {
		var program *mapping.Program
		if program, err = mapping.Compile(snap.Mapping, snap.DataModel, schema); err == nil {
			return program, nil
		}
	}
	f := *fault.As(err)
	f.Message = fmt.Sprintf("the rejected rows of run %s do not fit the sync as it is now: %s; read them from the warehouse again, or mend the mapping", l.replayOf, f.Message)
	return nil, &f
}

// replay reads the rejected rows of another run and publishes them.
func (s *Service) replay(soft, ctx context.Context, l *lease, snap resource.Snapshot, far *progress) ending { //nolint:revive // soft comes first, as in Run
	p := s.partOf(l, snap, far)
	for envelope, err := range s.peers.rejected(ctx, l) {
		if soft.Err() != nil {
			return ending{released: true}
		}
		if err == nil {
			err = p.again(ctx, snap, envelope)
		}
		if err != nil {
			return ending{err: err}
		}
	}
	return ending{batches: p.seq.Load(), rows: p.rowsSent.Load(), snapshot: l.plan.Snapshot}
}

// again sends the rows of an envelope, under the snapshot and in the place of the run that read them.
func (p *part) again(ctx context.Context, snap resource.Snapshot, envelope []byte) error {
	since := time.Now()
	r, err := readRejected(envelope)
	if err != nil {
		return err
	}
	if err := p.of(snap, r.rows.Schema()); err != nil {
		return err
	}
	p.origin.SnapshotTime, p.origin.ReadRunNo = r.origin.SnapshotTime, r.origin.ReadRunNo
	if p.origin.ReadRunNo == 0 {
		p.origin.ReadRunNo = r.origin.RunNo
	}
	return p.send(ctx, r.rows, since)
}
