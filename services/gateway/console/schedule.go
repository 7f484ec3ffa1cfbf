package console

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/schedule"
)

// scheduleText answers a schedule as one says it.
func scheduleText(s *configv1.Schedule) string {
	switch {
	case s.GetEvery() != nil:
		switch every := s.GetEvery().GetEvery(); every {
		case "hourly", "daily", "weekly", "monthly":
			return every
		default:
			return "every " + every
		}
	case s.GetCron() != nil:
		return strings.TrimSpace("cron " + s.GetCron().GetExpression() + " " + s.GetCron().GetTimeZone())
	case s.GetOnce() != nil:
		return "once, " + s.GetOnce().AsTime().Format(time.DateTime) + " UTC"
	case s.GetAfter() != nil:
		return "after " + strings.Join(s.GetAfter().GetSyncs(), ", ")
	default:
		return "on demand"
	}
}

// nextRun is when a sync runs next: at an instant, or in words where no clock says it.
type nextRun struct {
	At   *moment
	Text string
}

// nextRunOf answers when a sync runs next by itself, of its runs, newest first.
func nextRunOf(s *configv1.Sync, runs []*schedulerv1.Run, now time.Time) nextRun {
	switch s.GetState() {
	case configv1.SyncState_SYNC_STATE_DRAFT:
		return nextRun{Text: "once it is active"}
	case configv1.SyncState_SYNC_STATE_PAUSED:
		return nextRun{Text: "once it is resumed"}
	}
	switch s.GetStatus() {
	case configv1.SyncStatus_SYNC_STATUS_FAULTED:
		return nextRun{Text: "once it is resumed"}
	case configv1.SyncStatus_SYNC_STATUS_HELD:
		return nextRun{Text: "once the held run is approved or dropped"}
	case configv1.SyncStatus_SYNC_STATUS_RESYNC_REQUIRED:
		return nextRun{Text: "once it is resynced"}
	}
	if len(runs) > 0 && isOpen(runs[0].GetState()) && runs[0].GetLane() == schedulerv1.Lane_LANE_LIVE {
		return nextRun{Text: "it runs now"}
	}
	plan, err := scheduleOf(resourcepb.OfSchedule(s.GetSchedule()))
	if err != nil {
		return nextRun{Text: "its schedule can not be read"}
	}
	if at, ok := plan.Next(now); ok {
		return nextRun{At: instant(timestamppb.New(at))}
	}
	if s.GetSchedule().GetOnce() != nil {
		return nextRun{Text: "never: its instant is over"}
	}
	if s.GetSchedule().GetAfter() != nil {
		return nextRun{Text: scheduleText(s.GetSchedule())}
	}
	return nextRun{Text: "when it is started"}
}

func scheduleOf(s resource.Schedule) (schedule.Schedule, error) {
	switch {
	case s.Every != "":
		return schedule.Every(s.Every, s.Start) //nolint:wrapcheck // only told
	case s.Cron != "":
		return schedule.Cron(s.Cron, s.TimeZone) //nolint:wrapcheck // only told
	case !s.Once.IsZero():
		return schedule.Once(s.Once), nil
	default:
		return schedule.Schedule{}, nil
	}
}

// freshness is of when a sync's data is.
type freshness struct {
	Of   *moment // nil before the first run that succeeded
	Goal string  // the age that it is to have at most; empty: none
	Late string  // by how much it is older; empty: it is not
}

// freshOf answers of when a sync's data is: what the warehouse had when the newest live run that succeeded was planned is here.
func freshOf(s *configv1.Sync, runs []*schedulerv1.Run, now time.Time) freshness {
	f := freshness{Goal: s.GetFreshness()}
	i := slices.IndexFunc(runs, func(r *schedulerv1.Run) bool {
		done := r.GetState() == schedulerv1.RunState_RUN_STATE_SUCCEEDED || r.GetState() == schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED
		return done && r.GetLane() == schedulerv1.Lane_LANE_LIVE && !r.GetDryRun() && r.GetPlanTime() != nil
	})
	if i < 0 {
		return f
	}
	f.Of = instant(runs[i].GetPlanTime())
	goal, err := resource.ParseDuration(f.Goal)
	if over := now.Sub(runs[i].GetPlanTime().AsTime()) - goal; err == nil && goal > 0 && over > 0 && s.GetState() == configv1.SyncState_SYNC_STATE_ACTIVE {
		if f.Late = "less than a minute"; over >= time.Minute {
			f.Late = strings.TrimSuffix(span(over.Truncate(time.Minute)), " 0 s")
		}
	}
	return f
}

// isOpen says whether a run is still to end.
func isOpen(s schedulerv1.RunState) bool {
	switch s {
	case schedulerv1.RunState_RUN_STATE_QUEUED, schedulerv1.RunState_RUN_STATE_PLANNING, schedulerv1.RunState_RUN_STATE_RUNNING, schedulerv1.RunState_RUN_STATE_HELD:
		return true
	default:
		return false
	}
}
