//go:build unix && !linux

package pebble

// hugePages does nothing where large pages are not asked for.
func hugePages([]byte) {}
