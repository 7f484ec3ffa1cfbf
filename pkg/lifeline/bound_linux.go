package lifeline

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bound lets the kernel end a connection whose bytes stay unacknowledged for Silence.
func bound(network, _ string, c syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(Silence.Milliseconds())) //nolint:gosec // descriptors are small
	}); cerr != nil {
		return cerr //nolint:wrapcheck // the dialer says what it was doing
	}
	return err //nolint:wrapcheck // the dialer says what it was doing
}
