package scheduler

import (
	"context"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/sqldb"
)

// cost is what queries cost, as far as the warehouse says it.
type cost struct {
	Scanned *int64 `json:"scanned,omitempty"` // bytes
	Billed  *int64 `json:"billed,omitempty"`  // bytes
}

// add answers what both cost together, as far as it is known of either.
func (c cost) add(d cost) cost {
	return cost{Scanned: addKnown(c.Scanned, d.Scanned), Billed: addKnown(c.Billed, d.Billed)}
}

func addKnown(a, b *int64) *int64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	sum := *a + *b
	return &sum
}

// spend adds what an attempt cost to its run, unless that is there already. What was read twice was paid for twice, and is
// added twice, each by its epoch.
func spend(ctx context.Context, tx *sqldb.Tx, name id.Part, epoch uint32, c cost) error {
	first, err := firstTold(ctx, tx, name, epoch, c)
	if err != nil || !first {
		return err
	}
	r, err := getRun(ctx, tx, name.Run)
	if err != nil {
		return err
	}
	r.Facts.Cost = r.Facts.Cost.add(c)
	return updateRun(ctx, tx, r)
}

// firstTold notes that the cost of an attempt is told, and says whether it was not yet.
func firstTold(ctx context.Context, tx *sqldb.Tx, name id.Part, epoch uint32, c cost) (bool, error) {
	if c == (cost{}) {
		return false, nil
	}
	n, err := tx.Exec(ctx, "INSERT INTO scheduler_costs (run_id, part, epoch) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
		name.Run.String(), int64(name.Part), int64(epoch))
	return n > 0, err
}

// spentLate adds what an attempt cost that has lost its lease, however its run stands.
func (s *Service) spentLate(ctx context.Context, name id.Part, epoch uint32, c cost) error {
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		p, err := getPart(ctx, tx, name.Run, name.Part)
		if err != nil {
			return err
		}
		if epoch == 0 || epoch > p.Epoch {
			return fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "epoch", Message: "is none that the part was leased under", Fix: "pass that of the lease"}})
		}
		return spend(ctx, tx, name, epoch, c)
	})
	if err == nil {
		s.changed.ring()
	}
	return plain(err)
}
