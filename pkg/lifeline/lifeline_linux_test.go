package lifeline_test

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"millrace.dev/pkg/lifeline"
)

func TestAConnectionIsBoundedBothWhenItSendsAndWhenItRests(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	c, err := lifeline.Dialer().DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	raw, err := c.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	option := func(level, name int) (v int) {
		require.NoError(t, raw.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), level, name) }))
		require.NoError(t, err)
		return v
	}
	require.EqualValues(t, lifeline.Silence.Milliseconds(), option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT))
	require.Equal(t, 1, option(unix.SOL_SOCKET, unix.SO_KEEPALIVE))
	require.Positive(t, option(unix.IPPROTO_TCP, unix.TCP_KEEPCNT))
}

func TestASocketOfTheFileSystemIsLeftAsItIs(t *testing.T) {
	var lc net.ListenConfig
	path := filepath.Join(t.TempDir(), "s")
	l, err := lc.Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	c, err := lifeline.Dialer().DialContext(t.Context(), "unix", path)
	require.NoError(t, err)
	require.NoError(t, c.Close())
}
