//go:build linux || darwin

package app

import "syscall"

// openFiles answers how many files this process may have open; ok is false where there is no bound worth the name.
func openFiles() (n int, ok bool) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil || lim.Cur > 1<<30 {
		return 0, false
	}
	return int(lim.Cur), true
}
