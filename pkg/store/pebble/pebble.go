// Package pebble keeps the platform's data in a Pebble database: a folder that one process holds.
//
// A batch is looked up in sorted order, behind a filter in memory that knows which keys can not be there and a memory of
// what identities are bound to, and written as one synced Pebble batch. Commits take turns only for the moment in which a batch is let in, and enter the database side
// by side; two that want the same thing are told apart by what recent commits have touched, and the loser is told to look
// again. What raises a fence, merges profiles or takes something away enters alone. Contributions to profiles are merge
// operands, folded by Pebble.
package pebble

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/store"
)

var _ store.Store = (*Store)(nil)

// Options are what an operator sets; zero values stand for the defaults.
type Options struct {
	// Cache bounds the memory of blocks and memtables together, in bytes. Default 256 MiB.
	Cache int64
	// MemTable is the size of one memtable, in bytes; there are at most two. Default 96 MiB.
	MemTable int64
	// Filter is the memory of the filter of absent keys, in bytes; it does not grow. Default 160 MiB.
	Filter int64
	// Bindings is the memory of what identities are bound to, in bytes; it does not grow. Default 32 MiB, half a million of
	// them.
	Bindings int64
	// MinFree is how many bytes of the disk must stay free: below, commits answer Unavailable. Default 512 MiB.
	MinFree uint64
	// FS is the file system; default the operating system's. With one in memory, a store lives as long as that.
	FS vfs.FS
	// Log gets what Pebble says, at level debug. Default slog's own.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	const mib = 1 << 20
	if o.Cache <= 0 {
		o.Cache = 256 * mib
	}
	if o.MemTable <= 0 {
		o.MemTable = 96 * mib
	}
	if o.Filter <= 0 {
		o.Filter = 160 * mib
	}
	if o.Bindings <= 0 {
		o.Bindings = 32 * mib
	}
	if o.MinFree == 0 {
		o.MinFree = 512 * mib
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Store is a platform store in a folder. Safe for concurrent use.
type Store struct {
	db   *pebble.DB
	fs   vfs.FS
	dir  string
	free uint64 // Options.MinFree
	lock *pebble.Lock
	dict *dictionary

	types   sync.Mutex // of DefineTypes
	scratch sync.Mutex // of Note and Drop
	keeping sync.Mutex // of Expire and Erase, which both remove kept rows

	filter   *filter
	bindings *bindings
	stop     context.CancelFunc
	work     sync.WaitGroup // what goes on in the background

	written atomic.Uint64

	closed atomic.Bool
	broken atomic.Pointer[fault.Error] // set when the database can not be believed any more

	// What enters the database is let in under mu, one after the other; see turns.
	mu       sync.Mutex
	turns    turns
	recent   recent
	fenceSeq uint64 // of the last fence that was raised
}

// Open opens the store in dir, which it makes where it is missing. Unavailable when another process holds it or the disk
// can not be written.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.FS.MkdirAll(dir, 0o750); err != nil {
		return nil, unavailable("open", err)
	}
	lock, err := pebble.LockDirectory(dir, o.FS)
	if err != nil {
		return nil, &fault.Error{
			Class: fault.Unavailable, Reason: fault.ReasonStoreUnavailable, Err: err,
			Message: fmt.Sprintf("store: %s is held by another process, or can not be written; end that process or choose another folder", dir),
		}
	}
	s := &Store{fs: o.FS, dir: dir, free: o.MinFree, lock: lock}
	if err := s.open(ctx, o); err != nil {
		if s.db != nil {
			_ = s.db.Close() //nolint:errcheck // the fault that stopped Open is the one to tell
		}
		_ = lock.Close() //nolint:errcheck // as above
		return nil, err
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) error {
	cache := pebble.NewCache(o.Cache)
	defer cache.Unref()
	opts := &pebble.Options{
		FS: o.FS, Lock: s.lock, Cache: cache, Merger: merger(), Logger: logger{o.Log},
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                uint64(o.MemTable), //nolint:gosec // positive
		MemTableStopWritesThreshold: 2,
		L0CompactionThreshold:       64, // as many bytes as the base level has go down at once: each is written seldom
		L0CompactionFileThreshold:   2000,
		L0StopWritesThreshold:       256,
		LBaseMaxBytes:               16 << 30,
		MaxOpenFiles:                1000,
		BytesPerSync:                1 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		DisableTableStats:           true,
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].BlockSize = 16 << 10
	}
	// A look-up that the filter let through reads the filter block of a file in each run: small files have small ones.
	opts.TargetFileSizes[0], opts.FlushSplitBytes = 4<<20, 32<<20
	for i := 1; i < len(opts.TargetFileSizes); i++ {
		opts.TargetFileSizes[i] = 16 << 20
	}
	var err error
	if s.db, err = pebble.Open(s.dir, opts); err != nil {
		return unavailable("open", err)
	}
	if err := s.checkFormat(); err != nil {
		return err
	}
	if s.dict, err = readDictionary(s.db); err != nil {
		return err
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.openFilter(ctx, o.Filter); err != nil {
		s.stop()
		return err
	}
	s.bindings = newBindings(o.Bindings)
	s.work.Go(func() { s.settling(ctx) })
	return nil
}

// Close ends the work in the background and closes the database. A filter that is whole is kept for the next Open.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.stop()
	s.work.Wait()
	if s.broken.Load() == nil {
		s.keepFilter()
	}
	s.filter.free()
	s.bindings.free()
	err := s.db.Close()
	if lerr := s.lock.Close(); err == nil {
		err = lerr
	}
	if err != nil {
		return unavailable("close", err)
	}
	return nil
}

// Written answers how many bytes batches have put into the database since Open, before compaction.
func (s *Store) Written() uint64 { return s.written.Load() }

// Ready answers why the store must be opened again before it can be used, nil where it need not. A disk without room for
// commits is no such reason: they go on by themselves.
func (s *Store) Ready() error {
	if b := s.broken.Load(); b != nil {
		return b
	}
	return nil
}

// usable answers why the store can not be used, nil where it can.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.As(context.Cause(ctx))
	}
	if s.closed.Load() {
		return fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "store: it is closed; open it again")
	}
	if b := s.broken.Load(); b != nil {
		return b
	}
	return nil
}
