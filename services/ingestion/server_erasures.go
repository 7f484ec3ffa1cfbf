package ingestion

import (
	"context"
	"fmt"
	"slices"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/resource/resourcepb"
)

// PreviewEraseProfile counts what EraseProfile would remove.
func (s *server) PreviewEraseProfile(ctx context.Context, r *ingestionv1.PreviewEraseProfileRequest) (*ingestionv1.PreviewEraseProfileResponse, error) {
	scope := scopeOf(r)
	asked, err := s.askedBy(r)
	if err != nil {
		return nil, err
	}
	p, err := s.holderOf(ctx, scope, asked)
	if err != nil {
		return nil, err
	}
	who, read, err := s.whom(ctx, scope, p)
	if err != nil {
		return nil, err
	}
	out := &ingestionv1.PreviewEraseProfileResponse{Profiles: int64(len(who.Profiles)), Identities: int64(len(who.Identities))}
	if !slices.Contains(who.Identities, asked) {
		out.Identities++
	}
	if len(read) == 0 {
		return out, nil
	}
	docs := make([][]byte, len(read))
	for i := range read {
		docs[i] = read[i].Doc
	}
	doc, err := profile.Decode(profile.Concat(docs...))
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", p, err)
	}
	out.Attributes = int64(len(doc.Attributes))
	for _, p := range who.Profiles {
		if err := s.countEvents(ctx, scope, p, &out.Events); err != nil {
			return nil, err
		}
		if err := s.countEvents(ctx, scope.History(), p, &out.HistoryVersions); err != nil {
			return nil, err
		}
	}
	out.Merges, err = s.countMerges(ctx, scope, who.Profiles)
	return out, err
}

func (s *server) countEvents(ctx context.Context, scope profile.Scope, p id.Profile, n *int64) error {
	for after := ""; ; {
		page, next, err := s.store.ProfileEvents(ctx, scope, p, after, erasePage)
		if err != nil {
			return fmt.Errorf("list the events of profile %s: %w", p, err)
		}
		*n += int64(len(page))
		if after = next; after == "" {
			return nil
		}
	}
}

// countMerges counts entries of the log of merges, each once.
func (s *server) countMerges(ctx context.Context, scope profile.Scope, ps []id.Profile) (n int64, err error) {
	for at, p := range ps {
		for after := ""; ; {
			page, next, err := s.store.Merges(ctx, scope, p, after, erasePage)
			if err != nil {
				return 0, fmt.Errorf("list the merges of profile %s: %w", p, err)
			}
			for _, m := range page {
				if !slices.ContainsFunc(ps[:at], m.Has) {
					n++
				}
			}
			if after = next; after == "" {
				break
			}
		}
	}
	return n, nil
}

// EraseProfile begins the erasure of a person; it is carried out beside.
func (s *server) EraseProfile(ctx context.Context, r *ingestionv1.EraseProfileRequest) (*ingestionv1.EraseProfileResponse, error) {
	scope := scopeOf(r)
	asked, err := s.askedBy(r)
	if err != nil {
		return nil, err
	}
	e, err := s.beginErasure(ctx, scope, asked, func(ctx context.Context) (id.Profile, error) { return s.holderOf(ctx, scope, asked) })
	if err != nil {
		return nil, err
	}
	select {
	case s.asked <- struct{}{}:
	default: // it is looked at already
	}
	return &ingestionv1.EraseProfileResponse{Erasure: toErasure(e)}, nil
}

// GetErasure answers an erasure.
func (s *server) GetErasure(ctx context.Context, r *ingestionv1.GetErasureRequest) (*ingestionv1.GetErasureResponse, error) {
	scope := scopeOf(r)
	at, err := s.erasureOf(ctx, scope, r)
	if err != nil {
		return nil, err
	}
	e, there, err := s.store.Erasure(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("read erasure %s: %w", at, err)
	}
	if !there || e.Scope.Workspace != scope.Workspace {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound,
			"workspace %s has no such erasure; name it by the id that profiles erase shows, or by the identity and the environment that it was asked for by", scope.Workspace)
	}
	return &ingestionv1.GetErasureResponse{Erasure: toErasure(e)}, nil
}

// erasureOf answers the id of the erasure that a request names; one that no erasure has where there can be none.
func (s *server) erasureOf(ctx context.Context, scope profile.Scope, r *ingestionv1.GetErasureRequest) (profile.ErasureID, error) {
	if r.GetId() != "" {
		at, err := profile.ParseErasureID(r.GetId())
		if err != nil {
			return at, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "id", Message: err.Error()}})
		}
		return at, nil
	}
	asked, err := s.askedBy(r)
	if err != nil {
		return profile.ErasureID{}, err
	}
	h, err := s.lists.hasher(ctx, scope.Workspace, false)
	if err != nil || h == nil {
		return profile.ErasureID{}, err
	}
	return h.ErasureID(scope, asked), nil
}

// askedBy answers the identity by which a request names a person. All that is wrong with it is said at once; the value is
// not repeated.
func (s *server) askedBy(r named) (profile.Identity, error) {
	i, mpid := r.GetIdentity(), r.GetMpid()
	if mpid != "" && i != nil {
		return profile.Identity{}, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{
			{Field: "mpid", Message: "is given beside an identity", Fix: "name the person by one of them"},
		})
	}
	asked := profile.Identity{Type: i.GetType(), Value: i.GetValue()}
	value := "identity.value"
	if mpid != "" {
		asked, value = profile.Identity{Type: identity.MPID, Value: mpid}, "mpid"
	}
	var bad []fault.Violation
	switch {
	case asked.Type == "":
		bad = append(bad, fault.Violation{Field: "identity.type", Message: "is missing", Fix: "name a type such as customer_id or email"})
	case !slices.Contains(identity.DefaultPriority(), asked.Type):
		bad = append(bad, fault.Violation{Field: "identity.type", Message: fmt.Sprintf("%.64q is no identity type", asked.Type), Fix: "use one of those that profiles get shows, such as customer_id or email"})
	}
	most := s.settings.IdentityMaxLength
	if most == 0 {
		most = identity.DefaultMaxLength
	}
	switch {
	case asked.Value == "":
		bad = append(bad, fault.Violation{Field: value, Message: "is missing", Fix: "name the person by a value"})
	case len(asked.Value) > most:
		bad = append(bad, fault.Violation{Field: value, Message: fmt.Sprintf("has %d bytes", len(asked.Value)), Fix: fmt.Sprintf("an identity has at most %d; nothing longer ever comes in", most)})
	case asked.Type == identity.MPID && !profile.IsMPID(asked.Value):
		bad = append(bad, fault.Violation{Field: value, Message: "is no profile id", Fix: "write the decimal number that a profile shows as its mpid"})
	case !s.rules.Identities.Usable(asked.Value):
		bad = append(bad, fault.Violation{Field: value, Message: "is a value that names nobody", Fix: "name the person by another identity"})
	}
	return asked, fault.Of(fault.ReasonInvalidArgument, bad) //nolint:wrapcheck // lists the fields at fault
}

// holderOf answers the profile that an identity is bound to, 0 where it is bound to none. An mpid must be of a profile.
func (s *server) holderOf(ctx context.Context, scope profile.Scope, i profile.Identity) (id.Profile, error) {
	if i.Type == identity.MPID {
		f, err := s.find(ctx, scope, &ingestionv1.GetProfileRequest{Mpid: i.Value})
		return f.Profile, err
	}
	p, err := s.store.Resolve(ctx, scope, i.Type, i.Value)
	if err != nil {
		return 0, fmt.Errorf("resolve an identity of type %s: %w", i.Type, err)
	}
	return p, nil
}

func toErasure(e profile.Erasure) *ingestionv1.Erasure {
	out := &ingestionv1.Erasure{
		Id: e.ID.String(), Environment: resourcepb.ToEnvironment(e.Scope.Environment), IdentityType: e.Type, State: "removing", CreateTime: toTime(e.Created),
		RemoveTime: toTime(e.Removed), DoneTime: toTime(e.Done), Blocked: e.Hashes,
	}
	switch {
	case !e.Done.IsZero():
		out.State = "done"
	case !e.Removed.IsZero():
		out.State = "draining"
	}
	for _, p := range e.Places {
		out.Places = append(out.Places, &ingestionv1.ErasedPlace{
			Place: string(p.Place), State: string(p.State), Removed: p.Removed, Time: toTime(p.Time), Until: toTime(p.Until), Note: p.Note,
		})
	}
	return out
}
