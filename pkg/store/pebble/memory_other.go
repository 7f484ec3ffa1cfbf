//go:build !unix

package pebble

// allocate answers n bytes of zeros; release frees them.
func allocate(n int) (b []byte, release func()) { return make([]byte, n), func() {} }
