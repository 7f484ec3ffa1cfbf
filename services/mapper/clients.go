package mapper

import (
	"context"

	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordpb"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

// peers are the services that the mapper calls. Safe for concurrent use.
type peers struct {
	config  configv1.ConfigServiceClient
	account schedulerv1.AccountServiceClient
}

func newPeers(dial func(string) (grpc.ClientConnInterface, error)) (*peers, error) {
	config, err := dial("config")
	if err != nil {
		return nil, err
	}
	scheduler, err := dial("scheduler")
	if err != nil {
		return nil, err
	}
	return &peers{config: configv1.NewConfigServiceClient(config), account: schedulerv1.NewAccountServiceClient(scheduler)}, nil
}

// snapshot answers the sync as it was at the version that a batch was read by.
func (p *peers) snapshot(ctx context.Context, o record.Origin) (resource.Snapshot, error) {
	resp, err := p.config.GetSyncSnapshot(ctx, &configv1.GetSyncSnapshotRequest{
		Workspace: string(o.Workspace.Or()), Sync: o.Sync.String(), Version: o.SyncVersion,
	})
	if err != nil {
		return resource.Snapshot{}, fault.FromStatus(err) //nolint:wrapcheck // classified by the service
	}
	return resourcepb.OfSnapshot(resp.GetSnapshot()), nil
}

// quarantined tells the account that a batch was given up. A run that has moved on does not want to know, which is fine.
func (p *peers) quarantined(ctx context.Context, b id.Batch, cause error) error {
	f := fault.As(cause)
	message := f.Message
	if f.Class == fault.Internal && f.Reason == fault.ReasonInternal {
		message = "the mapper failed on the batch; the service's log has the cause"
	}
	_, err := p.account.ReportQuarantined(ctx, &schedulerv1.ReportQuarantinedRequest{
		Batch: recordpb.ToBatch(b), Error: &schedulerv1.RunError{Reason: f.Reason.Word(), Message: message},
	})
	if err = fault.FromStatus(err); err != nil && fault.ReasonOf(err) == fault.ReasonFenced {
		return nil
	}
	return err
}
