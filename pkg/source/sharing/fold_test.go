package sharing

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/row"
)

// event is a row of a feed, by small numbers.
type event struct {
	key, value uint64
	version    int64
	came       bool
}

func hashOf(n uint64) row.Hash { return row.Hash{Hi: n, Lo: ^n} }

func (e event) image() row.Hash { return hashOf(e.key<<32 | e.value + 1) }

// rowsBy are rows of each key by value.
type rowsBy map[uint64]map[uint64]int64

func (r rowsBy) put(key, value uint64, n int64) {
	if r[key] == nil {
		r[key] = map[uint64]int64{}
	}
	if r[key][value] += n; r[key][value] == 0 {
		delete(r[key], value)
	}
}

func (r rowsBy) rows(key uint64) (n int64) {
	for _, x := range r[key] {
		n += x
	}
	return n
}

// counted tells f how many rows the state has of its keys, and of their values.
func counted(f *fold, state rowsBy) {
	for key, values := range state {
		if k := f.key(hashOf(key)); k != nil {
			k.rows = state.rows(key)
		}
		for value, n := range values {
			if i := f.image(event{key: key, value: value}.image()); i != nil {
				i.rows = n
			}
		}
	}
}

// TestAFoldTellsWhatTheRowsTell edits rows at random, some with one key, over many versions, and folds the changes in any
// order: what it says of each key is what a comparison of the rows themselves says.
func TestAFoldTellsWhatTheRowsTell(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 9)) //nolint:gosec // a test's own history
		was, is := rowsBy{}, rowsBy{}
		var events []event
		most := 1 + int64(seed%2) // rows of a key
		change := func(version int64, log bool) {
			key, value := r.Uint64N(5), r.Uint64N(3)
			e := event{key: key, value: value, version: version}
			switch {
			case is[key][value] > 0 && r.IntN(2) == 0:
				is.put(key, value, -1)
			case is.rows(key) < most:
				e.came = true
				is.put(key, value, 1)
			default:
				return
			}
			if log {
				events = append(events, e)
			} else {
				was.put(key, value, map[bool]int64{true: 1, false: -1}[e.came])
			}
		}
		for range 10 {
			change(0, false)
		}
		for n := range int64(20) {
			change(1+n/4, true)
		}
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		f := newFold(100)
		for _, e := range events {
			require.True(t, f.add(hashOf(e.key), e.image(), e.key == 4, e.version, e.came))
		}
		counted(f, is)
		repeats, ok := f.repeating()
		require.True(t, ok)
		require.False(t, repeats && most == 1)
		rows, keys, ok := f.judge()
		require.True(t, ok)
		wantRows, wantKeys := int64(0), int64(0)
		for key := range uint64(5) {
			same := true
			for value := range uint64(3) {
				same = same && (is[key][value] > 0) == (was[key][value] > 0)
			}
			switch {
			case is.rows(key) > 0 && !same:
				wantRows += is.rows(key)
			case is.rows(key) == 0 && was.rows(key) > 0 && key != 4: // which is NULL
				wantKeys++
			}
		}
		require.Equal(t, wantRows, rows, "seed %d", seed)
		require.Equal(t, wantKeys, keys, "seed %d", seed)
		require.True(t, !repeats || most > 1)
		if most > 1 {
			continue
		}
		alone := newFold(100)
		for _, e := range events {
			alone.add(hashOf(e.key), e.image(), e.key == 4, e.version, e.came)
		}
		alone.once()
		for i := range f.keys {
			require.Equal(t, f.keys[i].verdict, alone.keys[i].verdict, "where no key repeats, the feed alone says the same")
		}
	}
}

// TestAFoldTellsARowOnce names a row several times: the last one that came is told, once.
func TestAFoldTellsARowOnce(t *testing.T) {
	f := newFold(10)
	e := event{key: 1, value: 1}
	for version, came := range []bool{true, false, true, false, true} {
		f.add(hashOf(1), e.image(), false, int64(version), came)
	}
	f.add(hashOf(2), event{key: 2}.image(), false, 1, false)
	f.once()
	last, repeats := f.versions()
	require.Equal(t, map[int64]bool{4: true}, last)
	require.False(t, repeats)
	require.False(t, f.tell(hashOf(1), e.image(), 2))
	require.True(t, f.tell(hashOf(1), e.image(), 4))
	require.False(t, f.tell(hashOf(1), e.image(), 4))
	require.False(t, f.tell(hashOf(9), e.image(), 4), "nobody named it")
	require.True(t, f.tellGone(hashOf(2)))
	require.False(t, f.tellGone(hashOf(2)))
	require.False(t, f.tellGone(hashOf(1)))
}

// TestAFoldIsContradicted has feeds that cannot be of the rows that the state has.
func TestAFoldIsContradicted(t *testing.T) {
	for name, c := range map[string]struct {
		events []event
		state  rowsBy
	}{
		"it came and is not there":              {[]event{{key: 1, came: true}}, rowsBy{}},
		"it was exchanged and is not there":     {[]event{{key: 1, came: true}, {key: 1, value: 1}}, rowsBy{}},
		"it came twice and is there once":       {[]event{{key: 1, came: true}, {key: 1, came: true}}, rowsBy{1: {0: 1}}},
		"two came and one went, and one stands": {[]event{{key: 1, came: true}, {key: 1, value: 1, came: true}, {key: 1, value: 2}}, rowsBy{1: {0: 1}}},
		"it came and another one stands twice":  {[]event{{key: 1, came: true}}, rowsBy{1: {1: 2}}},
	} {
		f := newFold(10)
		for _, e := range c.events {
			f.add(hashOf(e.key), e.image(), false, 1, e.came)
		}
		counted(f, c.state)
		_, ok := f.repeating()
		if ok {
			_, _, ok = f.judge()
		}
		require.False(t, ok, name)
	}
}

// TestAFoldIsBounded holds what is named to its room, and that to so many bytes.
func TestAFoldIsBounded(t *testing.T) {
	f := newFold(3)
	for i := range uint64(3) {
		require.True(t, f.add(hashOf(i), hashOf(i+10), false, 1, true))
	}
	require.False(t, f.add(hashOf(3), hashOf(13), false, 1, true), "a key more")
	require.False(t, f.add(hashOf(0), hashOf(20), false, 1, true), "an image more")
	require.True(t, f.add(hashOf(0), hashOf(10), false, 2, false), "what is known has its place")

	const n = 200_000
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	f = newFold(n)
	for i := range uint64(n) {
		require.True(t, f.add(hashOf(i*0x9e3779b97f4a7c15), hashOf(i*0x9e3779b97f4a7c15+1), false, 1, true))
	}
	per := (heap() - before) / (2 * n)
	runtime.KeepAlive(f)
	require.Less(t, per, int64(100), "bytes for each key and each image")
	t.Logf("%d bytes for each key and each image", per)
}
