package storetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/store"
)

// last answers the rows that stand at the end of a feed: the table of the last run, or of each key the version with the
// latest row time.
func (f *feed) last() []recordtest.Row {
	if f.mirror || f.replaced {
		return f.runs[len(f.runs)-1]
	}
	by := map[string]recordtest.Row{}
	for _, rows := range f.runs {
		for _, r := range rows {
			if old, ok := by[r.Key]; !ok || r.Time.After(old.Time) {
				by[r.Key] = r
			}
		}
	}
	return slices.Collect(maps.Values(by))
}

// somebody is what is known of a person or a group in the end.
type somebody struct {
	ids        map[string]bool
	attributes map[string]bool
}

// folded says in words what is left of a history, by nothing but its rows.
func folded(feeds []*feed) []string {
	people := map[string]*somebody{} // by data set and the identity that all rows of one have
	var out []string
	for _, f := range feeds {
		at := string(f.env) + " " + f.typ
		for _, r := range f.last() {
			switch f.kind {
			case record.Lookup:
				out = append(out, fmt.Sprintf("%s %s %s", f.sync, r.Key, text(r.Attributes)))
				continue
			case record.Events:
				out = append(out, fmt.Sprintf("%s event of %s: %d %s %s", at, owner(r), r.Data["timestamp_unixtime_ms"], r.EventType, text(r.Data)))
			case record.History:
				out = append(out, fmt.Sprintf("%s version of %s: %d %s", at, owner(r), r.Start.UnixMilli(), text(r.Attributes)))
			case record.Users, record.Groups:
			}
			if owner(r) == "" {
				continue
			}
			p := people[at+owner(r)]
			if p == nil {
				p = &somebody{map[string]bool{}, map[string]bool{}}
				people[at+owner(r)] = p
			}
			for typ, value := range r.Identities {
				p.ids[typ+"="+value] = true
			}
			if f.kind == record.Events || f.kind == record.History {
				continue
			}
			for name, v := range r.Attributes {
				p.attributes[fmt.Sprintf("%s=%s %s", name, text(v), when(!r.Time.IsZero(), r.Time.UnixNano()))] = true
			}
			if group, ok := r.Attributes["company"].(string); ok {
				out = append(out, fmt.Sprintf("%s %s is in %s", f.env, owner(r), group))
			}
		}
	}
	for at, p := range people {
		env, _, _ := strings.Cut(at, " ")
		out = append(out, fmt.Sprintf("%s %v %v", env, sorted(p.ids), sorted(p.attributes)))
	}
	slices.Sort(out)
	return out
}

// owner answers the identity that names whom a row is about; "" where none does.
func owner(r recordtest.Row) string {
	for _, typ := range []string{"customer_id", "company"} {
		if v := r.Identities[typ]; v != "" && v != "n/a" {
			return typ + "=" + v
		}
	}
	return ""
}

func text(v any) string {
	b, _ := json.Marshal(v) //nolint:errchkjson // a test's own values
	return string(b)
}

func when(has bool, nanos int64) string {
	if !has {
		return "at no time"
	}
	return fmt.Sprint("at ", nanos)
}

func sorted(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

// stored says in the words of folded what a store has.
func (p *player) stored(feeds []*feed) []string {
	p.t.Helper()
	var out []string
	for _, env := range []resource.Environment{resource.Prod, resource.Dev} {
		base := p.scope
		base.Environment = env
		out = append(out, p.everybody(base, "")...)
		out = append(out, p.everybody(base.Groups("company"), "company")...)
		for n := range 3 {
			out = append(out, p.membersOf(base, fmt.Sprint("g", n))...)
		}
	}
	for _, f := range feeds {
		if f.kind == record.Lookup {
			out = append(out, p.rowsOf(f)...)
		}
	}
	slices.Sort(out)
	return out
}

// everybody answers the profiles of a scope, with their events and versions.
func (p *player) everybody(s profile.Scope, typ string) []string {
	var out []string
	at := string(s.Environment) + " " + typ
	docs := pages(p.t, 7, func(after string) ([]store.ProfileDoc, string, error) { return p.Profiles(p.ctx, s, after, 7) })
	names := map[id.Profile]string{0: ""}
	for _, d := range docs {
		x, err := profile.Decode(d.Doc)
		require.NoError(p.t, err)
		ids, attributes := map[string]bool{}, map[string]bool{}
		for _, i := range x.Identities {
			ids[i.Type+"="+i.Value] = true
			if i.Type != "email" {
				names[d.Profile] = i.Type + "=" + i.Value
			}
		}
		for _, a := range x.Attributes {
			attributes[fmt.Sprintf("%s=%s %s", a.Name, a.Value.AppendJSON(nil), when(a.From.HasTime, a.From.Version.Time))] = true
		}
		out = append(out, fmt.Sprintf("%s %v %v", s.Environment, sorted(ids), sorted(attributes)))
	}
	for q, name := range names {
		for _, e := range p.eventsOf(s, q) {
			x, err := profile.DecodeEvent(e.Doc)
			require.NoError(p.t, err)
			out = append(out, fmt.Sprintf("%s event of %s: %d %s %s", at, name, e.Key.Time, x.Type, x.Data.AppendJSON(nil)))
		}
		for _, e := range p.eventsOf(s.History(), q) {
			x, err := profile.DecodeEvent(e.Doc)
			require.NoError(p.t, err)
			out = append(out, fmt.Sprintf("%s version of %s: %d %s", at, name, e.Key.Time, x.Data.AppendJSON(nil)))
		}
	}
	return out
}

func (p *player) eventsOf(s profile.Scope, q id.Profile) []store.EventDoc {
	return pages(p.t, 5, func(after string) ([]store.EventDoc, string, error) { return p.ProfileEvents(p.ctx, s, q, after, 5) })
}

// membersOf answers who says that he is in a company.
func (p *player) membersOf(s profile.Scope, group string) []string {
	var out []string
	for _, e := range p.eventsOf(s.Members(), profile.MembersKey(s, "company", group)) {
		doc, err := p.Profile(p.ctx, s, profile.MemberOf(e.Key.ID))
		require.NoError(p.t, err)
		x, err := profile.Decode(doc)
		require.NoError(p.t, err)
		for _, a := range x.Attributes {
			if a.Name == "company" && slices.Contains(profile.GroupIDs(a.Value), group) {
				out = append(out, fmt.Sprintf("%s %s=%s is in %s", s.Environment, x.Identities[0].Type, x.Identities[0].Value, group))
			}
		}
	}
	return out
}

// rowsOf answers the rows of a lookup table that its readers see.
func (p *player) rowsOf(f *feed) []string {
	var out []string
	generation := int64(0)
	if f.replaced {
		generation = int64(len(f.runs))
	}
	s := f.scope(p.scope)
	for n := range 20 {
		key := fmt.Sprint("t", n)
		for _, e := range p.eventsOf(s, profile.LookupKey(s, key)) {
			if e.Key.Time != generation {
				continue
			}
			x, err := profile.DecodeEvent(e.Doc)
			require.NoError(p.t, err)
			out = append(out, fmt.Sprintf("%s %s %s", f.sync, key, x.Data.AppendJSON(nil)))
		}
	}
	return out
}
