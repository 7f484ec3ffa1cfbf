package extractor

import (
	"context"
	"math"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// leftover is what runs of a sync up to one have left in a warehouse, and nobody needs any more.
type leftover struct {
	workspace id.Workspace
	uid       id.Sync
	version   int64 // of the sync; it tells how to get there
	lastRunNo int64
	try       int64
}

// clearTimeout bounds one try to drop what is left over.
const clearTimeout = 2 * time.Minute

// clearing drops what mirrors have left in warehouses, one after the other, until soft ends.
func (s *Service) clearing(soft, hard context.Context) {
	every := time.NewTicker(s.settings.HoldPoll)
	defer every.Stop()
	for {
		select {
		case <-soft.Done():
			return
		case <-every.C:
		}
		for more := true; more && soft.Err() == nil; {
			more = s.clearNext(hard)
		}
	}
}

// clearNext drops one leftover and tells how that ended. It answers false where there is none to be had. That nobody gives
// any is told by who leases parts.
func (s *Service) clearNext(hard context.Context) bool {
	l, ok, err := s.peers.leftover(hard, s.worker)
	if err != nil || !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(hard, clearTimeout)
	byHand, err := s.clear(ctx, l)
	cancel()
	if hard.Err() != nil {
		return false // the grace is over; it is tried again
	}
	if err := s.peers.cleared(hard, l, byHand, err); err != nil {
		s.log.WarnContext(hard, "what became of a mirror's leftovers could not be told; it is tried again", "sync_uid", l.uid.String(), "error", err)
		return false
	}
	return true
}

// clear drops what is left over, and answers what there is to drop by hand where it cannot.
func (s *Service) clear(ctx context.Context, l leftover) (byHand string, err error) {
	c, err := s.reaches(ctx, l)
	if err != nil {
		return "", err
	}
	d, err := s.driver(c)
	if err != nil {
		return "", err
	}
	k, ok := d.(source.StateKeeper)
	if !ok {
		return "", fault.New(fault.Precondition, fault.ReasonDriverMissing, "the driver of %s keeps no snapshots", c.Provider())
	}
	byHand = k.Whereabouts(c, ownerOf(l.uid))
	plain, err := s.keys.OpenConnection(c)
	if err != nil {
		return byHand, err //nolint:wrapcheck // classified by secret
	}
	err = k.Clear(ctx, plain, ownerOf(l.uid), source.Attempt{Run: l.lastRunNo, Epoch: math.MaxUint32})
	return byHand, err //nolint:wrapcheck // classified by the driver
}

// reaches answers the connection by which a leftover is reached: as the sync has it now, or had it at its end, where that
// is still the same place, so that mended credentials count; else as it had it then.
func (s *Service) reaches(ctx context.Context, l leftover) (resource.Connection, error) {
	then, err := s.peers.snapshotAt(ctx, l.workspace, l.uid, l.version)
	if err != nil {
		return resource.Connection{}, err
	}
	now, err := s.peers.snapshotAt(ctx, l.workspace, l.uid, 0)
	if err != nil {
		return resource.Connection{}, err
	}
	if now.Connection.StatePlace() == then.Connection.StatePlace() {
		return now.Connection, nil
	}
	return then.Connection, nil
}
