//go:build unix

package pebble

import "syscall"

// allocate answers n bytes of zeros outside of Go's heap, so that they do not make the collector let garbage grow; release
// frees them. Where the system gives none, they are in the heap.
func allocate(n int) (b []byte, release func()) {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n), func() {}
	}
	hugePages(b)
	return b, func() { _ = syscall.Munmap(b) } //nolint:errcheck // it was mapped above
}
