package ingestion

import (
	"context"
	"fmt"
	"slices"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

// outcomes answers, by position, where the identities of records lead and what becomes of them.
func (p *preview) outcomes() map[int]*ingestionv1.IdentityOutcome {
	out := make(map[int]*ingestionv1.IdentityOutcome, len(p.effects.Explained))
	for _, x := range p.effects.Explained {
		o := &ingestionv1.IdentityOutcome{Outcome: "attached"}
		switch {
		case len(x.Outcome.Merges) > 0:
			o.Outcome = "merged"
		case x.Outcome.Profile == 0:
			o.Outcome = "created"
		}
		for i, f := range x.Outcome.Fates {
			g := x.Given[i]
			o.Identities = append(o.Identities, &ingestionv1.IdentityFate{
				Identity: &ingestionv1.Identity{Type: g.Type, Value: g.Value}, Fate: fateWord(f.Do), Rule: f.Rule,
			})
		}
		for _, m := range x.Outcome.Merges {
			g := x.Given[m.By]
			o.Merges = append(o.Merges, &ingestionv1.Merge{
				Kind: mergeWord(profile.Merged), Mpid: x.Profile.String(), Others: []string{m.Profile.String()},
				Glue: &ingestionv1.Identity{Type: g.Type, Value: g.Value},
			})
		}
		for _, s := range x.Outcome.Stops {
			o.Merges = append(o.Merges, toStop(x, s))
		}
		out[x.Row] = o
	}
	return out
}

func toStop(x profile.Explained, s identity.Stop) *ingestionv1.Merge {
	g := x.Given[s.Demoted]
	m := &ingestionv1.Merge{
		Kind: mergeWord(profile.Stopped), Mpid: x.Profile.String(), Rule: s.Rule, Glue: &ingestionv1.Identity{Type: g.Type, Value: g.Value},
	}
	if s.Type != "" {
		m.Limit = s.Type + " " + s.Limit.String()
	}
	for _, q := range s.Profiles {
		m.Others = append(m.Others, q.String())
	}
	return m
}

func fateWord(d identity.Do) string {
	switch d {
	case identity.Bind:
		return "bound"
	case identity.Steal:
		return "taken"
	case identity.Leave:
		return "left"
	case identity.Keep:
	}
	return "kept"
}

// figures counts what the records would do to profiles. A profile that is made and merged away within the sample counts as
// a merge only.
func (p *preview) figures() *ingestionv1.IdentityFigures {
	merged := map[id.Profile]id.Profile{}
	for _, l := range p.effects.Links {
		merged[l.Profile] = l.Survivor
	}
	top := func(q id.Profile) id.Profile {
		for to := merged[q]; to != 0; to = merged[q] {
			q = to
		}
		return q
	}
	touched := map[id.Profile]bool{}
	for _, c := range p.effects.Contributions {
		touched[top(c.Profile)] = true
	}
	f := &ingestionv1.IdentityFigures{Merges: int64(len(merged))}
	for q := range touched {
		if slices.Contains(p.effects.Born, q) {
			f.Creates++
		} else {
			f.Updates++
		}
	}
	p.largest(f, top)
	return f
}

// largest finds the largest cluster that merges make.
func (p *preview) largest(f *ingestionv1.IdentityFigures, top func(id.Profile) id.Profile) {
	sizes, glue := map[id.Profile]int64{}, map[id.Profile]map[profile.Identity]int{}
	member := func(q id.Profile) int64 { return 1 + int64(len(p.state.Held[q].Members)) }
	for _, m := range p.effects.Merges {
		if m.Kind != profile.Merged {
			continue
		}
		t := top(m.Profile)
		if glue[t] == nil {
			glue[t], sizes[t] = map[profile.Identity]int{}, member(t)
		}
		sizes[t] += member(m.Others[0])
		glue[t][m.Glue]++
	}
	var best id.Profile
	for t, n := range sizes {
		if best == 0 || n > sizes[best] || n == sizes[best] && t < best {
			best = t
		}
	}
	if best == 0 {
		return
	}
	f.LargestCluster = sizes[best]
	var most profile.Identity
	for i, n := range glue[best] {
		if c := n - glue[best][most]; c > 0 || c == 0 && i.Type+i.Value < most.Type+most.Value {
			most = i
		}
	}
	f.Glue = toIdentity(most)
}

// would answers what a profile would be with the contributions merged into it, and with the profiles that are.
func (p *preview) would(ctx context.Context, to id.Profile) (*ingestionv1.Profile, error) {
	whole, err := store.Whole(ctx, p.store, p.scope, to)
	if err != nil {
		return nil, fmt.Errorf("read profile %s: %w", to, err)
	}
	family := map[id.Profile]bool{whole.Profile: true}
	for _, q := range whole.Members {
		family[q] = true
	}
	docs := [][]byte{whole.With(p.brought)}
	// Links are in the order in which they come about, so that what is merged into a profile stands before it.
	for _, l := range slices.Backward(p.effects.Links) {
		if !family[l.Survivor] || family[l.Profile] {
			continue
		}
		part, err := store.Whole(ctx, p.store, p.scope, l.Profile)
		if err != nil {
			return nil, fmt.Errorf("read profile %s: %w", l.Profile, err)
		}
		docs, family[l.Profile] = append(docs, part.With(p.brought)), true
	}
	return toProfile(p.scope, whole.Profile, profile.Concat(docs...))
}

// brought answers what the records would merge into a profile's own document.
func (p *preview) brought(q id.Profile) (doc []byte) {
	for _, c := range p.effects.Contributions {
		if c.Profile == q {
			doc = append(doc, c.Doc...)
		}
	}
	return doc
}
