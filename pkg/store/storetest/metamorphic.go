package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/store"
)

// Agree plays random histories of every record kind into stores, in batches that are cut anywhere, in several orders and
// with repetitions. What is stored must be what a fold of the history says, and every way, in every store, must lead to
// the same digest.
func Agree(t *testing.T, opens ...Opener) {
	t.Helper()
	const seeds, ways = 3, 4
	for seed := range uint64(seeds) {
		feeds := chronicle(rand.New(rand.NewPCG(seed, 7))) //nolint:gosec // a test's own history
		want := ""
		for way := range ways {
			for n, open := range opens {
				t.Run(fmt.Sprintf("history %d way %d store %d", seed, way, n), func(t *testing.T) {
					h := start(t, open(t))
					p := &player{harness: h, rnd: rand.New(rand.NewPCG(seed, uint64(100+10*n+way))), way: way} //nolint:gosec // as above
					p.play(feeds)
					require.Equal(t, folded(feeds), p.stored(feeds))
					got := Digest(t, h)
					if want == "" {
						want = got
					}
					require.Equal(t, want, got)
				})
			}
		}
	}
}

// player ingests a history. Way 0 is in order, a batch a run; others are shuffled, cut anywhere, and partly repeated. Way 2
// and up deliver batches again, at once and later.
type player struct {
	*harness
	rnd  *rand.Rand
	way  int
	seq  uint32
	past []delivery
}

// delivery is a batch with the data set that it is for.
type delivery struct {
	batch
	scope profile.Scope
	rules profile.Rules
}

// line is rows of one feed and run that are still to come, or of all runs where they may come in any order.
type line struct {
	feed *feed
	run  int64
	rows []recordtest.Row
}

func (p *player) play(feeds []*feed) {
	lines := make([][]line, len(feeds)) // of each feed those that follow one another
	for i, f := range feeds {
		for run, rows := range f.runs {
			lines[i] = append(lines[i], line{f, int64(run + 1), p.mixed(rows)})
		}
	}
	for i := 0; len(lines) > 0; {
		if p.way > 0 {
			i = p.rnd.IntN(len(lines))
		}
		next := &lines[i][0]
		ordered := next.feed.mirror || next.feed.replaced
		if p.way > 0 && !ordered {
			next = &lines[i][p.rnd.IntN(len(lines[i]))]
		}
		if len(next.rows) > 0 {
			p.some(next)
			continue
		}
		if next.feed.mirror {
			p.withdraw(next)
		}
		lines[i] = slices.DeleteFunc(lines[i], func(l line) bool { return l.run == next.run })
		if len(lines[i]) == 0 {
			lines = slices.Delete(lines, i, i+1)
		}
	}
}

// mixed answers the rows of a run in the order of the way, some of them twice.
func (p *player) mixed(rows []recordtest.Row) []recordtest.Row {
	rows = slices.Clone(rows)
	if p.way == 0 {
		return rows
	}
	for range len(rows) / 3 {
		rows = append(rows, rows[p.rnd.IntN(len(rows))])
	}
	p.rnd.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows
}

// some ingests the next rows of a line.
func (p *player) some(l *line) {
	n, part := len(l.rows), uint32(1)
	if p.way > 0 {
		n, part = min(n, 1+p.rnd.IntN(12)), uint32(1+p.rnd.IntN(2)) //nolint:gosec // few
	}
	rows := l.rows[:n]
	l.rows = l.rows[n:]
	b := ofKind(l.feed.kind, p.origin(l, part), rows...)
	if l.feed.mirror {
		b = mirrorOf(b)
	}
	p.deliver(delivery{b, l.feed.scope(p.scope), p.rulesOf(l)})
	if p.way > 1 && p.rnd.IntN(3) == 0 {
		p.deliver(p.past[p.rnd.IntN(len(p.past))])
	}
}

func (p *player) origin(l *line, part uint32) record.Origin {
	p.seq++
	o := originOf(l.feed.sync, l.run, part, 1, p.seq)
	o.Full = l.feed.replaced
	return o
}

func (p *player) rulesOf(l *line) profile.Rules {
	r := profile.Rules{GroupTypes: []string{"company"}}
	if l.feed.replaced {
		r.Table = profile.Table{Generation: l.run, Current: l.run - 1}
	}
	return r
}

// withdraw deletes what a run of a mirror has not read, in one batch or in several.
func (p *player) withdraw(l *line) {
	parts := []store.ReadPart{{RunNo: l.run, Part: 1, Epoch: 1}, {RunNo: l.run, Part: 2, Epoch: 1}}
	keys := p.absent(store.Reading{Sync: syncOf(l.feed.sync), RunNo: l.run, Parts: parts})
	for len(keys) > 0 {
		n := len(keys)
		if p.way > 0 {
			n = 1 + p.rnd.IntN(n)
		}
		p.deliver(delivery{absentOf(p.origin(l, 3), l.feed.kind, keys[:n]...), l.feed.scope(p.scope), p.rulesOf(l)})
		keys = keys[n:]
	}
	require.NoError(p.t, p.Forget(p.ctx, syncOf(l.feed.sync), l.run))
}

// deliver ingests a batch, and tells one that was there before.
func (p *player) deliver(d delivery) {
	again := slices.ContainsFunc(p.past, func(x delivery) bool { return x.origin.Batch == d.origin.Batch })
	out, err := p.in(d.scope, d.rules).ingest(d.batch)
	require.NoError(p.t, err)
	require.Equal(p.t, again, out.Repeated)
	if !again {
		p.past = append(p.past, d)
	}
}
