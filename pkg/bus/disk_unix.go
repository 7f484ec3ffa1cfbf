//go:build linux || darwin

package bus

import (
	"os"
	"syscall"
)

// freeBytes answers what this process may still write to the file system of dir; ok is false where it can not be told.
func freeBytes(dir string) (n int64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true //nolint:gosec,unconvert // sizes differ by platform and fit
}

// lockFile takes the lock of f, which ends when f is closed.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec,wrapcheck // descriptors are small; the caller says what it means
}
