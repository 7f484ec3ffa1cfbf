package identity_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
)

// world keeps profiles in maps and does what outcomes say.
type world struct {
	rules   *identity.Rules
	policy  identity.Policy
	bound   map[held]id.Profile
	holders map[id.Profile]*identity.Holder
	next    id.Profile
	now     time.Time
}

type held struct{ typ, value string }

func newWorld(r *identity.Rules) *world {
	return &world{
		rules: r, bound: map[held]id.Profile{}, holders: map[id.Profile]*identity.Holder{}, next: 1,
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func (w *world) holder(p id.Profile) identity.Holder {
	if h := w.holders[p]; h != nil {
		return *h
	}
	return identity.Holder{}
}

func (w *world) question(ids []held) identity.Question {
	q := identity.Question{Holder: w.holder, Time: w.now.UnixNano()}
	for _, i := range ids {
		q.Given = append(q.Given, identity.Given{Type: i.typ, Value: i.value, Profile: w.bound[i]})
	}
	return q
}

// row resolves a row and does what comes of it.
func (w *world) row(ids []held) (identity.Question, identity.Outcome, id.Profile) {
	q := w.question(ids)
	o := w.rules.Resolve(q)
	p := o.Profile
	if p == 0 {
		p = w.next
		w.next++
		w.holders[p] = &identity.Holder{Created: w.now.UnixNano()}
	}
	for _, m := range o.Merges {
		w.merge(p, m.Profile)
	}
	for i, f := range o.Fates {
		k := ids[i]
		switch f.Do {
		case identity.Steal:
			w.lose(w.bound[k], k)
			w.bind(p, k)
		case identity.Bind:
			w.bind(p, k)
		case identity.Keep, identity.Leave:
		}
	}
	return q, o, p
}

func (w *world) bind(p id.Profile, k held) {
	w.bound[k] = p
	w.holders[p].Held = append(w.holders[p].Held, identity.Held{Type: k.typ, Value: k.value, Since: w.now.UnixNano()})
}

func (w *world) lose(p id.Profile, k held) {
	w.holders[p].Held = slices.DeleteFunc(w.holders[p].Held, func(h identity.Held) bool { return h.Type == k.typ && h.Value == k.value })
}

func (w *world) merge(into, p id.Profile) {
	s, l := w.holders[into], w.holders[p]
	s.Held = append(s.Held, l.Held...)
	s.Merges += 1 + l.Merges
	s.Members = append(append(s.Members, p), l.Members...)
	s.Apart = append(s.Apart, l.Apart...)
	for _, h := range l.Held {
		w.bound[held{h.Type, h.Value}] = into
	}
	delete(w.holders, p)
}

func (w *world) text() string {
	var out []string
	for p := id.Profile(1); p < w.next; p++ {
		h := w.holders[p]
		if h == nil {
			continue
		}
		var ids []string
		for _, x := range h.Held {
			ids = append(ids, x.Type+"="+x.Value)
		}
		slices.Sort(ids)
		out = append(out, strings.TrimSpace(fmt.Sprintf("P%d %s", p, strings.Join(ids, " "))))
	}
	return strings.Join(out, "\n") + "\n"
}

// parse reads "2026-01-05 customer_id=1 email=a@x.org"; the day may be missing.
func (w *world) parse(t *testing.T, line string) []held {
	t.Helper()
	var ids []held
	for _, word := range strings.Fields(line) {
		typ, value, ok := strings.Cut(word, "=")
		if ok {
			ids = append(ids, held{typ, value})
			continue
		}
		day, err := time.Parse(time.DateOnly, word)
		require.NoError(t, err)
		w.now = day
	}
	return ids
}

// start makes a profile as a line "P3 2026-01-05 merges=99 mappings=999 apart=P1/email=a@x.org customer_id=1" has it.
func (w *world) start(t *testing.T, line string) {
	t.Helper()
	h := &identity.Holder{}
	p := w.next
	w.next++
	w.holders[p] = h
	_, rest, _ := strings.Cut(line, " ")
	var ids []held
	for _, i := range w.parse(t, rest) {
		switch i.typ {
		case "merges":
			_, err := fmt.Sscan(i.value, &h.Merges)
			require.NoError(t, err)
		case "mappings":
			n := 0
			_, err := fmt.Sscan(i.value, &n)
			require.NoError(t, err)
			for k := range n {
				ids = append(ids, held{"many", fmt.Sprint(p, "-", k)})
			}
		case "apart":
			from, value, _ := strings.Cut(i.value, "/")
			typ, value, _ := strings.Cut(value, "=")
			a := identity.Apart{Type: typ, Value: value}
			_, err := fmt.Sscanf(from, "P%d", &a.From)
			require.NoError(t, err)
			h.Apart = append(h.Apart, a)
		default:
			ids = append(ids, i)
		}
	}
	h.Created = w.now.UnixNano()
	for _, k := range ids {
		w.bind(p, k)
	}
}

// usable drops what the policy blocks and says so.
func (w *world) usable(ids []held) (left []held, said string) {
	for _, i := range ids {
		if w.policy.Usable(i.value) {
			left = append(left, i)
		} else {
			said += "  drop " + i.typ + "=" + i.value + ": blocked\n"
		}
	}
	return left, said
}

func outcomeText(q identity.Question, o identity.Outcome, p id.Profile) string {
	name := func(i int) string { return q.Given[i].Type + "=" + q.Given[i].Value }
	s := fmt.Sprintf("P%d", p)
	if o.Profile == 0 {
		s += " new"
	}
	s += "\n"
	for _, m := range o.Merges {
		s += fmt.Sprintf("  merge P%d, glued by %s\n", m.Profile, name(m.By))
	}
	if o.Linked != 0 {
		s += fmt.Sprintf("  link P%d\n", o.Linked)
	}
	for i, f := range o.Fates {
		switch f.Do {
		case identity.Bind:
			s += "  bind " + name(i) + "\n"
		case identity.Steal:
			s += fmt.Sprintf("  take %s from P%d: %s\n", name(i), q.Given[i].Profile, f.Rule)
		case identity.Leave:
			s += "  leave " + name(i) + ": " + f.Rule + "\n"
		case identity.Keep:
		}
	}
	for _, x := range o.Stops {
		var ps []string
		for _, p := range x.Profiles {
			ps = append(ps, fmt.Sprintf("P%d", p))
		}
		s += fmt.Sprintf("  no merge of %s: %s", strings.Join(ps, ", "), x.Rule)
		if x.Type != "" {
			s += fmt.Sprintf(", %s %s", x.Type, x.Limit)
		}
		s += "\n"
	}
	return s
}
