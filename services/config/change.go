package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/sqldb"
)

// checks says which active syncs of a change are checked against their warehouse.
type checks int

const (
	checkNew  checks = iota // those that become active
	checkAll                // every active one that the change affects
	checkNone               // none
)

// change is something to be done to the resources of a workspace, as one.
type change struct {
	workspace id.Workspace
	actor     string
	checks    checks
	// dry plans and checks, and writes nothing.
	dry bool
	// lenient turns a warehouse or service that cannot be reached into a warning.
	lenient bool
	// faulty are resources that are known to break rules: they are not checked against a warehouse, and nothing is written.
	faulty map[key]bool
	// plan changes the view and reports the rules that this breaks. It may be called several times, each time with a fresh
	// view.
	plan func(ctx context.Context, v *view) ([]fault.Violation, error)
	// planned is told of the view when the plan and its consequences stand, inside the transaction.
	planned func(ctx context.Context, v *view) error
}

// outcome is what became of a change.
type outcome struct {
	violations []fault.Violation
	warnings   []string
	written    bool
}

var errRollBack = errors.New("roll back")

// maxPlans bounds how often a change is planned anew because others changed what it was checked with.
const maxPlans = 4

// do plans a change and, unless it is dry or breaks a rule, writes it. Violations are no error here.
func (s *Service) do(ctx context.Context, c change) (outcome, error) {
	var out outcome
	checked := ""
	for range maxPlans {
		var (
			active []resource.Snapshot
			print  string
			faults []fault.Violation
		)
		err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
			v, err := newView(ctx, tx, c.workspace, c.actor)
			if err != nil {
				return err
			}
			if faults, err = c.plan(ctx, v); err != nil {
				return err
			}
			between, err := v.settle(ctx)
			if err != nil {
				return err
			}
			faults = append(faults, between...)
			if active, err = v.toCheck(ctx, c.checks); err != nil {
				return err
			}
			print = fingerprint(active)
			if c.planned != nil {
				if err := c.planned(ctx, v); err != nil {
					return err
				}
			}
			if c.dry || len(faults) > 0 || len(c.faulty) > 0 || print != checked {
				return errRollBack
			}
			return v.flush(ctx, s.settings.MaxResources)
		})
		if err == nil {
			out.written = true
			return out, nil
		}
		if !errors.Is(err, errRollBack) {
			return out, err //nolint:wrapcheck // classified where it was born
		}
		more, warnings, err := s.checkAll(ctx, c, active, faults)
		if err != nil {
			return out, err
		}
		out.violations, out.warnings, checked = append(faults, more...), warnings, print
		if c.dry || len(out.violations) > 0 || len(c.faulty) > 0 {
			return out, nil
		}
	}
	return out, fault.New(fault.Conflict, fault.ReasonStaleEtag, "the resources kept changing while they were checked; try again")
}

// must is do where violations are an error. It answers the warnings.
func (s *Service) must(ctx context.Context, c change) ([]string, error) {
	out, err := s.do(ctx, c)
	if err != nil {
		return nil, err
	}
	return out.warnings, fault.Of(fault.ReasonInvalidArgument, out.violations) //nolint:wrapcheck // born classified
}

// toCheck answers the snapshots of the active syncs that are to be checked.
func (v *view) toCheck(ctx context.Context, c checks) ([]resource.Snapshot, error) {
	if c == checkNone {
		return nil, nil
	}
	affected, err := v.affected(ctx)
	if err != nil {
		return nil, err
	}
	for k := range v.stateOnly {
		affected = append(affected, k)
	}
	var out []resource.Snapshot
	for _, k := range affected {
		s, whole, err := v.snapshot(ctx, k)
		if err != nil {
			return nil, err
		}
		if !whole || s.Sync.State != resource.Active {
			continue
		}
		was, err := v.before(ctx, k)
		if err != nil {
			return nil, err
		}
		if old, ok := was.(*resource.Sync); c == checkNew && ok && old.State == resource.Active {
			continue
		}
		out = append(out, s)
	}
	return out, nil
}

// fingerprint tells whether a later plan would check the same; empty where there is nothing to check. Uids, times and the
// bytes of newly sealed secrets differ from plan to plan and do not count.
func fingerprint(snapshots []resource.Snapshot) string {
	if len(snapshots) == 0 {
		return ""
	}
	h := sha256.New()
	for _, s := range snapshots {
		_, _ = fmt.Fprintf(h, "%s\x00%s\x00%s\x00", s.Sync.ID, s.Sync.Mode, essence(&s.DataModel))
		_, _ = fmt.Fprintf(h, "%s\x00", essence(&s.Connection))
		if s.Mapping != nil {
			_, _ = fmt.Fprintf(h, "%s\x00", essence(s.Mapping))
		}
	}
	return string(h.Sum(nil))
}
