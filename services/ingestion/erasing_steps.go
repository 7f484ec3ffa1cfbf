package ingestion

import (
	"context"
	"fmt"
	"slices"
	"time"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
)

// eraseProfiles deletes the person's profiles, unbinds the identities, and takes ties to them out of the documents of
// those who were parted from them. All of it is one step.
func (s *Service) eraseProfiles(ctx context.Context, x *profile.Erasing) error {
	e := &x.Erasure
	if len(e.Profiles) > 0 {
		who, read, err := s.person(ctx, e.Scope, e.Profiles)
		if err != nil {
			return err
		}
		x.Read, x.Profiles = read, e.Profiles
		for _, r := range read {
			if r.Doc != nil {
				e.Report(profile.InProfiles).Removed++
			}
		}
		if err := s.unbind(ctx, x, who.Identities); err != nil {
			return err
		}
		if err := s.forget(ctx, x); err != nil {
			return err
		}
	}
	for range 3 { // the three places of the step
		cleared(e)
	}
	return nil
}

// unbind puts into a step the identities that are bound to the person.
func (s *Service) unbind(ctx context.Context, x *profile.Erasing, is []profile.Identity) error {
	for _, i := range is {
		if i.Type == identity.MPID {
			continue
		}
		holder, err := s.store.Resolve(ctx, x.Erasure.Scope, i.Type, i.Value)
		if err != nil {
			return fmt.Errorf("resolve an identity of type %s: %w", i.Type, err)
		}
		if holder != 0 {
			x.Unbound = append(x.Unbound, profile.IdentityWrite{Type: i.Type, Value: i.Value, Profile: holder})
			x.Erasure.Report(profile.InIdentities).Removed++
		}
	}
	return nil
}

// forget puts into a step the documents of others without what they say of the person.
func (s *Service) forget(ctx context.Context, x *profile.Erasing) error {
	e := &x.Erasure
	if len(e.Others) == 0 {
		return nil
	}
	docs, err := s.store.Docs(ctx, e.Scope, e.Others)
	if err != nil {
		return fmt.Errorf("read profiles: %w", err)
	}
	h, err := s.lists.hasher(ctx, e.Scope.Workspace, true)
	if err != nil {
		return err
	}
	var failed error
	blocked := func(i profile.Identity) bool {
		is, err := s.store.Blocked(ctx, e.Scope, []profile.Hash{h.Hash(i.Type, i.Value)})
		if err != nil {
			failed = fmt.Errorf("look the hash list of erased people up: %w", err)
			return false
		}
		return is[0]
	}
	for n, p := range e.Others {
		if docs[n] == nil {
			continue
		}
		doc := profile.Forget(docs[n], func(p id.Profile) bool { return slices.Contains(e.Profiles, p) }, blocked)
		if failed != nil {
			return failed
		}
		if doc != nil {
			x.Read = append(x.Read, profile.ProfileRead{Profile: p, Doc: docs[n]})
			x.Rewritten = append(x.Rewritten, profile.Rewritten{Profile: p, Doc: doc})
			e.Report(profile.InOthers).Removed++
		}
	}
	return nil
}

// eraseMerges empties a page of the log of merges of one profile. What merged nothing goes.
func (s *Service) eraseMerges(ctx context.Context, x *profile.Erasing) error {
	e := &x.Erasure
	if e.At >= len(e.Profiles) {
		s.linked(e)
		cleared(e)
		return nil
	}
	page, next, err := s.store.Merges(ctx, e.Scope, e.Profiles[e.At], e.After, erasePage)
	if err != nil {
		return fmt.Errorf("list the merges of profile %s: %w", e.Profiles[e.At], err)
	}
	at := e.Pending()
	for _, m := range page {
		switch {
		case m.Erased:
			continue
		case m.Kind == profile.Stopped:
			x.MergesGone = append(x.MergesGone, m)
		default:
			x.Merges = append(x.Merges, m.Erase())
		}
		at.Removed++
		if m.Kind == profile.Linked {
			for _, p := range append([]id.Profile{m.Profile}, m.Others...) {
				if !slices.Contains(e.Profiles, p) && !slices.Contains(e.Linked, p) && len(e.Linked) < erasePage {
					e.Linked = append(e.Linked, p)
				}
			}
		}
	}
	onward(e, next)
	return nil
}

// onward goes to the next page, or to the next thing where there is none.
func onward(e *profile.Erasure, next string) {
	if e.After = next; next == "" {
		e.At++
	}
}

// linked reports the profiles that are linked to the person's.
func (s *Service) linked(e *profile.Erasure) {
	if len(e.Linked) == 0 {
		return
	}
	e.Places = append(e.Places, profile.PlaceReport{
		Place: profile.InLinked, State: profile.PlaceLeft, Time: time.Now().UTC(),
		Note: fmt.Sprintf("%d profiles that were linked and never merged stay: erase them by an identity of their own, or by mpid: %v", len(e.Linked), e.Linked),
	})
}

// eraseEvents removes a page of the events of one profile.
func (s *Service) eraseEvents(ctx context.Context, x *profile.Erasing, scope profile.Scope) error {
	e := &x.Erasure
	if e.At >= len(e.Profiles) {
		cleared(e)
		return nil
	}
	page, next, err := s.store.ProfileEvents(ctx, scope, e.Profiles[e.At], "", erasePage)
	if err != nil {
		return fmt.Errorf("list the events of profile %s: %w", e.Profiles[e.At], err)
	}
	x.EventScope = scope
	for _, d := range page {
		ev, err := profile.DecodeEvent(d.Doc)
		if err != nil {
			return fmt.Errorf("event %x: %w", d.Key.ID[:], err)
		}
		if !slices.Contains(e.Syncs, ev.From.Sync) {
			e.Syncs = append(e.Syncs, ev.From.Sync)
		}
		x.Events = append(x.Events, d.Key)
	}
	e.Pending().Removed += int64(len(page))
	if next == "" {
		e.At++
	}
	return nil
}

// eraseMembers removes the person from the members of groups.
func (s *Service) eraseMembers(ctx context.Context, x *profile.Erasing) error {
	e := &x.Erasure
	ids := make([]profile.EventID, len(e.Profiles))
	for i, p := range e.Profiles {
		ids[i] = profile.MemberID(p)
	}
	x.EventScope = e.Scope.Members()
	for range eraseLooks {
		if len(ids) == 0 {
			break
		}
		keys, next, err := s.store.EventsWith(ctx, x.EventScope, ids, e.After, eraseLook)
		if err != nil {
			return fmt.Errorf("look the members of groups through: %w", err)
		}
		x.Events = keys
		e.Pending().Removed += int64(len(keys))
		if e.After = next; next == "" || len(keys) > 0 {
			break
		}
	}
	if e.After == "" {
		cleared(e)
	}
	return nil
}

// eraseUnattributed removes events without a profile whose rows named somebody who is erased.
func (s *Service) eraseUnattributed(ctx context.Context, x *profile.Erasing) error {
	e := &x.Erasure
	for range eraseLooks {
		page, next, err := s.store.ProfileEvents(ctx, e.Scope, 0, e.After, erasePage)
		if err != nil {
			return fmt.Errorf("list the events without a profile: %w", err)
		}
		events := make([]profile.Event, len(page))
		for i, d := range page {
			if events[i], err = profile.DecodeEvent(d.Doc); err != nil {
				return fmt.Errorf("event %x: %w", d.Key.ID[:], err)
			}
		}
		named := map[int]bool{}
		err = s.lists.blocked(ctx, e.Scope, wholeList, func(yield func(naming) bool) {
			for i := range events {
				for _, who := range events[i].Identities {
					if !yield(naming{i, who}) {
						return
					}
				}
			}
		}, func(at int) { named[at] = true })
		if err != nil {
			return err
		}
		for i := range page {
			if named[i] {
				x.Events = append(x.Events, page[i].Key)
			}
		}
		e.Pending().Removed += int64(len(named))
		if e.After = next; next == "" || len(named) > 0 {
			break
		}
	}
	if e.After == "" {
		cleared(e)
	}
	return nil
}

// eraseRows removes entries of the row index of one sync.
func (s *Service) eraseRows(ctx context.Context, x *profile.Erasing) error {
	e := &x.Erasure
	if e.At >= len(e.Syncs) || len(e.Profiles) == 0 {
		cleared(e)
		return nil
	}
	x.Sync = e.Syncs[e.At]
	for range eraseLooks {
		rows, next, err := s.store.RowsOf(ctx, x.Sync, e.Profiles, e.After, eraseLook)
		if err != nil {
			return fmt.Errorf("look the row index of sync %s through: %w", x.Sync, err)
		}
		x.Rows = rows
		e.Pending().Removed += int64(len(rows))
		if e.After = next; next == "" || len(rows) > 0 {
			break
		}
	}
	onward(e, e.After)
	return nil
}

// eraseRejects removes rejects that name somebody who is erased, and their rows.
func (s *Service) eraseRejects(ctx context.Context, x *profile.Erasing) error {
	e := &x.Erasure
	page, next, err := s.store.AllRejects(ctx, e.After, erasePage)
	if err != nil {
		return fmt.Errorf("list rejects: %w", err)
	}
	cut := id.Batch{} // whose rejects go on in the next page, and with them its rows
	if next != "" {
		more, _, err := s.store.AllRejects(ctx, next, 1)
		if err != nil {
			return fmt.Errorf("list rejects: %w", err)
		}
		if len(more) > 0 {
			cut = more[0].Batch
		}
	}
	at := e.Pending()
	for _, b := range byBatch(page) {
		if b.origin.Workspace.Or() != e.Scope.Workspace {
			continue
		}
		opened, err := s.clearRejects(ctx, e.Scope, wholeList, b, x)
		if err != nil {
			return err
		}
		if b.batch == cut {
			x.Kept = slices.DeleteFunc(x.Kept, func(k profile.KeptRows) bool { return k.Batch == cut })
		}
		if !opened {
			at.Note = "rows that were sealed with another key set nobody can open here; of those, rejects went whose key values name the person, the rest expires"
			at.Until = latest(at.Until, b.rejects[len(b.rejects)-1].Time.Add(s.settings.KeepRejects))
		}
	}
	at.Removed += int64(len(x.Rejects))
	if e.After = next; next == "" {
		cleared(e)
		if !at.Until.IsZero() {
			at.State = profile.PlaceExpires
		}
	}
	return nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// drained looks whether all messages that a stream had are done with, and answers whether there is something to note.
// Their rows of the person bring nothing; those of the streams before have come into it by now.
func (s *Service) drained(ctx context.Context, e *profile.Erasure, stream bus.Stream) (bool, error) {
	x, err := s.extent(ctx, stream)
	if err != nil {
		return false, fmt.Errorf("look at stream %s: %w", stream, err)
	}
	switch first := e.Mark == 0; {
	case x.Last == 0 || x.First > x.Last, !first && x.First > e.Mark:
		cleared(e)
	case first:
		e.Mark = x.Last
		e.Pending().Note = "rows of the person in it bring nothing; they go when their run's batches are consumed"
	default:
		return false, nil
	}
	return true, nil
}

// quarantine says when given-up batches are gone that may have rows of the person.
func (s *Service) quarantine(ctx context.Context, e *profile.Erasure) error {
	x, err := s.extent(ctx, bus.Quarantine)
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", bus.Quarantine, err)
	}
	at := e.Pending()
	cleared(e)
	if x.Last != 0 && x.First <= x.Last {
		at.State, at.Until = profile.PlaceExpires, time.Now().UTC().Add(bus.QuarantineAge)
		at.Note = "batches that were given up are never delivered again"
	}
	return nil
}
