package extractor

import (
	"context"
	"iter"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/mapping"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/wire"
)

// keyBytes is more than a key takes in an envelope.
const keyBytes = 48

// absent passes on the keys of rows that the run's parts have not read, or that the warehouse found gone, straight to ingestion: there is nothing to map.
// They are counted as rows of the part and have no digest.
func (s *Service) absent(soft, ctx context.Context, l *lease, snap resource.Snapshot, far *progress) ending { //nolint:revive // soft comes first, as in Run
	p := s.partOf(l, snap, far)
	p.publisher, p.origin.Sights = s.bus.Publisher(bus.Records, s.settings.Window), false
	kind := mapping.KindOf(snap.DataModel.Kind)
	sending, sendCtx := errgroup.WithContext(ctx)
	sending.SetLimit(s.settings.Window)
	var err error
	all := s.peers.absent(sendCtx, l)
	if l.plan.isPartial() {
		all = s.gone(sendCtx, l, snap)
	}
	for keys, failed := range bounded(all, l.absent.atMost()) {
		if err = failed; err != nil {
			break
		}
		if s.bus.Room(soft, bus.Records) != nil || soft.Err() != nil {
			err = errStopping
			break
		}
		for some := range slices.Chunk(keys, int(max(1, l.plan.payloadCap/keyBytes))) {
			x, encoded := p.keys(kind, some)
			if err = encoded; err != nil {
				break
			}
			sending.Go(func() error { return p.pass(sendCtx, x, time.Now()) })
		}
	}
	if sent := sending.Wait(); sent != nil {
		return ending{err: sent}
	}
	switch {
	case err == errStopping: //nolint:errorlint // as it is
		return ending{released: true}
	case err != nil:
		return ending{err: err, replan: fault.ReasonOf(err) == fault.ReasonSourceChanged}
	}
	return ending{batches: p.seq.Load(), rows: p.rowsSent.Load(), snapshot: l.plan.Snapshot}
}

// bounded passes keys on once it is sure that there are no more than most; with most 0, at once.
func bounded(all iter.Seq2[[]id.Row, error], most int64) iter.Seq2[[]id.Row, error] {
	if most == 0 {
		return all
	}
	return func(yield func([]id.Row, error) bool) {
		var held [][]id.Row
		n := int64(0)
		for keys, err := range all {
			if err != nil {
				yield(nil, err)
				return
			}
			held = append(held, keys)
			if n += int64(len(keys)); n > most {
				yield(nil, fault.New(fault.Precondition, fault.ReasonGuardBreached, "more than %d known rows are gone", most))
				return
			}
		}
		for _, keys := range held {
			if !yield(keys, nil) {
				return
			}
		}
	}
}

// keys answers a batch of keys.
func (p *part) keys(kind record.Kind, keys []id.Row) (piece, error) {
	o := p.origin
	o.Batch = id.Batch{Run: p.lease.run, Part: p.lease.part, Epoch: p.lease.epoch, Seq: p.next()}
	o.Rows = int64(len(keys))
	body, err := wire.EncodeAbsent(o, kind, keys)
	return piece{batch: o.Batch, rows: o.Rows, body: body}, err //nolint:wrapcheck // classified by wire
}
