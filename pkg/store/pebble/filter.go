package pebble

import (
	"context"
	"encoding/binary"
	"io"
	"math/bits"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// filter knows of keys that they can not be in the database: row-index entries, identities and profiles. It takes a fixed
// amount of memory; the fuller it is, the more often it does not know. It is believed only when every key was added:
// when the database was empty at Open, when the last Close left it, or when a scan has added what there was.
type filter struct {
	words   []uint64 // four bits of one word a key
	release func()
	whole   atomic.Bool
}

func newFilter(size int64) *filter {
	n := max(int(size)/8, 1)
	b, release := allocate(8 * n)
	return &filter{words: unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), n), release: release} //nolint:gosec // mapped and made memory is aligned to words
}

func (f *filter) free() {
	f.words = nil
	f.release()
}

func (f *filter) at(h uint64) (word *uint64, mask uint64) {
	i, _ := bits.Mul64(h, uint64(len(f.words)))
	return &f.words[i], 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63) | 1<<(h>>18&63)
}

func (f *filter) add(h uint64) {
	word, mask := f.at(h)
	if atomic.LoadUint64(word)&mask != mask {
		atomic.OrUint64(word, mask)
	}
}

// ahead is how many words are asked for before the first of them is needed: memory answers them side by side.
const ahead = 64

// touch asks for the words of some hashes.
func (f *filter) touch(hs []uint64) {
	for _, h := range hs {
		word, _ := f.at(h)
		_ = atomic.LoadUint64(word)
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
			if h == 0 {
				continue
			}
			if word, mask := f.at(h); !whole || atomic.LoadUint64(word)&mask == mask {
				found(from + j)
			}
		}
	}
}

// Hashes of keys, for the filter and for telling commits apart. None is 0, which stands for no key.

func rowHash(sync uint32, k []byte) uint64 {
	return some | (binary.LittleEndian.Uint64(k)^uint64(sync))*0x9e3779b97f4a7c15
}

// identityHash is of the first choice of a profile id that the identity has.
func identityHash(derived id.Profile) uint64 { return some | uint64(derived)*0xc2b2ae3d27d4eb4f }

func profileHash(scope uint32, p id.Profile) uint64 {
	return some | (uint64(p)^uint64(scope))*0x165667b19e3779f9
}

// some is a bit of every hash, one that neither the filter nor touched looks at.
const some = 1 << 24

const filterFile = "filter"

// openFilter makes the filter, from what Close left or by a scan in the background, which ends with ctx of the store.
func (s *Store) openFilter(ctx context.Context, size int64) error {
	s.filter = newFilter(size)
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if s.takeFilter() {
		s.filter.whole.Store(true)
		return nil
	}
	empty, err := s.empty()
	if err != nil {
		s.stop()
		s.filter.free()
		return err
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

func (s *Store) empty() (bool, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindIdentity}, UpperBound: []byte{kindRow + 1}})
	if err != nil {
		return false, unavailable("open", err)
	}
	some := it.First()
	if err := it.Close(); err != nil {
		return false, unavailable("open", err)
	}
	return !some, nil
}

// scan adds all keys. A profile is bound to an identity or is among those that lost theirs, so that profiles need no scan
// of their own. False: it did not come to its end.
func (s *Store) scan(ctx context.Context) bool {
	return s.scanKind(ctx, kindShaped, func(k, _ []byte) {
		if len(k) == profileKeyLen {
			s.filter.add(profileHash(binary.BigEndian.Uint32(k[1:]), id.Profile(binary.BigEndian.Uint64(k[5:]))))
		}
	}) && s.scanKind(ctx, kindRow, func(k, _ []byte) {
		if len(k) == rowKeyLen {
			s.filter.add(rowHash(binary.BigEndian.Uint32(k[1:]), k[5:]))
		}
	}) && s.scanKind(ctx, kindIdentity, func(k, v []byte) {
		i, scope, ok := s.dict.readIdentity(k, v)
		if !ok {
			return
		}
		s.filter.add(identityHash(profile.Derive(i.Scope, i.Identity.Type, i.Identity.Value, 0)))
		s.filter.add(profileHash(scope, i.Identity.Profile))
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
// once, by the Open that follows its Close.
func (s *Store) takeFilter() bool {
	f, err := s.fs.Open(s.filterPath())
	if err != nil {
		return false
	}
	b := s.filter.bytes()
	var sum [9]byte
	_, rerr := io.ReadFull(f, b)
	n, herr := io.ReadFull(f, sum[:]) // one byte more than there should be
	good := rerr == nil && n == 8 && herr != nil && binary.BigEndian.Uint64(sum[:]) == xxh3.Hash(b)
	if f.Close() != nil {
		good = false
	}
	if s.fs.Remove(s.filterPath()) != nil || !s.syncDir() {
		good = false
	}
	if !good {
		clear(s.filter.words)
	}
	return good
}

func (s *Store) syncDir() bool {
	d, err := s.fs.OpenDir(s.dir)
	if err != nil {
		return false
	}
	serr := d.Sync()
	return d.Close() == nil && serr == nil
}
