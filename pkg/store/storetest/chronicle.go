package storetest

import (
	"fmt"
	"math/rand/v2"

	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/resource"
)

// feed is what one sync brings in over its runs.
type feed struct {
	sync string
	kind record.Kind
	env  resource.Environment
	typ  string // of groups
	// Mirror: each run has the whole table. Replaced: so has it, of a lookup table in mode full. Otherwise runs have
	// versions of rows, which may come in any order.
	mirror, replaced bool
	runs             [][]recordtest.Row
}

// scope answers where the feed's profiles, or rows, are.
func (f *feed) scope(base profile.Scope) profile.Scope {
	base.Environment = f.env
	switch {
	case f.kind == record.Lookup:
		return base.Lookup(syncOf(f.sync))
	case f.typ != "":
		return base.Groups(f.typ)
	}
	return base
}

// chronicle makes a random history of every record kind. No two rows share an identity but customer_id, or the id of a
// group, alone; a row keeps its identities. Where versions may come in any order, a row keeps which attributes it sets,
// and each version differs from the others (an equal one that is met first leaves its own row time, because an unchanged
// row writes nothing but its entry).
func chronicle(rnd *rand.Rand) []*feed {
	people := func(prefix, email string) func(int, int) recordtest.Row {
		return func(k, version int) recordtest.Row {
			key := fmt.Sprint(prefix, k)
			r := user(key, day(10*version+rnd.IntN(9)), map[string]any{"version": version, "company": fmt.Sprint("g", rnd.IntN(3))})
			r.Identities["email"] = key + email
			for b, name := range []string{"a", "b", "c"} {
				if k&(1<<b) != 0 {
					r.Attributes[name] = fmt.Sprint(rnd.IntN(3))
				}
			}
			return r
		}
	}
	company := func(prefix string) func(int, int) recordtest.Row {
		return func(k, version int) recordtest.Row {
			key := fmt.Sprint(prefix, k)
			return recordtest.Row{
				Key: key, Time: day(10*version + rnd.IntN(9)), Identities: map[string]string{"company": key},
				Attributes: map[string]any{"version": version, "seats": rnd.IntN(9)},
			}
		}
	}
	events := func(prefix string) func(int, int) recordtest.Row {
		return func(k, version int) recordtest.Row {
			r := event(fmt.Sprint("e", k), fmt.Sprint(prefix, k/3), int64(1000*rnd.IntN(3)))
			r.Time, r.Data["event_name"] = day(10*version+rnd.IntN(9)), fmt.Sprint("version ", version)
			if k%7 == 6 {
				r.Identities = map[string]string{"customer_id": "n/a"}
			}
			return r
		}
	}
	versions := func(typ, prefix string) func(int, int) recordtest.Row {
		return func(k, version int) recordtest.Row {
			return recordtest.Row{
				Key: fmt.Sprint("v", k), Start: day(k % 4), Identities: map[string]string{typ: fmt.Sprint(prefix, k/4)},
				Attributes: map[string]any{"plan": fmt.Sprint(rnd.IntN(4))},
			}
		}
	}
	title := func(k, version int) recordtest.Row {
		return recordtest.Row{Key: fmt.Sprint("t", k), Attributes: map[string]any{"title": fmt.Sprint(rnd.IntN(4))}}
	}
	feeds := []*feed{
		{sync: "crm", kind: record.Users, runs: grown(rnd, 20, people("c", "@x.org"))},
		{sync: "shop", kind: record.Users, runs: grown(rnd, 10, people("s", "@x.org"))},
		{sync: "trial", kind: record.Users, env: resource.Dev, runs: grown(rnd, 8, people("c", "@x.org"))},
		{sync: "web", kind: record.Events, runs: grown(rnd, 20, events("c"))},
		{sync: "companies", kind: record.Groups, typ: "company", runs: grown(rnd, 6, company("g"))},
		{sync: "people", kind: record.Users, mirror: true, runs: tables(rnd, 12, people("m", "@y.org"))},
		{sync: "visits", kind: record.Events, mirror: true, runs: tables(rnd, 12, events("w"))},
		{sync: "firms", kind: record.Groups, typ: "company", mirror: true, runs: tables(rnd, 6, company("h"))},
		{sync: "plans", kind: record.History, mirror: true, runs: tables(rnd, 16, versions("customer_id", "c"))},
		{sync: "tiers", kind: record.History, mirror: true, runs: tables(rnd, 8, versions("customer_id", "y"))},
		{sync: "seats", kind: record.History, typ: "company", mirror: true, runs: tables(rnd, 8, versions("company", "g"))},
		{sync: "prices", kind: record.Lookup, mirror: true, runs: tables(rnd, 8, title)},
		{sync: "products", kind: record.Lookup, replaced: true, runs: tables(rnd, 8, title)},
	}
	for _, f := range feeds {
		if f.env == "" {
			f.env = resource.Prod
		}
	}
	return feeds
}

// grown answers runs of which each has next versions of some rows.
func grown(rnd *rand.Rand, keys int, row func(k, version int) recordtest.Row) [][]recordtest.Row {
	runs := make([][]recordtest.Row, 3)
	for k := range keys {
		for version := range 1 + rnd.IntN(3) {
			runs[version] = append(runs[version], row(k, version))
		}
	}
	return runs
}

// tables answers runs of which each has a whole table: rows come, change, stay, go, and come again. A row has no time.
func tables(rnd *rand.Rand, keys int, row func(k, version int) recordtest.Row) [][]recordtest.Row {
	runs := make([][]recordtest.Row, 4)
	last := map[int]recordtest.Row{}
	for run := range runs {
		for k := range keys {
			was, there := last[k]
			if there && rnd.IntN(3) > 0 {
				runs[run] = append(runs[run], was)
				continue
			}
			if delete(last, k); rnd.IntN(3) == 0 {
				continue
			}
			r := row(k, run)
			r.Time = recordtest.Row{}.Time
			last[k] = r
			runs[run] = append(runs[run], r)
		}
	}
	return runs
}
