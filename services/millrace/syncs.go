package millrace

import (
	"context"
	"strings"

	"github.com/google/uuid"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

type syncsCmd struct {
	List     syncsListCmd     `cmd:"" help:"List syncs."`
	Get      syncsGetCmd      `cmd:"" help:"Show one sync."`
	Activate syncsActivateCmd `cmd:"" help:"Check a sync against its warehouse and set it active."`
	Pause    syncsPauseCmd    `cmd:"" help:"Stop a sync's schedule; an open run goes on."`
	Resume   syncsResumeCmd   `cmd:"" help:"Set a sync active again, and healthy where it was faulted."`
	Resync   syncsResyncCmd   `cmd:"" help:"Read everything anew, with the key columns as they are now; in mode mirror rows under other keys are deleted."`
	Delete   syncsDeleteCmd   `cmd:"" help:"Delete a sync; what it brought in stays."`
}

func syncs() resource[*configv1.Sync] {
	return resource[*configv1.Sync]{
		kind: "Sync",
		list: list[*configv1.Sync]{"syncs", []column[*configv1.Sync]{
			idColumn[*configv1.Sync](),
			{"MODEL", (*configv1.Sync).GetDataModel},
			{"MODE", func(m *configv1.Sync) string { return word(m.GetMode()) }},
			{"FEED", (*configv1.Sync).GetFeed},
			{"SCHEDULE", func(m *configv1.Sync) string { return schedule(m.GetSchedule()) }},
			{"STATE", func(m *configv1.Sync) string { return word(m.GetState()) }},
			{"STATUS", func(m *configv1.Sync) string { return word(m.GetStatus()) }},
			{"NEXT STEP", (*configv1.Sync).GetStatusNextStep},
		}},
		page: func(ctx context.Context, c configv1.ConfigServiceClient, q query) ([]*configv1.Sync, string, error) {
			r, err := c.ListSyncs(ctx, &configv1.ListSyncsRequest{Workspace: q.workspace, PageSize: q.size, PageToken: q.token, Filter: q.filter, OrderBy: q.orderBy})
			return r.GetSyncs(), r.GetNextPageToken(), err
		},
		get: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) (*configv1.Sync, error) {
			r, err := c.GetSync(ctx, &configv1.GetSyncRequest{Workspace: w, Id: id})
			return r.GetSync(), err
		},
		del: func(ctx context.Context, c configv1.ConfigServiceClient, w, id string) error {
			_, err := c.DeleteSync(ctx, &configv1.DeleteSyncRequest{Workspace: w, Id: id})
			return err
		},
	}
}

// schedule answers when a sync is due, in a few words.
func schedule(s *configv1.Schedule) string {
	switch w := s.GetWhen().(type) {
	case *configv1.Schedule_Every:
		switch w.Every.GetEvery() {
		case "hourly", "daily", "weekly", "monthly":
			return w.Every.GetEvery()
		}
		return "every " + w.Every.GetEvery()
	case *configv1.Schedule_Cron:
		return "cron " + w.Cron.GetExpression()
	case *configv1.Schedule_Once:
		return "once " + instant(w.Once)
	case *configv1.Schedule_After:
		return "after " + strings.Join(w.After.GetSyncs(), ", ")
	}
	return "on demand"
}

type syncsListCmd struct{ listFlags }

func (c *syncsListCmd) Run(ctx context.Context, s *session) error {
	return listResources(ctx, s, syncs(), c.listFlags)
}

type syncsGetCmd struct{ idArg }

func (c *syncsGetCmd) Run(ctx context.Context, s *session) error {
	return getResource(ctx, s, syncs(), c.ID)
}

type syncsDeleteCmd struct{ idArg }

func (c *syncsDeleteCmd) Run(ctx context.Context, s *session) error {
	return deleteResource(ctx, s, syncs(), c.ID)
}

type syncsActivateCmd struct{ idArg }

func (c *syncsActivateCmd) Run(ctx context.Context, s *session) error {
	return turn(ctx, s, "activated", func(ctx context.Context, cc configv1.ConfigServiceClient) (*configv1.Sync, error) {
		r, err := cc.ActivateSync(ctx, &configv1.ActivateSyncRequest{Workspace: s.flags.Workspace, Id: c.ID})
		return r.GetSync(), err
	})
}

type syncsPauseCmd struct{ idArg }

func (c *syncsPauseCmd) Run(ctx context.Context, s *session) error {
	return turn(ctx, s, "paused", func(ctx context.Context, cc configv1.ConfigServiceClient) (*configv1.Sync, error) {
		r, err := cc.PauseSync(ctx, &configv1.PauseSyncRequest{Workspace: s.flags.Workspace, Id: c.ID})
		return r.GetSync(), err
	})
}

type syncsResumeCmd struct{ idArg }

func (c *syncsResumeCmd) Run(ctx context.Context, s *session) error {
	return turn(ctx, s, "resumed", func(ctx context.Context, cc configv1.ConfigServiceClient) (*configv1.Sync, error) {
		r, err := cc.ResumeSync(ctx, &configv1.ResumeSyncRequest{Workspace: s.flags.Workspace, Id: c.ID})
		return r.GetSync(), err
	})
}

type syncsResyncCmd struct {
	idArg
	Wait bool `help:"Wait for the end of the run."`
}

// Run starts the run that resyncs and answers it at once, or with --wait at its end.
func (c *syncsResyncCmd) Run(ctx context.Context, s *session) error {
	key := uuid.NewString() // a repeated call starts no second run
	trigger := func(ctx context.Context, sc schedulerv1.SchedulerServiceClient) (*schedulerv1.Run, error) {
		r, err := sc.TriggerRun(ctx, &schedulerv1.TriggerRunRequest{
			Workspace: s.flags.Workspace, Sync: c.ID, IdempotencyKey: key, Resync: true, Reason: schedulerv1.RunReason_RUN_REASON_MANUAL,
		})
		return r.GetRun(), err
	}
	if c.Wait {
		return startAndFollow(ctx, s, trigger)
	}
	return answerRun(ctx, s, trigger)
}

// turn changes a sync's state and answers the sync.
func turn(ctx context.Context, s *session, done string, change func(context.Context, configv1.ConfigServiceClient) (*configv1.Sync, error)) error {
	c, err := s.config()
	if err != nil {
		return err
	}
	m, err := change(ctx, c)
	if err != nil {
		return err
	}
	return s.answer(m, line("sync "+m.GetMeta().GetId()+" "+done+": "+word(m.GetState())+", "+word(m.GetStatus())))
}
