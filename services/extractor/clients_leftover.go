package extractor

import (
	"context"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
)

// leftover answers something that is left over; false: there is nothing.
func (p *peers) leftover(ctx context.Context, worker string) (leftover, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := p.account.LeaseLeftover(ctx, &schedulerv1.LeaseLeftoverRequest{Worker: worker})
	m := r.GetLeftover()
	if err != nil || m == nil {
		return leftover{}, false, fault.FromStatus(err)
	}
	uid, err := id.ParseSync(m.GetSyncUid())
	if err != nil {
		return leftover{}, false, internal("read a leftover", err)
	}
	return leftover{
		workspace: id.Workspace(m.GetWorkspace()).Or(), uid: uid, version: m.GetSyncVersion(), lastRunNo: m.GetLastRunNo(), try: m.GetTry(),
	}, true, nil
}

// cleared tells how a try to drop a leftover ended.
func (p *peers) cleared(ctx context.Context, l leftover, byHand string, why error) error {
	req := &schedulerv1.ReportLeftoverRequest{SyncUid: l.uid.String(), SyncVersion: l.version, Try: l.try, ByHand: byHand}
	if why != nil {
		f := fault.As(why)
		req.Error = &schedulerv1.RunError{Reason: f.Reason.Word(), Message: told(f)}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := p.account.ReportLeftover(ctx, req)
	return fault.FromStatus(err)
}
