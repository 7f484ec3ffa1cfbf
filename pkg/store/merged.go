package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
)

// A merged profile keeps its own document and events; the survivor's document names it. So a merge and its undoing write
// little, and reading follows the names.

// maxFamily bounds how many profiles are one: the cap of merges and the survivor.
const maxFamily = identity.DefaultMaxMerges + 1

// Family is a profile with all that is merged into it.
type Family struct {
	Profile id.Profile
	Members []id.Profile // merged into it, directly or not
	own     []byte
	docs    [][]byte // of Members
}

// Doc answers the document of the whole family, nil where the profile has none.
func (f Family) Doc() []byte {
	if len(f.docs) == 0 {
		return f.own
	}
	return profile.Concat(append([][]byte{f.own}, f.docs...)...)
}

// With answers the document of the whole family as it would be with what `more` answers merged into each of its profiles.
func (f Family) With(more func(id.Profile) []byte) []byte {
	docs := [][]byte{append(slices.Clone(f.own), more(f.Profile)...)}
	for i, p := range f.Members {
		docs = append(docs, append(slices.Clone(f.docs[i]), more(p)...))
	}
	return profile.Concat(docs...)
}

// Holding answers what Decide must know of the family.
func (f Family) Holding() (profile.Holding, error) {
	return profile.HoldingOf(f.own, f.Members, f.docs...) //nolint:wrapcheck // classified by profile
}

// Whole answers the family of the profile that p is by now: p itself, or what it was merged into.
func Whole(ctx context.Context, r Reader, s profile.Scope, p id.Profile) (Family, error) {
	path, err := pathOf(ctx, r, s, p)
	if err != nil {
		return Family{}, err
	}
	top := path[len(path)-1]
	all, err := Families(ctx, r, s, []id.Profile{top})
	if err != nil {
		return Family{}, err
	}
	return all[top], nil
}

// pathOf answers p and, one after the other, what it was merged into.
func pathOf(ctx context.Context, r Reader, s profile.Scope, p id.Profile) ([]id.Profile, error) {
	path := []id.Profile{p}
	for len(path) <= maxFamily {
		doc, err := r.Profile(ctx, s, path[len(path)-1])
		if err != nil {
			return nil, fmt.Errorf("read a profile: %w", err)
		}
		to := profile.SurvivorOf(doc)
		if to == 0 {
			return path, nil
		}
		path = append(path, to)
	}
	return nil, tangled()
}

func tangled() error {
	return fault.New(fault.Internal, fault.ReasonInternal, "store: merges lead round in a circle; restore the store from a backup")
}

// Families answers the families of some profiles, read in as many rounds as merges are deep.
func Families(ctx context.Context, r Reader, s profile.Scope, ps []id.Profile) (map[id.Profile]Family, error) {
	out := make(map[id.Profile]Family, len(ps))
	of := map[id.Profile]id.Profile{} // who is read next → whose family
	for _, p := range ps {
		of[p] = p
	}
	for range maxFamily + 1 {
		if len(of) == 0 {
			return out, nil
		}
		next := map[id.Profile]id.Profile{}
		read := slices.Sorted(maps.Keys(of))
		docs, err := r.Docs(ctx, s, read)
		if err != nil {
			return nil, fmt.Errorf("read profiles: %w", err)
		}
		for i, p := range read {
			f := out[of[p]]
			if p == of[p] {
				f.Profile, f.own = p, docs[i]
			} else {
				f.Members, f.docs = append(f.Members, p), append(f.docs, docs[i])
			}
			if len(f.Members) > maxFamily {
				return nil, tangled()
			}
			out[of[p]] = f
			for _, q := range profile.MembersOf(docs[i]) {
				next[q] = of[p]
			}
		}
		of = next
	}
	return nil, tangled()
}

// Consult completes a state with what the columns alone do not settle. For most batches that is nothing, and nothing is
// read.
func Consult(ctx context.Context, r Reader, k profile.Keys, st *profile.State, rules profile.Rules) error {
	asked := profile.Asks(k, *st, rules)
	if len(asked.Profiles) > 0 {
		families, err := Families(ctx, r, k.Scope, asked.Profiles)
		if err != nil {
			return err
		}
		st.Held = make(map[id.Profile]profile.Holding, len(families))
		for p, f := range families {
			if st.Held[p], err = f.Holding(); err != nil {
				return fmt.Errorf("profile %s: %w", p, err)
			}
		}
	}
	if err := named(ctx, r, k.Scope, st, asked.Events); err != nil {
		return err
	}
	return fresh(ctx, r, k, st, asked.Rows)
}

// ConsultImport completes a state with what removing rows of an import must know.
func ConsultImport(ctx context.Context, r Reader, m profile.Import, k profile.Keys, st *profile.State) error {
	return named(ctx, r, k.Scope, st, profile.AsksOfImport(m, k, *st))
}

// maxNamed bounds how many events, and how many versions, are asked which identities of a profile they name.
const maxNamed = 1000

// named reads the newest events and versions of profiles that may lose identities.
func named(ctx context.Context, r Reader, s profile.Scope, st *profile.State, ps []id.Profile) error {
	if len(ps) > 0 {
		st.Events = make(map[id.Profile][]profile.EventWrite, len(ps))
	}
	for _, p := range ps {
		for _, in := range []profile.Scope{s, s.History()} {
			docs, _, err := r.ProfileEvents(ctx, in, p, "", maxNamed)
			if err != nil {
				return fmt.Errorf("read the events of profile %s: %w", p, err)
			}
			for _, d := range docs {
				st.Events[p] = append(st.Events[p], profile.EventWrite(d))
			}
		}
	}
	return nil
}

// fresh finds ids that no profile has, for rows that may come to a new one.
func fresh(ctx context.Context, r Reader, k profile.Keys, st *profile.State, open []profile.AskedRow) error {
	for n := 0; len(open) > 0; n++ {
		ps := make([]id.Profile, len(open))
		for i, x := range open {
			col := k.Identities[x.Column]
			ps[i] = profile.Derive(k.Scope, col.Type, col.Values.Value(x.Row), n)
		}
		docs, err := r.Docs(ctx, k.Scope, ps)
		if err != nil {
			return fmt.Errorf("probe ids: %w", err)
		}
		var again []profile.AskedRow
		for i, x := range open {
			if docs[i] == nil {
				st.Fresh[x.Row] = ps[i]
			} else {
				again = append(again, x)
			}
		}
		open = again
	}
	return nil
}

// StandingOf answers how a merge stands now, to take it back.
func StandingOf(ctx context.Context, r Reader, s profile.Scope, m profile.Merge) (x profile.Standing, err error) {
	x.Merge = m
	if x.Path, err = pathOf(ctx, r, s, m.Profile); err != nil {
		return x, err
	}
	top, merged := x.Path[len(x.Path)-1], m.Others[0]
	all, err := Families(ctx, r, s, []id.Profile{top})
	if err != nil {
		return x, err
	}
	if x.Into, err = all[top].Holding(); err != nil {
		return x, fmt.Errorf("profile %s: %w", top, err)
	}
	for p, into := range map[id.Profile]*profile.Holding{m.Profile: &x.Parent, merged: &x.From} {
		all, err := Families(ctx, r, s, []id.Profile{p})
		if err != nil {
			return x, err
		}
		if *into, err = all[p].Holding(); err != nil {
			return x, fmt.Errorf("profile %s: %w", p, err)
		}
	}
	return x, nil
}

// Events answers the events of a family, newest first.
func (f Family) Events(ctx context.Context, r Reader, s profile.Scope, after string, limit int) ([]EventDoc, string, error) {
	if len(f.Members) == 0 {
		return r.ProfileEvents(ctx, s, f.Profile, after, limit) //nolint:wrapcheck // classified by the driver
	}
	tokens, err := readTokens(after)
	if err != nil {
		return nil, "", err
	}
	pages := map[id.Profile]*eventsPage{}
	for _, p := range append([]id.Profile{f.Profile}, f.Members...) {
		x := &eventsPage{from: tokens[p]}
		if x.from == nil && tokens != nil {
			continue // read to its end
		}
		if x.events, x.next, err = r.ProfileEvents(ctx, s, p, x.token(), limit); err != nil {
			return nil, "", fmt.Errorf("list the events of profile %s: %w", p, err)
		}
		pages[p] = x
	}
	var out []EventDoc
	for len(out) < limit {
		p, ok := newest(pages)
		if !ok {
			break
		}
		out = append(out, pages[p].events[pages[p].taken])
		pages[p].taken++
	}
	left := map[id.Profile]*string{}
	for p, x := range pages {
		if x.taken < len(x.events) && x.taken > 0 { // the token that stands behind what was taken
			if _, x.next, err = r.ProfileEvents(ctx, s, p, x.token(), x.taken); err != nil {
				return nil, "", fmt.Errorf("list the events of profile %s: %w", p, err)
			}
		}
		switch {
		case x.taken == 0 && len(x.events) > 0:
			token := x.token()
			left[p] = &token
		case x.next != "":
			left[p] = &x.next
		}
	}
	next, err := writeTokens(left)
	return out, next, err
}

// eventsPage is a page of the events of one member of a family.
type eventsPage struct {
	from   *string
	events []EventDoc
	next   string
	taken  int
}

func (x *eventsPage) token() string {
	if x.from == nil {
		return ""
	}
	return *x.from
}

// newest answers whose next event is the newest.
func newest(pages map[id.Profile]*eventsPage) (best id.Profile, ok bool) {
	for _, p := range slices.Sorted(maps.Keys(pages)) {
		x := pages[p]
		if x.taken < len(x.events) && (!ok || x.events[x.taken].Key.Time > pages[best].events[pages[best].taken].Key.Time) {
			best, ok = p, true
		}
	}
	return best, ok
}

// readTokens reads what writeTokens wrote: where to go on, by profile. Nil: at the beginning of all.
func readTokens(after string) (map[id.Profile]*string, error) {
	if after == "" {
		return nil, nil //nolint:nilnil // all begin
	}
	var tokens map[id.Profile]*string
	b, err := base64.RawURLEncoding.DecodeString(after)
	if err != nil || json.Unmarshal(b, &tokens) != nil || tokens == nil {
		return nil, &fault.Error{
			Class: fault.Invalid, Reason: fault.ReasonInvalidArgument, Field: "page_token",
			Message: "the page token is not one that this list answered; ask from the start",
		}
	}
	return tokens, nil
}

func writeTokens(left map[id.Profile]*string) (string, error) {
	if len(left) == 0 {
		return "", nil
	}
	b, err := json.Marshal(left)
	if err != nil {
		return "", fault.New(fault.Internal, fault.ReasonInternal, "store: a page token can not be written: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}
