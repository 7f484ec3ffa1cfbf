package histories_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// none is the tick of a row without an iterator value.
const none = int64(-1)

// sourceRow is a row of the table as the data model selects it.
type sourceRow struct {
	key    int64 // 0 names nobody
	name   string
	amount string
	ts     int64
	tick   int64
}

// good says whether the row's amount is a number.
func (r sourceRow) good() bool { return !strings.HasPrefix(r.amount, "bad") }

// content is what the mapping makes of a row, less its time.
func (r sourceRow) content(kind string) string {
	if kind == "events" {
		return fmt.Sprintf("%s|%s|%d", r.name, r.amount, r.ts)
	}
	return r.name + "|" + r.amount
}

// table is the source as its owner sees it, by a row id that the data model does not select. All rows of a key are equal
// wherever the order between unequal ones would be by their hashes.
type table struct {
	h      history
	rows   map[int]sourceRow
	nextID int
	key    int64
	head   int64 // the largest tick so far
	random *rand.Rand
}

func newTable(h history) *table {
	t := &table{h: h, rows: map[int]sourceRow{}, random: rand.New(rand.NewPCG(h.values, uint64(h.seed)))}
	for i := range h.rows {
		r := t.fresh(int64(i) / 3)
		switch {
		case i == 7:
			r.key = 0
		case i%97 == 5:
			r.amount = "bad" + r.amount
		case i%83 == 11:
			r.tick = none
		}
		t.insert(r)
	}
	t.head = int64(h.rows-1) / 3
	return t
}

// name is the table's.
func (t *table) name() string { return "rows_" + strconv.Itoa(t.h.seed) }

// create answers the statement that makes the table, empty.
func (t *table) create() string {
	at := cmp.Or(t.h.iterator.types[t.h.warehouse], "INTEGER")
	return "CREATE TABLE " + t.name() + " (rid INTEGER, k BIGINT, name TEXT, amount TEXT, ts BIGINT, at_ " + at + ")"
}

// fresh answers a row with a new key.
func (t *table) fresh(tick int64) sourceRow {
	t.key++
	return t.edited(sourceRow{key: t.key, tick: tick})
}

// edited answers a row with other content.
func (t *table) edited(r sourceRow) sourceRow {
	r.name = fmt.Sprintf("n%d", t.random.IntN(1e9))
	r.amount = fmt.Sprint(t.random.IntN(1e6))
	r.ts = 1_700_000_000_000 + t.random.Int64N(1e10)
	return r
}

func (t *table) insert(r sourceRow) {
	t.rows[t.nextID] = r
	t.nextID++
}

// since answers the statements that make the table what it is of what it was.
func (t *table) since(before map[int]sourceRow) []string {
	var gone, in []string
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if now, ok := t.rows[id]; !ok || now != before[id] {
			gone = append(gone, fmt.Sprint(id))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.rows)) {
		r := t.rows[id]
		if was, ok := before[id]; !ok || was != r {
			in = append(in, fmt.Sprintf("(%d,%d,'%s','%s',%d,%s)", id, r.key, r.name, r.amount, r.ts, t.h.iterator.literal(r.tick)))
		}
	}
	var out []string
	if len(gone) > 0 {
		out = append(out, "DELETE FROM "+t.name()+" WHERE rid IN ("+strings.Join(gone, ",")+")")
	}
	if len(in) > 0 {
		out = append(out, "INSERT INTO "+t.name()+" VALUES "+strings.Join(in, ","))
	}
	return out
}

// do makes a change to the rows.
func (t *table) do(c change) {
	switch c.kind {
	case adds:
		for range c.n {
			t.head += t.random.Int64N(2)
			t.insert(t.fresh(t.head))
		}
	case ties:
		for range c.n {
			t.insert(t.fresh(t.head))
		}
	case comesLate:
		for range c.n {
			t.insert(t.fresh(max(0, t.head-t.random.Int64N(max(1, t.h.lookback)))))
		}
	case tooLate:
		for range c.n {
			t.insert(t.fresh(t.random.Int64N(1 + t.head/4)))
		}
	case repeats:
		t.repeat(c.n)
	case deletes:
		for _, k := range t.some(c.n) {
			maps.DeleteFunc(t.rows, func(_ int, r sourceRow) bool { return r.key == k })
		}
	default:
		t.rewrite(c)
	}
}

// repeat adds rows with keys that are there: newer ones where their times tell them apart, else equal ones.
func (t *table) repeat(n int) {
	for _, k := range t.some(min(n, 8)) {
		ids := t.of(k)
		r := t.rows[ids[0]]
		if len(ids) > 1 {
			continue
		}
		if t.h.mode == "incremental" && t.h.iterator.timed && r.tick != none {
			t.head += 41 // another day, too
			r = t.edited(r)
			r.tick = t.head
		}
		t.insert(r)
	}
}

// rewrite changes rows, all of a key alike.
func (t *table) rewrite(c change) {
	for _, k := range t.some(c.n) {
		ids := t.of(k)
		r := t.rows[ids[0]]
		switch c.kind {
		case edits:
			t.head += t.random.Int64N(2)
			r = t.edited(r)
			r.tick = t.head
		case silent:
			r = t.edited(r)
		case bumps:
			t.head += t.random.Int64N(2)
			r.tick = t.head
		case spoils:
			r = t.edited(r)
			r.amount, r.tick = "bad"+r.amount, t.head
		case heals:
			if r.good() {
				continue
			}
			r = t.edited(r)
			r.tick = t.head
		case blanks:
			r.tick = none
		}
		for _, id := range ids {
			t.rows[id] = r
		}
	}
}

// of answers the ids of a key's rows.
func (t *table) of(key int64) []int {
	var ids []int
	for id, r := range t.rows {
		if r.key == key {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// some answers n different keys of the table, or fewer.
func (t *table) some(n int) []int64 {
	ids := slices.Sorted(maps.Keys(t.rows))
	t.random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	var keys []int64
	for _, id := range ids {
		if k := t.rows[id].key; len(keys) < n && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, cmp.Compare)
	return keys
}
