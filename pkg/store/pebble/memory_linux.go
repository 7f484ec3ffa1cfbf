package pebble

import "syscall"

// hugePages asks for large pages under b, whose words are met at random.
func hugePages(b []byte) {
	const huge = 14              // MADV_HUGEPAGE
	_ = syscall.Madvise(b, huge) //nolint:errcheck // small pages do as well, slower
}
