package pebble_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/pebble"
)

func scope() profile.Scope {
	return profile.Scope{Workspace: id.DefaultWorkspace, Environment: resource.Prod}
}

// people answers rows of people from..to, one identity each.
func people(from, to int) record.Batch {
	var rows []recordtest.Row
	for i := from; i < to; i++ {
		who := fmt.Sprint("c", i)
		rows = append(rows, recordtest.Row{
			Key: who, Time: time.Unix(1_700_000_000, 0), Identities: map[string]string{"customer_id": who},
			Attributes: map[string]any{"n": i, "text": fmt.Sprint("some text of ", i)},
		})
	}
	return recordtest.Batch(record.Users, rows, recordtest.Options{})
}

func ingest(t *testing.T, s *pebble.Store, b record.Batch, seq int) (store.Outcome, error) {
	t.Helper()
	o := benchOrigin(1, seq)
	o.Rows = b.Record.NumRows()
	k := profile.KeysOf(b, o, scope(), profile.Rules{})
	st, err := s.Look(t.Context(), k)
	if err != nil {
		return store.Outcome{}, err
	}
	return s.Commit(t.Context(), profile.Decide(b, k, st, profile.Rules{}))
}

func created(t *testing.T, s *pebble.Store, b record.Batch, seq int) int64 {
	t.Helper()
	out, err := ingest(t, s, b, seq)
	require.NoError(t, err)
	return out.Result.Counts.Created
}

func open(t *testing.T, dir string, o pebble.Options) *pebble.Store {
	t.Helper()
	s, err := pebble.Open(t.Context(), dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// TestCrash loses everything that was not synced, as a power cut would: what was answered is there, and no key that is
// there is taken for absent.
func TestCrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, "store", small(fs))
	const batches, size = 12, 200
	for n := range batches {
		require.EqualValues(t, size, created(t, s, people(n*size, (n+1)*size), n))
		crashed := fs.CrashClone(vfs.CrashCloneCfg{})
		after := open(t, "store", small(crashed))
		for m := range n + 1 {
			require.Zero(t, created(t, after, people(m*size, (m+1)*size), 1000+m), "batch %d after a crash behind batch %d", m, n)
		}
		_, totals, err := store.Digest(t.Context(), after, "")
		require.NoError(t, err)
		require.Equal(t, store.Totals{Profiles: int64(n+1) * size, Identities: int64(n+1) * size}, totals)
	}
}

// TestFilterKept: Close leaves the filter to the next Open, which believes it once.
func TestFilterKept(t *testing.T) {
	fs := vfs.NewMem()
	o := small(fs)
	o.Filter = 64
	s := open(t, "store", o)
	require.EqualValues(t, 5000, created(t, s, people(0, 5000), 0))
	require.NoError(t, s.Close())
	_, err := fs.Stat("store/filter-3")
	require.NoError(t, err, "the database is larger than the filter")

	s = open(t, "store", o)
	_, err = fs.Stat("store/filter-3")
	require.ErrorIs(t, err, os.ErrNotExist, "before anything is committed")
	require.EqualValues(t, 100, created(t, s, people(4900, 5100), 1))
	require.NoError(t, s.Close())

	for _, spoil := range []func(b []byte) []byte{
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { b[3] ^= 1; return b },
		func(b []byte) []byte { return append(b, 0) },
	} {
		b := readFile(t, fs, "store/filter-3")
		writeFile(t, fs, "store/filter-3", spoil(b))
		s = open(t, "store", o)
		require.Zero(t, created(t, s, people(0, 5100), 2), "a spoiled filter is not believed")
		require.Eventually(t, s.Whole, time.Minute, time.Millisecond, "only a whole filter is left to the next Open")
		require.NoError(t, s.Close())
	}
	o.Filter = 128
	s = open(t, "store", o)
	require.Zero(t, created(t, s, people(0, 5100), 3), "nor is one of another size")
}

// TestAFilterMadeAnewKnowsOfMoreThanRows: a scan meets batches, fences and hash lists too.
func TestAFilterMadeAnewKnowsOfMoreThanRows(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, "store", small(fs))
	require.EqualValues(t, 10, created(t, s, people(0, 10), 0))
	o := benchOrigin(2, 0)
	_, err := s.Fence(t.Context(), id.Part{Run: o.Batch.Run, Part: o.Batch.Part}, o.Batch.Epoch+1)
	require.NoError(t, err)
	require.NoError(t, s.Erase(t.Context(), profile.Erasing{
		Erasure: profile.Erasure{ID: profile.ErasureID{1}, Scope: scope(), Revision: 1, Type: "email"},
		Block:   []profile.Blocked{{Hash: profile.Hash{1}, Tag: 1}},
	}))
	require.NoError(t, s.Close())
	_, err = fs.Stat("store/filter-3")
	require.ErrorIs(t, err, os.ErrNotExist, "a small database leaves none")

	s = open(t, "store", small(fs))
	require.Eventually(t, s.Whole, time.Minute, time.Millisecond)
	out, err := ingest(t, s, people(0, 10), 0)
	require.NoError(t, err)
	require.True(t, out.Repeated)
	k := profile.KeysOf(people(0, 10), o, scope(), profile.Rules{})
	st, err := s.Look(t.Context(), k)
	require.NoError(t, err)
	require.True(t, st.Fenced)
	k = profile.KeysOf(people(0, 10), benchOrigin(3, 0), scope(), profile.Rules{})
	st, err = s.Look(t.Context(), k)
	require.NoError(t, err)
	require.EqualValues(t, 1, st.Blocked)
}

func readFile(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	require.NoError(t, err)
	st, err := f.Stat()
	require.NoError(t, err)
	b := make([]byte, st.Size())
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return b
}

func writeFile(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(b)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestLockedFolder(t *testing.T) {
	for name, o := range map[string]pebble.Options{"disk": {}, "memory": {FS: vfs.NewMem()}} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if o.FS != nil {
				dir = "store"
			}
			s := open(t, dir, o)
			_, err := pebble.Open(t.Context(), dir, o)
			require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
			require.Equal(t, fault.ReasonStoreUnavailable, fault.ReasonOf(err))
			require.ErrorContains(t, err, "held by another process")
			require.NoError(t, s.Close())
			open(t, dir, o)
		})
	}
}

func TestFolderThatCanNotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := pebble.Open(t.Context(), filepath.Join(file, "store"), pebble.Options{})
	require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
}

// fillingFS is a disk whose free space a test sets, and whose writes fail when told.
type fillingFS struct {
	vfs.FS
	free uint64
}

func (f *fillingFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.free, TotalBytes: 1 << 40}, nil
}

func TestFullDisk(t *testing.T) {
	fs := &fillingFS{FS: vfs.NewMem(), free: 1 << 30}
	s := open(t, "store", pebble.Options{FS: fs})
	require.EqualValues(t, 10, created(t, s, people(0, 10), 0))
	fs.free = 1 << 20
	_, err := ingest(t, s, people(10, 20), 1)
	require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
	require.Equal(t, fault.ReasonStoreUnavailable, fault.ReasonOf(err))
	require.ErrorContains(t, err, "disk is full")
	p, err := s.Resolve(t.Context(), scope(), "customer_id", "c15")
	require.NoError(t, err, "reading goes on")
	require.Zero(t, p)
	fs.free = 1 << 30
	require.EqualValues(t, 10, created(t, s, people(10, 20), 1), "and so does writing, when there is room again")
}

// brokenWAL fails to write the log when told.
type brokenWAL struct {
	vfs.FS
	broken *error
}

func (f brokenWAL) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err != nil || filepath.Ext(name) != ".log" {
		return file, err
	}
	return brokenFile{file, f.broken}, nil
}

type brokenFile struct {
	vfs.File
	broken *error
}

func (f brokenFile) Write(b []byte) (int, error) {
	if *f.broken != nil {
		return 0, *f.broken
	}
	return f.File.Write(b)
}

// TestBrokenLog: a commit whose log could not be written is not answered, and nothing is believed until the store is
// opened again.
func TestBrokenLog(t *testing.T) {
	mem := vfs.NewMem()
	var broken error
	s, err := pebble.Open(t.Context(), "store", pebble.Options{FS: brokenWAL{mem, &broken}, MinFree: 1})
	require.NoError(t, err)
	require.EqualValues(t, 10, created(t, s, people(0, 10), 0))
	require.NoError(t, s.Ready())
	broken = &os.PathError{Op: "write", Path: "wal", Err: syscall.ENOSPC}
	_, err = ingest(t, s, people(10, 20), 1)
	require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "disk is full")
	require.ErrorIs(t, err, syscall.ENOSPC)
	_, err = s.Resolve(t.Context(), scope(), "customer_id", "c15")
	require.Equal(t, fault.Unavailable, fault.ClassOf(err), "what is in memory is not on disk: %v", err)
	require.Equal(t, fault.ReasonStoreUnavailable, fault.ReasonOf(s.Ready()), "the process is to be started again")
	broken = nil
	_ = s.Close()

	s = open(t, "store", pebble.Options{FS: mem})
	require.EqualValues(t, 10, created(t, s, people(0, 20), 2), "nothing was lost and nothing doubled")
}

func TestTheLayoutBeforeIsTakenOver(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, "store", small(fs))
	require.EqualValues(t, 10, created(t, s, people(0, 10), 0))
	require.NoError(t, s.SetFormat("1"))
	require.NoError(t, s.Close())
	writeFile(t, fs, "store/filter-2", []byte("of another version"))
	writeFile(t, fs, "store/filter-3", []byte("of before another version"))

	for range 2 {
		s = open(t, "store", small(fs))
		for _, name := range []string{"store/filter-2", "store/filter-3"} {
			_, err := fs.Stat(name)
			require.ErrorIs(t, err, os.ErrNotExist)
		}
		require.Zero(t, created(t, s, people(0, 10), 1))
		require.NoError(t, s.Close())
	}
}

func TestOtherLayout(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, "store", small(fs))
	require.NoError(t, s.SetFormat("0"))
	require.NoError(t, s.Close())
	_, err := pebble.Open(t.Context(), "store", small(fs))
	require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
}
