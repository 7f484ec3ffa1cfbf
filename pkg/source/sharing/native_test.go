//go:build cgo && duckdb_arrow

package sharing_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sharing"
	"millrace.dev/pkg/source/sharing/sharingtest"
)

// follower looks at the changes of a table again and again, by its column id.
type follower struct {
	source.ChangeReader
	q source.ChangeQuery
}

func follow(t testing.TB, p *sharingtest.Peer, name string, compared ...string) *follower {
	t.Helper()
	return followWith(t, sharing.Settings{}, p, name, compared...)
}

func followWith(t testing.TB, s sharing.Settings, p *sharingtest.Peer, name string, compared ...string) *follower {
	t.Helper()
	r, ok := source.As[source.ChangeReader](openWith(t, s, p.Connection()))
	require.True(t, ok)
	f := &follower{ChangeReader: r, q: source.ChangeQuery{Query: table(name), Engine: resource.Native, Owner: "owner", Compared: compared}}
	f.q.Model.KeyColumns = []string{"id"}
	return f
}

func (f *follower) changes(ctx context.Context) (source.Changes, error) {
	f.q.Attempt.Run++
	return f.Changes(ctx, f.q, 4)
}

// next makes a state, reads what is changed and what is gone by the first column, and goes on from there.
func (f *follower) next(t testing.TB) (c source.Changes, rows, gone []string) {
	t.Helper()
	c, err := f.changes(t.Context())
	require.NoError(t, err)
	rows, gone, err = f.read(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, rows, int(c.Changed))
	require.Len(t, gone, int(c.Gone))
	f.q.Since = c.State
	return c, rows, gone
}

func (f *follower) read(ctx context.Context, c source.Changes) (rows, gone []string, err error) {
	q := f.q
	q.Since = c.Since
	for _, p := range c.Parts {
		for b, err := range f.ReadChanges(ctx, q, c.State, p) {
			if err != nil {
				return rows, gone, err
			}
			rows = append(rows, firstOf(b)...)
		}
	}
	if c.Since == "" {
		return rows, gone, nil
	}
	for b, err := range f.ReadGone(ctx, q, c.State) {
		if err != nil {
			return rows, gone, err
		}
		gone = append(gone, firstOf(b)...)
	}
	return rows, gone, nil
}

func firstOf(b arrow.RecordBatch) []string {
	out := make([]string, b.NumRows())
	for i := range out {
		out[i] = strings.Clone(b.Column(0).ValueStr(i))
	}
	return out
}

const plans = "CREATE TABLE plans AS SELECT i AS id, 'free' AS plan, i AS n FROM range(1, 41) AS g(i)"

func followed(t *testing.T) (*sharingtest.Peer, *follower) {
	t.Helper()
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, plans)
	return p, follow(t, p, "plans", "plan")
}

// TestAFeedOfMoreThanIsHeldIsLost has one change more than are held against one another: everything is read.
func TestAFeedOfMoreThanIsHeldIsLost(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, plans)
	f := followWith(t, sharing.Settings{MaxChanges: 20}, p, "plans", "plan")
	f.next(t)
	p.Exec(t, "UPDATE plans SET plan = 'pro' WHERE id <= 10")
	c, rows, _ := f.next(t)
	require.Empty(t, c.Lost)
	require.Len(t, rows, 10)
	p.Exec(t, "UPDATE plans SET plan = 'gold' WHERE id <= 11")
	c, rows, _ = f.next(t)
	require.Contains(t, c.Lost, "more than 20 keys or rows")
	require.Len(t, rows, 40)
	p.Exec(t, "DELETE FROM plans")
	c, _, _ = f.next(t)
	require.Contains(t, c.Lost, "more than 20 keys or rows", "keys count as well")
}

// TestTheLastImageCounts changes rows again and again before they are read.
func TestTheLastImageCounts(t *testing.T) {
	p, f := followed(t)
	f.q.Model.Table, f.q.Model.SQL = "", "SELECT n, id, plan FROM plans"
	f.next(t)
	for _, sql := range []string{
		"UPDATE plans SET plan = 'pro', n = 100 WHERE id = 1", "UPDATE plans SET plan = 'gold', n = 101 WHERE id = 1", "UPDATE plans SET n = 102 WHERE id = 1",
		"UPDATE plans SET plan = 'pro' WHERE id = 2", "UPDATE plans SET plan = 'free', n = 200 WHERE id = 2",
		"INSERT INTO plans VALUES (50, 'free', 300)", "DELETE FROM plans WHERE id = 50",
		"INSERT INTO plans VALUES (51, 'free', 400)", "DELETE FROM plans WHERE id = 51", "INSERT INTO plans VALUES (51, 'free', 401)",
		"DELETE FROM plans WHERE id = 3", "INSERT INTO plans VALUES (3, 'free', 500)",
		"DELETE FROM plans WHERE id = 4", "INSERT INTO plans VALUES (4, 'pro', 600)",
		"UPDATE plans SET plan = 'x' WHERE id = 5", "DELETE FROM plans WHERE id = 5",
		"UPDATE plans SET n = 700 WHERE id = 6",
	} {
		p.Exec(t, sql)
	}
	c, rows, gone := f.next(t)
	require.Empty(t, c.Lost)
	require.ElementsMatch(t, []string{"102", "401", "600"}, rows, "each with the last of its columns, also of those that do not count")
	require.Equal(t, []string{"5"}, gone)
	require.EqualValues(t, 40, c.Rows)
}

// TestKeysThatRepeat has rows with one key. A feed does not say that there are others: what the table has is read.
func TestKeysThatRepeat(t *testing.T) {
	p, f := followed(t)
	f.next(t)
	p.Exec(t, "INSERT INTO plans VALUES (1, 'second', 0)")
	_, rows, _ := f.next(t)
	require.Equal(t, []string{"1", "1"}, rows)
	p.Exec(t, "DELETE FROM plans WHERE id = 1 AND plan = 'free'; UPDATE plans SET plan = 'pro' WHERE id = 2")
	_, rows, gone := f.next(t)
	require.ElementsMatch(t, []string{"1", "2"}, rows)
	require.Empty(t, gone, "the other one stands")
	p.Exec(t, "INSERT INTO plans VALUES (1, 'second', 1); DELETE FROM plans WHERE id = 3")
	_, rows, gone = f.next(t)
	require.Empty(t, rows, "repeats of a row are no change")
	require.Equal(t, []string{"3"}, gone)
	p.Exec(t, "DELETE FROM plans WHERE id = 1")
	_, _, gone = f.next(t)
	require.Equal(t, []string{"1"}, gone)
}

// TestHistoriesOfVersions edits a table at random over several versions between two looks, on each kind of server, with feeds
// of their own files and of whole ones, and holds what is found against a comparison of the rows themselves.
func TestHistoriesOfVersions(t *testing.T) {
	for name, o := range feeds() {
		for _, anew := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", anew), func(t *testing.T) {
				p := sharingtest.Start(t, o)
				p.Set("v", sharingtest.Table{Overwritten: anew, Partition: "part"})
				p.Exec(t, "CREATE TABLE v (id BIGINT, name VARCHAR, part VARCHAR, unread BIGINT)")
				f := followWith(t, sharing.Settings{PartRows: 3}, p, "v", "name", "part")
				r := rand.New(rand.NewPCG(7, uint64(len(name)))) //nolint:gosec // a test's own history
				was := map[string]string{}
				for step := range 8 {
					is := map[string]string{}
					for range 1 + r.IntN(3) {
						clear(is)
						text := "DELETE FROM v;"
						for range r.IntN(9) {
							id, row := fmt.Sprint(r.IntN(6)), fmt.Sprintf("'%d', '%d'", r.IntN(2), r.IntN(2))
							if is[id] == "" {
								is[id] = row
								text += fmt.Sprintf("INSERT INTO v VALUES (%s, %s, %d);", id, row, r.IntN(3))
							}
						}
						p.Exec(t, text)
					}
					c, rows, gone := f.next(t)
					require.Empty(t, c.Lost)
					var wantRows, wantGone []string
					for id, row := range is {
						if was[id] != row {
							wantRows = append(wantRows, id)
						}
					}
					for id := range was {
						if is[id] == "" {
							wantGone = append(wantGone, id)
						}
					}
					require.ElementsMatch(t, wantRows, rows, step)
					require.ElementsMatch(t, wantGone, gone, step)
					require.Len(t, is, int(c.Rows))
					was = is
				}
			})
		}
	}
}

// TestModelsWithoutKeysOrForOtherEngines are refused before anything is asked.
func TestModelsWithoutKeysOrForOtherEngines(t *testing.T) {
	p, f := followed(t)
	p.Intercept(nil)
	f.q.Engine = resource.Diff
	_, err := f.changes(t.Context())
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	f.q.Engine, f.q.Model.KeyColumns = resource.Native, nil
	_, err = f.changes(t.Context())
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	require.Empty(t, p.Calls())
	f.q.Model.KeyColumns = []string{"id", "missing"}
	_, err = f.changes(t.Context())
	require.Equal(t, fault.ReasonKeyInvalid, fault.ReasonOf(err), "%v", err)
}

// TestOnlyWhatTheFeedNamesIsRead holds how little is asked of a server: nothing but the metadata where no version came, and
// else the feed's files and the key column of files within reach.
func TestOnlyWhatTheFeedNamesIsRead(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{FileRows: 1000})
	p.Exec(t, "CREATE TABLE big AS SELECT i AS id, md5(CAST(i AS VARCHAR)) AS text FROM range(20000) AS g(i)")
	f := follow(t, p, "big", "text")
	f.next(t)
	p.Intercept(nil)
	f.next(t)
	require.Equal(t, map[string]int{"metadata": 1}, p.Calls(), "nothing was written")
	p.Exec(t, "INSERT INTO big VALUES (20000, 'new')")
	p.Intercept(nil)
	_, rows, _ := f.next(t)
	require.Equal(t, []string{"20000"}, rows)
	require.LessOrEqual(t, p.Calls()["file"], 5, "one file of the feed, and the one of the table in which such a key may be")
}

// TestAFollowerStops ends with its reader and its context, and gives all memory back.
func TestAFollowerStops(t *testing.T) {
	p := largePeer(t, sharingtest.Options{})
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	f := followWith(t, sharing.Settings{Allocator: mem, PartRows: 10_000}, p, "large", "text")
	f.next(t)
	p.Exec(t, "UPDATE large SET text = 'x' WHERE id % 4 = 0; DELETE FROM large WHERE id % 4 = 1; INSERT INTO large SELECT * FROM large WHERE id < 10")
	c, err := f.changes(t.Context())
	require.NoError(t, err)
	require.Len(t, c.Parts, 4)
	for _, err := range f.ReadChanges(t.Context(), f.q, c.State, c.Parts[0]) {
		require.NoError(t, err)
		break
	}
	for _, err := range f.ReadGone(t.Context(), f.q, c.State) {
		require.NoError(t, err)
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	var last error
	for _, err := range f.ReadChanges(ctx, f.q, c.State, c.Parts[1]) {
		last = err
		cancel()
	}
	require.Equal(t, fault.Cancelled, fault.ClassOf(last), "%v", last)
	cancel()
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = f.changes(ctx)
	require.Equal(t, fault.Cancelled, fault.ClassOf(err), "%v", err)
	rows, gone, err := f.read(t.Context(), c)
	require.NoError(t, err)
	sort.Strings(rows)
	require.Len(t, rows, int(c.Changed))
	require.Len(t, gone, 50_000)
	mem.AssertSize(t, 0)
}

// TestALargeFeedIsReadInLittleMemory changes a fifth of 200,000 wide rows: what is held of them is hashes, whatever
// they have in them.
func TestALargeFeedIsReadInLittleMemory(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, "CREATE TABLE wide AS SELECT i AS id, md5(CAST(i AS VARCHAR)) || repeat('x', 368) AS text FROM range(200000) AS g(i)")
	mem := &peak{Allocator: memory.DefaultAllocator}
	f := followWith(t, sharing.Settings{Allocator: mem, MaxInFlight: 4 << 20}, p, "wide", "text")
	c, err := f.changes(t.Context())
	require.NoError(t, err)
	f.q.Since = c.State
	p.Exec(t, "UPDATE wide SET text = 'y' || text WHERE id % 5 = 0")
	c, rows, _ := f.next(t)
	require.Empty(t, c.Lost)
	require.Len(t, rows, 40_000)
	require.Less(t, mem.most.Load(), int64(48<<20))
	require.Zero(t, mem.held.Load())
}
