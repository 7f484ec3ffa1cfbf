package millrace

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

type runsCmd struct {
	List    runsListCmd    `cmd:"" help:"List a sync's runs, newest first."`
	Get     runsGetCmd     `cmd:"" help:"Show one run with its counts and certificate."`
	Watch   runsWatchCmd   `cmd:"" help:"Follow a run to its end."`
	Cancel  runsCancelCmd  `cmd:"" help:"Stop a run; what is accounted for stands."`
	Retry   runsRetryCmd   `cmd:"" help:"Start a run that goes on where a failed or cancelled one stopped."`
	Approve runsApproveCmd `cmd:"" help:"Let a held run go on, past what it is held for."`
	Drop    runsDropCmd    `cmd:"" help:"End a held run; what it has written stands."`
	Batches runsBatchesCmd `cmd:"" help:"List a run's batches."`
	Parts   runsPartsCmd   `cmd:"" help:"List a run's parts."`
}

// runArg is the run that a command is about.
type runArg struct {
	RunID string `arg:"" name:"run" help:"The run's id."`
}

type runsListCmd struct {
	limitFlag
	Sync   string `arg:"" help:"The sync's id."`
	Filter string `help:"Terms FIELD=VALUE joined by AND, over state, lane and reason." placeholder:"TERMS"`
}

func (c *runsListCmd) Run(ctx context.Context, s *session) error {
	sc, err := s.scheduler()
	if err != nil {
		return err
	}
	l := list[*schedulerv1.Run]{"runs", []column[*schedulerv1.Run]{
		{"RUN", (*schedulerv1.Run).GetId},
		{"NO", func(r *schedulerv1.Run) string { return strconv.FormatInt(r.GetRunNo(), 10) }},
		{"LANE", func(r *schedulerv1.Run) string { return word(r.GetLane()) }},
		{"REASON", func(r *schedulerv1.Run) string { return word(r.GetReason()) }},
		{"STATE", func(r *schedulerv1.Run) string { return word(r.GetState()) }},
		{"STARTED", func(r *schedulerv1.Run) string { return instant(r.GetStartTime()) }},
		{"TOOK", func(r *schedulerv1.Run) string { return span(r.GetStartTime(), r.GetEndTime()) }},
		{"READ", func(r *schedulerv1.Run) string { return number(r.GetCounts().GetRead()) }},
		{"CREATED", func(r *schedulerv1.Run) string { return number(r.GetCounts().GetCreated()) }},
		{"UPDATED", func(r *schedulerv1.Run) string { return number(r.GetCounts().GetUpdated()) }},
		{"UNCHANGED", func(r *schedulerv1.Run) string { return number(r.GetCounts().GetUnchanged()) }},
		{"REJECTED", func(r *schedulerv1.Run) string { return number(r.GetCounts().GetRejected()) }},
	}}
	return show(ctx, s, l, c.limitFlag, func(ctx context.Context, size int32, token string) ([]*schedulerv1.Run, string, error) {
		r, err := sc.ListRuns(ctx, &schedulerv1.ListRunsRequest{Workspace: s.flags.Workspace, Sync: c.Sync, Filter: c.Filter, PageSize: size, PageToken: token})
		for _, run := range r.GetRuns() {
			complete(run)
		}
		return r.GetRuns(), r.GetNextPageToken(), err //nolint:wrapcheck // classified by the service
	})
}

type runsGetCmd struct{ runArg }

func (c *runsGetCmd) Run(ctx context.Context, s *session) error {
	return answerRun(ctx, s, func(ctx context.Context, sc schedulerv1.SchedulerServiceClient) (*schedulerv1.Run, error) {
		r, err := sc.GetRun(ctx, &schedulerv1.GetRunRequest{Workspace: s.flags.Workspace, Id: c.RunID})
		return r.GetRun(), err
	})
}

type runsCancelCmd struct{ runArg }

func (c *runsCancelCmd) Run(ctx context.Context, s *session) error {
	return answerRun(ctx, s, func(ctx context.Context, sc schedulerv1.SchedulerServiceClient) (*schedulerv1.Run, error) {
		r, err := sc.CancelRun(ctx, &schedulerv1.CancelRunRequest{Workspace: s.flags.Workspace, Id: c.RunID})
		return r.GetRun(), err
	})
}

type runsRetryCmd struct {
	runArg
	Wait bool `help:"Follow the new run to its end."`
}

func (c *runsRetryCmd) Run(ctx context.Context, s *session) error {
	retry := func(ctx context.Context, sc schedulerv1.SchedulerServiceClient) (*schedulerv1.Run, error) {
		r, err := sc.RetryRun(ctx, &schedulerv1.RetryRunRequest{Workspace: s.flags.Workspace, Id: c.RunID})
		return r.GetRun(), err
	}
	if c.Wait {
		return startAndFollow(ctx, s, retry)
	}
	return answerRun(ctx, s, retry)
}

type runsApproveCmd struct {
	runArg
	Wait bool `help:"Follow the run to its end."`
}

func (c *runsApproveCmd) Run(ctx context.Context, s *session) error {
	approve := func(ctx context.Context, sc schedulerv1.SchedulerServiceClient) (*schedulerv1.Run, error) {
		r, err := sc.ApproveRun(ctx, &schedulerv1.ApproveRunRequest{Workspace: s.flags.Workspace, Id: c.RunID})
		return r.GetRun(), err
	}
	if c.Wait {
		return startAndFollow(ctx, s, approve)
	}
	return answerRun(ctx, s, approve)
}

type runsDropCmd struct{ runArg }

func (c *runsDropCmd) Run(ctx context.Context, s *session) error {
	return answerRun(ctx, s, func(ctx context.Context, sc schedulerv1.SchedulerServiceClient) (*schedulerv1.Run, error) {
		r, err := sc.DropRun(ctx, &schedulerv1.DropRunRequest{Workspace: s.flags.Workspace, Id: c.RunID})
		return r.GetRun(), err
	})
}

type runsWatchCmd struct{ runArg }

// Run answers the run at its end, with the exit code of what became of it.
func (c *runsWatchCmd) Run(ctx context.Context, s *session) error {
	return s.followRun(ctx, c.RunID)
}

// callRun is a call that answers a run.
type callRun func(ctx context.Context, sc schedulerv1.SchedulerServiceClient) (*schedulerv1.Run, error)

func answerRun(ctx context.Context, s *session, call callRun) error {
	sc, err := s.scheduler()
	if err != nil {
		return err
	}
	run, err := call(ctx, sc)
	if err != nil {
		return err
	}
	complete(run)
	return s.answer(run, drawRun(run))
}

// complete gives a run the blocks that every run shows, from its first state on.
func complete(r *schedulerv1.Run) {
	if r == nil {
		return
	}
	if r.Counts == nil {
		r.Counts = &schedulerv1.Counts{}
	}
	if r.Certificate == nil {
		r.Certificate = &schedulerv1.Certificate{}
	}
	if r.Window == nil {
		r.Window = &schedulerv1.Window{Lane: r.GetLane()}
	}
}

// drawRun draws a run with its counts and certificate.
func drawRun(r *schedulerv1.Run) func(io.Writer) error {
	return func(w io.Writer) error {
		t := newTable(w)
		c, cert := r.GetCounts(), r.GetCertificate()
		t.row("run", r.GetId())
		t.row("sync", fmt.Sprintf("%s, run %d, %s lane, %s", r.GetSync(), r.GetRunNo(), word(r.GetLane()), word(r.GetReason())))
		t.row("state", stateOf(r))
		if e := r.GetError(); e != nil {
			t.row("error", e.GetMessage()+" (reason: "+e.GetReason()+")")
		}
		t.fact("retry of", r.GetRetryOf())
		t.fact("replay of", r.GetReplayOf())
		drawHold(t, r)
		t.fact("started", instant(r.GetStartTime()))
		t.fact("took", span(r.GetStartTime(), r.GetEndTime()))
		if win := r.GetWindow(); win.GetLow() != "" || win.GetHigh() != "" {
			t.row("window", edge(win.GetLow())+" to "+edge(win.GetHigh()))
		}
		t.row("moved", fmt.Sprintf("%s in %s batches of %s parts", size(r.GetBytesRead()), number(r.GetBatches()), number(r.GetParts())))
		t.fact("cost", costOf(r))
		t.row("counts", fmt.Sprintf("read %s = filtered %s + rejected %s + mapped %s",
			number(c.GetRead()), number(c.GetFiltered()), number(c.GetRejected()), number(c.GetMapped())))
		t.row("", fmt.Sprintf("mapped %s + absent %s = created %s + updated %s + unchanged %s + deleted %s + protected %s + refused %s",
			number(c.GetMapped()), number(c.GetAbsent()), number(c.GetCreated()), number(c.GetUpdated()),
			number(c.GetUnchanged()), number(c.GetDeleted()), number(c.GetProtected()), number(c.GetRefused())))
		t.row("", fmt.Sprintf("late_rows %s, collapsed %s, unattributed %s, null_iterator %s, merges %s, blocked %s",
			number(c.GetLateRows()), number(c.GetCollapsed()), number(c.GetUnattributed()), number(c.GetNullIterator()),
			number(c.GetMerges()), number(c.GetBlocked())))
		if r.GetDryRun() {
			drawDryRun(t, r)
		}
		if n := r.GetFutureRows(); n > 0 {
			t.row("notice", "future_rows "+number(n)+": their iterator lies beyond the snapshot (less the delay); a later run reads them")
		}
		for _, c := range r.GetDrift() {
			t.row("drift", columnChange(c))
			t.fact("", c.GetChoices())
		}
		t.row("certificate", balance(r))
		if cert.SourceRows != nil {
			t.row("", "source_rows "+number(cert.GetSourceRows())+", counted by the warehouse in the snapshot")
		}
		t.row("", "rows_digest "+cert.GetRowsDigest())
		t.row("", "accounted_digest "+cert.GetAccountedDigest())
		for _, name := range cert.GetSnapshots() {
			t.row("", "snapshot "+name)
		}
		switch {
		case r.GetDryRun():
			t.row("next", "run it, with the flags of the dry run less --dry-run: millrace run "+r.GetSync())
		case c.GetRejected()+c.GetRefused() > 0:
			t.row("next", "millrace rejects list "+r.GetId())
		}
		return t.flush()
	}
}

// costOf says what a run's queries cost, and what they were estimated to; nothing where the warehouse says nothing.
func costOf(r *schedulerv1.Run) string {
	var parts []string
	say := func(format string, n *int64) {
		if n != nil {
			parts = append(parts, fmt.Sprintf(format, size(*n)))
		}
	}
	if c := r.GetCost(); c != nil {
		say("scanned %s", c.BytesScanned)
		say("billed %s", c.BytesBilled)
	}
	if c := r.GetEstimatedCost(); c != nil {
		say("estimated to scan %s", c.BytesScanned)
	}
	return strings.Join(parts, ", ")
}

// columnChange says how a column differs from the run before, and what the run does about it.
func columnChange(c *schedulerv1.ColumnChange) string {
	out := fmt.Sprintf("column %q %s", c.GetColumn(), c.GetChange())
	switch {
	case c.GetWas() != "" && c.GetIs() != "":
		out += ", " + c.GetWas() + " to " + c.GetIs()
	default:
		out += ", " + c.GetWas() + c.GetIs()
	}
	return out + ": " + c.GetAction()
}

func edge(value string) string {
	if value == "" {
		return "the beginning"
	}
	return value
}

// balance says how a run's account stands.
func balance(r *schedulerv1.Run) string {
	switch {
	case r.GetCertificate().GetBalanced():
		return "balanced"
	case !over(r.GetState()):
		return "open"
	}
	return "not balanced"
}

type runsPartsCmd struct {
	runArg
	limitFlag
}

func (c *runsPartsCmd) Run(ctx context.Context, s *session) error {
	sc, err := s.scheduler()
	if err != nil {
		return err
	}
	l := list[*schedulerv1.Part]{"parts", []column[*schedulerv1.Part]{
		{"PART", func(p *schedulerv1.Part) string { return unsigned(p.GetPart()) }},
		{"STATE", func(p *schedulerv1.Part) string { return word(p.GetState()) }},
		{"EPOCH", func(p *schedulerv1.Part) string { return unsigned(p.GetEpoch()) }},
		{"TRIES", func(p *schedulerv1.Part) string { return strconv.Itoa(int(p.GetTries())) }},
		{"READ", func(p *schedulerv1.Part) string { return number(p.GetCounts().GetRead()) }},
		{"WORKER", (*schedulerv1.Part).GetWorker},
		{"RANGE", (*schedulerv1.Part).GetRange},
		{"SNAPSHOT", (*schedulerv1.Part).GetSnapshot},
		{"ERROR", func(p *schedulerv1.Part) string { return p.GetError().GetMessage() }},
	}}
	return show(ctx, s, l, c.limitFlag, func(ctx context.Context, size int32, token string) ([]*schedulerv1.Part, string, error) {
		r, err := sc.ListParts(ctx, &schedulerv1.ListPartsRequest{Workspace: s.flags.Workspace, Run: c.RunID, PageSize: size, PageToken: token})
		return r.GetParts(), r.GetNextPageToken(), err
	})
}

type runsBatchesCmd struct {
	runArg
	limitFlag
}

func (c *runsBatchesCmd) Run(ctx context.Context, s *session) error {
	sc, err := s.scheduler()
	if err != nil {
		return err
	}
	l := list[*schedulerv1.Batch]{"batches", []column[*schedulerv1.Batch]{
		{"BATCH", (*schedulerv1.Batch).GetId},
		{"ROWS", func(b *schedulerv1.Batch) string { return number(b.GetRows()) }},
		{"SIZE", func(b *schedulerv1.Batch) string { return size(b.GetBytes()) }},
		{"INGESTED", func(b *schedulerv1.Batch) string { return yesNo(b.GetIngested()) }},
		{"EFFECTS", func(b *schedulerv1.Batch) string { return effects(b.GetCounts()) }},
		{"TRACE", (*schedulerv1.Batch).GetTraceId},
	}}
	return show(ctx, s, l, c.limitFlag, func(ctx context.Context, size int32, token string) ([]*schedulerv1.Batch, string, error) {
		r, err := sc.ListBatches(ctx, &schedulerv1.ListBatchesRequest{Workspace: s.flags.Workspace, Run: c.RunID, PageSize: size, PageToken: token})
		return r.GetBatches(), r.GetNextPageToken(), err
	})
}

// effects answers the counts that are not zero, read and mapped left out.
func effects(c *schedulerv1.Counts) string {
	var parts []string
	for _, e := range []struct {
		name string
		n    int64
	}{
		{"created", c.GetCreated()}, {"updated", c.GetUpdated()}, {"unchanged", c.GetUnchanged()}, {"deleted", c.GetDeleted()},
		{"protected", c.GetProtected()}, {"refused", c.GetRefused()}, {"rejected", c.GetRejected()}, {"filtered", c.GetFiltered()},
	} {
		if e.n != 0 {
			parts = append(parts, e.name+" "+number(e.n))
		}
	}
	return strings.Join(parts, ", ")
}

func unsigned(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}
