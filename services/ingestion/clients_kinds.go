package ingestion

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	configv1 "millrace.dev/gen/millrace/config/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
)

// ofKind narrows the scope and the rules of a batch to what its records are about.
func (s *Service) ofKind(ctx context.Context, o record.Origin, m resource.DataModel, mode resource.Mode, sc profile.Scope, r profile.Rules) (profile.Scope, profile.Rules, error) {
	if m.GroupType != "" {
		policy, err := identity.NewPolicy(nil, s.settings.IdentityMaxLength) // an id of a group is any text
		r.Identities, r.Priority, r.Strategy = policy, nil, nil
		return sc.Groups(m.GroupType), r, err //nolint:wrapcheck // lists the settings at fault
	}
	switch m.Kind {
	case resource.Lookup:
		var err error
		if mode == resource.Full {
			r.Table, err = s.peers.table(ctx, o)
		}
		return sc.Lookup(o.Sync), r, err
	case resource.Users:
		declared, err := s.peers.declared(ctx, o.Workspace.Or())
		r.GroupTypes = declared.groupTypes
		return sc, r, err
	case resource.Events, resource.Groups, resource.ProfileHistory:
	}
	return sc, r, nil
}

// declared is what the data models of a workspace say of each other's records.
type declared struct {
	groupTypes []string
	lookups    []*configv1.DataModel
}

// declaredFor is how long declared is believed before config is asked again.
const declaredFor = 10 * time.Second

// declarations remembers what workspaces declare. Safe for concurrent use; the zero value remembers nothing.
type declarations struct {
	mu sync.Mutex
	by map[id.Workspace]declaration
}

type declaration struct {
	declared
	until time.Time
}

func (d *declarations) get(w id.Workspace) (declared, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x, ok := d.by[w]
	return x.declared, ok && time.Now().Before(x.until)
}

func (d *declarations) put(w id.Workspace, x declared) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil {
		d.by = map[id.Workspace]declaration{}
	}
	d.by[w] = declaration{x, time.Now().Add(declaredFor)}
}

// declared answers what the data models of a workspace declare, at most declaredFor old.
func (p *peers) declared(ctx context.Context, w id.Workspace) (declared, error) {
	if d, ok := p.declarations.get(w); ok {
		return d, nil
	}
	var d declared
	err := pages(func(token string) (string, error) {
		r, err := p.config.ListDataModels(ctx, &configv1.ListDataModelsRequest{Workspace: string(w), PageSize: 1000, PageToken: token})
		if err != nil {
			return "", fault.FromStatus(err) //nolint:wrapcheck // classified by the service
		}
		for _, m := range r.GetDataModels() {
			switch {
			case m.GetRecordKind() == configv1.RecordKind_RECORD_KIND_LOOKUP:
				d.lookups = append(d.lookups, m)
			case m.GetGroupType() != "" && !slices.Contains(d.groupTypes, m.GetGroupType()):
				d.groupTypes = append(d.groupTypes, m.GetGroupType())
			}
		}
		return r.GetNextPageToken(), nil
	})
	if err != nil {
		return declared{}, fmt.Errorf("list the data models: %w", err)
	}
	p.declarations.put(w, d)
	return d, nil
}

// pages calls f with the token of each page, until there is none.
func pages(f func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := f(token)
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}

// table answers the generation of a lookup table that a batch fills, and the one that readers see meanwhile.
func (p *peers) table(ctx context.Context, o record.Origin) (t profile.Table, err error) {
	if t, ok := p.tables.get(o.Batch.Run); ok {
		return t, nil
	}
	t.Generation = o.RunNo
	if n := len(o.Retried); n > 0 {
		t.Generation = o.Retried[n-1].RunNo
	}
	if o.ReadRunNo != 0 {
		r, err := p.run(ctx, o.Workspace.Or(), o.Batch.Run)
		if err == nil {
			t.Generation, err = p.generationOf(ctx, o.Workspace.Or(), r)
		}
		if err != nil {
			return t, fmt.Errorf("find the run that read rejected rows: %w", err)
		}
	}
	if t.Current, err = p.generation(ctx, o.Workspace.Or(), o.SyncID); err != nil {
		return t, err
	}
	p.tables.put(o.Batch.Run, t)
	return t, nil
}

// generation answers the generation of the lookup table that the last run of a sync that succeeded brought in; 0: none.
func (p *peers) generation(ctx context.Context, w id.Workspace, sync string) (int64, error) {
	var newest *schedulerv1.Run
	for _, state := range []string{"succeeded", "partially_succeeded"} {
		r, err := p.scheduler.ListRuns(ctx, &schedulerv1.ListRunsRequest{Workspace: string(w), Sync: sync, Filter: "state=" + state, PageSize: 50})
		if err != nil {
			return 0, fmt.Errorf("list the runs of sync %s: %w", sync, fault.FromStatus(err))
		}
		for _, run := range r.GetRuns() {
			if run.GetReplayOf() == "" && run.GetRunNo() > newest.GetRunNo() {
				newest = run
			}
		}
	}
	if newest == nil {
		return 0, nil
	}
	return p.generationOf(ctx, w, newest)
}

// maxRetries bounds the chain of runs that retry one another.
const maxRetries = 1000

// generationOf answers the generation that a run's rows are in: the ordinal of the first of the runs that retry one
// another.
func (p *peers) generationOf(ctx context.Context, w id.Workspace, r *schedulerv1.Run) (int64, error) {
	for range maxRetries {
		before := r.GetRetryOf()
		if r.GetReplayOf() != "" {
			before = r.GetReplayOf()
		}
		if before == "" {
			break
		}
		run, err := id.ParseRun(before)
		if err != nil {
			return 0, fault.New(fault.Internal, fault.ReasonInternal, "run %s retries what is no run: %w", r.GetId(), err)
		}
		if r, err = p.run(ctx, w, run); err != nil {
			return 0, err
		}
	}
	return r.GetRunNo(), nil
}

// sweepAtOnce is how many rows of former lookup tables are removed in one step.
const sweepAtOnce = 10_000

// sweep removes the rows of lookup tables before the one that readers see, once for each run that fills the next.
func (w *worker) sweep(ctx context.Context, o record.Origin, table profile.Scope, current int64) error {
	if _, done := w.peers.swept.get(o.Batch.Run); done || current == 0 || o.Dry {
		return nil
	}
	for n := sweepAtOnce; n == sweepAtOnce; {
		var err error
		if n, err = w.store.Sweep(ctx, table, current, sweepAtOnce); err != nil {
			return fmt.Errorf("sweep the lookup table of sync %s: %w", o.SyncID, err)
		}
	}
	w.peers.swept.put(o.Batch.Run, true)
	return nil
}
