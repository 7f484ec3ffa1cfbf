package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// filter knows of keys that they can not be in the database: row-index entries, identities, profiles, batches, fences and
// hash lists. It takes a fixed
// amount of memory; the fuller it is, the more often it does not know. It is believed only when every key was added:
// when the database was empty at Open, when the last Close left it, or when a scan has added what there was.
type filter struct {
	words   []uint64 // whole lines; six bits a key
	release func()
	whole   atomic.Bool
}

// lineWords is how many words memory fetches at once.
const lineWords = 8

func newFilter(size int64) *filter {
	n := max(int(size)/8/lineWords, 1) * lineWords
	b, release := allocate(8 * n)
	return &filter{words: unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), n), release: release} //nolint:gosec // mapped and made memory is aligned to words
}

func (f *filter) free() {
	f.words = nil
	f.release()
}

// place is where the bits of a key are: in two words of one line of memory, which is fetched once.
type place struct {
	one, two         *uint64
	maskOne, maskTwo uint64
}

func (f *filter) at(h uint64) place {
	line, _ := bits.Mul64(h, uint64(len(f.words)/lineWords))
	one := h >> 37 % lineWords
	two := (one + 1 + h>>40%(lineWords-1)) % lineWords
	words := f.words[lineWords*line:][:lineWords]
	return place{
		one: &words[one], maskOne: 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63),
		two: &words[two], maskTwo: 1<<(h>>18&63) | 1<<(h>>25&63) | 1<<(h>>31&63),
	}
}

func (f *filter) add(h uint64) {
	p := f.at(h)
	if atomic.LoadUint64(p.one)&p.maskOne != p.maskOne {
		atomic.OrUint64(p.one, p.maskOne)
	}
	if atomic.LoadUint64(p.two)&p.maskTwo != p.maskTwo {
		atomic.OrUint64(p.two, p.maskTwo)
	}
}

func (f *filter) has(h uint64) bool {
	p := f.at(h)
	return atomic.LoadUint64(p.one)&p.maskOne == p.maskOne && atomic.LoadUint64(p.two)&p.maskTwo == p.maskTwo
}

// may says whether a key may be in the database.
func (f *filter) may(h uint64) bool { return !f.whole.Load() || f.has(h) }

// ahead is how many lines are asked for before the first of them is needed: memory answers them side by side.
const ahead = 64

// touch asks for the lines of some hashes.
func (f *filter) touch(hs []uint64) {
	for _, h := range hs {
		_ = atomic.LoadUint64(f.at(h).one)
	}
}

// addAll adds hashes; 0 is none.
func (f *filter) addAll(hs []uint64) {
	for near := range slices.Chunk(hs, ahead) {
		f.touch(near)
		for _, h := range near {
			if h != 0 {
				f.add(h)
			}
		}
	}
}

// present calls found for the positions in hs of hashes that may be in the database; 0 is none.
func (f *filter) present(hs []uint64, found func(i int)) {
	whole := f.whole.Load()
	for from := 0; from < len(hs); from += ahead {
		near := hs[from:min(from+ahead, len(hs))]
		f.touch(near)
		for j, h := range near {
			if h != 0 && (!whole || f.has(h)) {
				found(from + j)
			}
		}
	}
}

// Hashes of keys, for the filter and for telling commits apart. None is 0, which stands for no key.

func rowHash(sync uint32, k []byte) uint64 {
	return some | (binary.LittleEndian.Uint64(k)^uint64(sync))*0x9e3779b97f4a7c15
}

// profileHash is of a profile and of the identity that its id is derived from alike: most profiles have both, and their
// filter holds half as much. An id is derived with its scope, so that the scope is not in the hash again.
func profileHash(p id.Profile) uint64 { return some | uint64(p)*0xc2b2ae3d27d4eb4f }

// batchHash is of a batch with all its fragments.
func batchHash(b id.Batch) uint64 {
	return some | xxh3.Hash(batchKey(make([]byte, 0, batchKeyLen), kindBatch, b)[:batchKeyLen-4])
}

// fenceHash is of the fences of a run.
func fenceHash(r id.Run) uint64 { return some | xxh3.HashSeed(r[:], kindFence) }

// blockedHash is of what must not come back to a scope.
func blockedHash(scope uint32) uint64 {
	return some | xxh3.HashSeed(binary.BigEndian.AppendUint32(nil, scope), kindBlocked)
}

// some is a bit of every hash, one that neither the filter nor touched looks at.
const some = 1 << 24

// filterFile has the number of the hashes in its name: what was kept by others is of no use. A filter of another number
// comes with another format, so that only who knows of it commits behind it.
const (
	filterFile   = "filter-3"
	filterPrefix = "filter"
)

// dropOtherFilters removes, durably, what versions of another format have left.
func (s *Store) dropOtherFilters() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return unavailable("open", err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, filterPrefix) {
			if err := s.fs.Remove(s.fs.PathJoin(s.dir, name)); err != nil {
				return unavailable("open", err)
			}
		}
	}
	return s.syncDir()
}

// openFilter makes the filter, from what Close left or by a scan in the background, which ends with ctx of the store.
func (s *Store) openFilter(ctx context.Context, size int64) error {
	s.filter = newFilter(size)
	taken, err := s.takeFilter()
	empty := false
	if err == nil && !taken {
		empty, err = s.empty()
	}
	if err != nil {
		s.filter.free()
		return err
	}
	if taken {
		s.filter.whole.Store(true)
		return nil
	}
	if empty {
		s.filter.whole.Store(true)
		return nil
	}
	// Commits add their keys before the scan's iterators are opened, or are met by them.
	s.work.Go(func() {
		if s.scan(ctx) {
			s.filter.whole.Store(true)
		}
	})
	return nil
}

// empty says whether the database has no key that the filter would have to know.
func (s *Store) empty() (bool, error) {
	for _, kind := range []byte{kindRow, kindIdentity, kindShaped, kindBatch, kindFence, kindBlocked} {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
		if err != nil {
			return false, unavailable("open", err)
		}
		some := it.First()
		if err := it.Close(); err != nil {
			return false, unavailable("open", err)
		}
		if some {
			return false, nil
		}
	}
	return true, nil
}

// scan adds all keys. A profile is bound to an identity or is among those that lost theirs, so that profiles need no scan
// of their own. False: it did not come to its end.
func (s *Store) scan(ctx context.Context) bool {
	return s.scanKind(ctx, kindShaped, func(k, _ []byte) {
		if len(k) == profileKeyLen {
			s.filter.add(profileHash(id.Profile(binary.BigEndian.Uint64(k[5:]))))
		}
	}) && s.scanKind(ctx, kindRow, func(k, _ []byte) {
		if len(k) == rowKeyLen {
			s.filter.add(rowHash(binary.BigEndian.Uint32(k[1:]), k[5:]))
		}
	}) && s.scanKind(ctx, kindBatch, func(k, _ []byte) {
		if len(k) == batchKeyLen {
			s.filter.add(some | xxh3.Hash(k[:batchKeyLen-4]))
		}
	}) && s.scanKind(ctx, kindFence, func(k, _ []byte) {
		if len(k) == partKeyLen {
			s.filter.add(fenceHash(id.Run(k[1:17])))
		}
	}) && s.scanKind(ctx, kindBlocked, func(k, _ []byte) {
		if len(k) == 5 {
			s.filter.add(blockedHash(binary.BigEndian.Uint32(k[1:])))
		}
	}) && s.scanKind(ctx, kindIdentity, func(k, v []byte) {
		i, ok := s.dict.readIdentity(k, v)
		if !ok {
			return
		}
		s.filter.add(profileHash(profile.Derive(i.Scope, i.Identity.Type, i.Identity.Value, 0)))
		s.filter.add(profileHash(i.Identity.Profile))
	})
}

func (s *Store) scanKind(ctx context.Context, kind byte, add func(k, v []byte)) bool {
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
	if err != nil {
		return false
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			break
		}
		add(it.Key(), it.Value())
	}
	return it.Close() == nil && ctx.Err() == nil
}

func (s *Store) filterPath() string { return s.fs.PathJoin(s.dir, filterFile) }

func (f *filter) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f.words))), 8*len(f.words)) //nolint:gosec // the same memory as bytes
}

// keepFilter writes the filter down, best effort: without it the next Open scans, which is as good for a database that is
// not much larger than the filter. It is followed by its hash, and nothing enters the database between it and the end of
// Close.
func (s *Store) keepFilter() {
	if !s.filter.whole.Load() || s.db.Metrics().DiskSpaceUsage() < uint64(4*8*len(s.filter.words)) { //nolint:gosec // not negative
		return
	}
	f, err := s.fs.Create(s.filterPath(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return
	}
	b := s.filter.bytes()
	sum := xxh3.Hash(b) // before a file system has the bytes in hand
	_, werr := f.Write(b)
	_, herr := f.Write(binary.BigEndian.AppendUint64(nil, sum))
	serr := f.Sync()
	if cerr := f.Close(); werr != nil || herr != nil || serr != nil || cerr != nil {
		_ = s.fs.Remove(s.filterPath()) //nolint:errcheck // a torn file has a wrong hash
	}
}

// takeFilter reads what keepFilter wrote and removes it, durably, before anything is committed: a filter is believed
// once, by the Open that follows its Close. False: there is none, or it is damaged.
func (s *Store) takeFilter() (bool, error) {
	f, err := s.fs.Open(s.filterPath())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, unavailable("open", err)
	}
	b := s.filter.bytes()
	var sum [9]byte
	_, rerr := io.ReadFull(f, b)
	n, herr := io.ReadFull(f, sum[:]) // one byte more than there should be
	good := rerr == nil && n == 8 && herr != nil && binary.BigEndian.Uint64(sum[:]) == xxh3.Hash(b)
	if f.Close() != nil {
		good = false
	}
	if !good {
		clear(s.filter.words)
	}
	if err := s.fs.Remove(s.filterPath()); err != nil {
		return false, unavailable("open", err)
	}
	return good, s.syncDir()
}

func (s *Store) syncDir() error {
	d, err := s.fs.OpenDir(s.dir)
	if err != nil {
		return unavailable("open", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return unavailable("open", err)
	}
	return nil
}
