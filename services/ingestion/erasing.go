package ingestion

import (
	"context"
	"fmt"
	"slices"
	"time"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

// An erasure begins with one durable step: the request, and all identities of the person in the hash list, from which no
// row that names one of them has an effect. Then place after place is cleared in small steps, each of which commits what
// it removes together with how far the erasure is; so it goes on after a crash where it was, in any process.

const (
	// eraseEvery is how often erasures that wait for something are looked at.
	eraseEvery = 5 * time.Second
	// erasePage is how many things a step removes at most.
	erasePage = 1000
	// eraseLook is how many keys are looked at for few that are to be removed.
	eraseLook = 10_000
	// eraseLooks is how often that is done before the erasure says how far it is.
	eraseLooks = 50
	// unfinishedPage is how many erasures are gone on with in one go.
	unfinishedPage = 100
)

// whom answers the person of a profile, and the documents that say so. A profile of 0 is a person of whom nothing is known.
func (s *Service) whom(ctx context.Context, scope profile.Scope, p id.Profile) (who profile.Person, read []profile.ProfileRead, err error) {
	if p == 0 {
		return profile.Person{}, nil, nil
	}
	f, err := store.Whole(ctx, s.store, scope, p)
	if err != nil {
		return who, nil, fmt.Errorf("read profile %s: %w", p, err)
	}
	return s.person(ctx, scope, append([]id.Profile{f.Profile}, f.Members...))
}

// person reads profiles that are one person. Identities that others hold by now are not the person's.
func (s *Service) person(ctx context.Context, scope profile.Scope, ps []id.Profile) (who profile.Person, read []profile.ProfileRead, err error) {
	docs, err := s.store.Docs(ctx, scope, ps)
	if err != nil {
		return who, nil, fmt.Errorf("read profiles: %w", err)
	}
	for i, p := range ps {
		read = append(read, profile.ProfileRead{Profile: p, Doc: docs[i]})
	}
	if who, err = profile.PersonOf(ps, docs); err != nil {
		return who, nil, fmt.Errorf("profile %s: %w", ps[0], err)
	}
	own := who.Identities[:0]
	for _, i := range who.Identities {
		holder := id.Profile(0)
		if i.Type != identity.MPID {
			if holder, err = s.store.Resolve(ctx, scope, i.Type, i.Value); err != nil {
				return who, nil, fmt.Errorf("resolve an identity of type %s: %w", i.Type, err)
			}
		}
		if holder == 0 || slices.Contains(ps, holder) {
			own = append(own, i)
		}
	}
	who.Identities = own
	return who, read, nil
}

// beginErasure blocks a person and makes the request durable, or answers the erasure that was asked for before.
func (s *Service) beginErasure(ctx context.Context, scope profile.Scope, asked profile.Identity, find func(context.Context) (id.Profile, error)) (profile.Erasure, error) {
	h, err := s.lists.hasher(ctx, scope.Workspace, true)
	if err != nil {
		return profile.Erasure{}, err
	}
	at := h.ErasureID(scope, asked)
	for range Tries {
		if e, there, err := s.store.Erasure(ctx, at); there || err != nil {
			return e, wrap("read an erasure", err)
		}
		p, err := find(ctx)
		if err != nil {
			return profile.Erasure{}, err
		}
		who, read, err := s.whom(ctx, scope, p)
		if err != nil {
			return profile.Erasure{}, err
		}
		e := newErasure(at, scope, asked.Type, who, time.Now().UTC())
		x := profile.Erasing{Read: read, Block: []profile.Blocked{h.Blocked(asked)}}
		for _, i := range who.Identities {
			if i != asked {
				x.Block = append(x.Block, h.Blocked(i))
			}
		}
		e.Hashes = int64(len(x.Block))
		x.Erasure = e
		switch err := s.store.Erase(ctx, x); {
		case err == nil:
			return e, nil
		case fault.ClassOf(err) != fault.Conflict:
			return profile.Erasure{}, fmt.Errorf("begin an erasure: %w", err)
		}
	}
	return profile.Erasure{}, fault.New(fault.Unavailable, fault.ReasonCommitConflict, "erasure %s met commits %d times in a row; try again", at, Tries)
}

// newErasure answers an erasure of which nothing is done.
func newErasure(at profile.ErasureID, scope profile.Scope, typ string, who profile.Person, now time.Time) profile.Erasure {
	e := profile.Erasure{
		ID: at, Scope: scope, Revision: 1, Type: typ, Created: now, Profiles: who.Profiles, Others: who.Others, Syncs: who.Syncs,
	}
	for _, p := range []profile.Place{
		profile.InProfiles, profile.InIdentities, profile.InOthers, profile.InMerges, profile.InEvents, profile.InHistory, profile.InMembers,
		profile.InUnattributed, profile.InRowIndex, profile.InRejects, profile.InRows, profile.InRecords, profile.InQuarantine,
	} {
		e.Places = append(e.Places, profile.PlaceReport{Place: p, State: profile.PlacePending, Time: now})
	}
	return profileNotes(e, now)
}

// profileNotes adds the places that are not cleared.
func profileNotes(e profile.Erasure, now time.Time) profile.Erasure {
	e.Places = append(e.Places,
		profile.PlaceReport{
			Place: profile.InSights, State: profile.PlaceExpires, Time: now,
			Note: "hashes of the keys of rows that mirrors have read, without values; each goes with the next run of its sync",
		},
		profile.PlaceReport{
			Place: profile.InDryRuns, State: profile.PlaceExpires, Time: now,
			Note: "what a dry pass noted before goes when its run has ended; from now on it notes nothing of the person",
		},
		profile.PlaceReport{
			Place: profile.InSamples, State: profile.PlaceLeft, Time: now,
			Note: "runs that a guard held show the key values of at most five rows of an effect; they are not looked through",
		},
		profile.PlaceReport{Place: profile.InBatches, State: profile.PlaceNone, Time: now, Note: "counts and digests of whole batches"},
		profile.PlaceReport{Place: profile.InTraces, State: profile.PlaceNone, Time: now, Note: "spans and logs have names and counts, never values of rows"},
	)
	return e
}

// eraseOn goes on with erasures that are not done, until ctx ends. What fails is tried again.
func (s *Service) eraseOn(ctx context.Context) {
	every := time.NewTicker(eraseEvery)
	defer every.Stop()
	for {
		if err := s.eraseAll(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "an erasure could not be gone on with; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.asked:
		case <-every.C:
		}
	}
}

// eraseAll takes every erasure that is not done as far as it goes. One that fails keeps no other from its own.
func (s *Service) eraseAll(ctx context.Context) error {
	open, err := s.store.Unfinished(ctx, unfinishedPage)
	if err != nil {
		return fmt.Errorf("list unfinished erasures: %w", err)
	}
	var failed error
	for _, e := range open {
		if err := s.carryOut(ctx, e); err != nil && failed == nil {
			failed = fmt.Errorf("erasure %s: %w", e.ID, err)
		}
	}
	return failed
}

// carryOut makes the steps of an erasure until it is done or waits. Where another process makes them too, each is made by
// one of the two.
func (s *Service) carryOut(ctx context.Context, e profile.Erasure) error {
	for tries := 0; e.Done.IsZero(); {
		x, more, err := s.nextStep(ctx, e.Clone())
		if err != nil || !more {
			return err
		}
		x.Erasure.Revision++
		s.closeErasure(&x.Erasure)
		switch err := s.store.Erase(ctx, x); {
		case err == nil:
			e, tries = x.Erasure, 0
		case fault.ClassOf(err) != fault.Conflict || tries == Tries:
			return wrap("erase", err)
		default:
			tries++
			if e, _, err = s.store.Erasure(ctx, e.ID); err != nil {
				return wrap("read an erasure", err)
			}
		}
	}
	return nil
}

// closeErasure notes that all is removed, or that all is done.
func (s *Service) closeErasure(e *profile.Erasure) {
	now := time.Now().UTC()
	next := e.Pending()
	if e.Removed.IsZero() && (next == nil || inBroker(next.Place)) {
		e.Removed = now
		e.Profiles, e.Others, e.Linked, e.Syncs = nil, nil, nil, nil
	}
	if next == nil {
		e.Done = now
	}
}

func inBroker(p profile.Place) bool {
	return p == profile.InRows || p == profile.InRecords || p == profile.InQuarantine
}

// nextStep answers the next step of an erasure, and whether there is anything to do now. e is the step's to change.
func (s *Service) nextStep(ctx context.Context, e profile.Erasure) (profile.Erasing, bool, error) {
	x := profile.Erasing{Erasure: e, EventScope: e.Scope}
	at := x.Erasure.Pending()
	if at == nil {
		return x, true, nil
	}
	var err error
	more := true
	switch at.Place {
	case profile.InProfiles, profile.InIdentities, profile.InOthers:
		err = s.eraseProfiles(ctx, &x)
	case profile.InMerges:
		err = s.eraseMerges(ctx, &x)
	case profile.InEvents:
		err = s.eraseEvents(ctx, &x, e.Scope)
	case profile.InHistory:
		err = s.eraseEvents(ctx, &x, e.Scope.History())
	case profile.InMembers:
		err = s.eraseMembers(ctx, &x)
	case profile.InUnattributed:
		err = s.eraseUnattributed(ctx, &x)
	case profile.InRowIndex:
		err = s.eraseRows(ctx, &x)
	case profile.InRejects:
		err = s.eraseRejects(ctx, &x)
	case profile.InRows:
		more, err = s.drained(ctx, &x.Erasure, bus.Rows)
	case profile.InRecords:
		more, err = s.drained(ctx, &x.Erasure, bus.Records)
	case profile.InQuarantine:
		err = s.quarantine(ctx, &x.Erasure)
	case profile.InSights, profile.InDryRuns, profile.InSamples, profile.InLinked, profile.InBatches, profile.InTraces:
		cleared(&x.Erasure)
	}
	return x, more, err
}

// cleared notes that the first pending place has nothing of the person any more.
func cleared(e *profile.Erasure) {
	at := e.Pending()
	at.State, at.Time = profile.PlaceCleared, time.Now().UTC()
	e.At, e.After, e.Mark = 0, "", 0
}
