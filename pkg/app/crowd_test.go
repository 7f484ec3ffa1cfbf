package app

import (
	"bytes"
	"log/slog"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConnectionsBeyondTheBoundAreTurnedAway(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	var log bytes.Buffer
	c := &crowd{Listener: l, most: 2, log: slog.New(slog.NewTextHandler(&log, nil))}
	call := func() net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	call()
	first, err := c.Accept()
	require.NoError(t, err)
	call()
	second, err := c.Accept()
	require.NoError(t, err)

	accepted := make(chan net.Conn)
	go func() {
		conn, err := c.Accept()
		if err == nil {
			accepted <- conn
		}
		close(accepted)
	}()
	_, err = call().Read(make([]byte, 1))
	require.Error(t, err, "there is no room for a third")
	require.NoError(t, first.Close())
	require.Error(t, first.Close(), "it is closed already, and makes no more room")
	call()
	third := <-accepted
	require.NotNil(t, third)
	require.Contains(t, log.String(), "raise the limit")
	require.NoError(t, second.Close())
	require.NoError(t, third.Close())
}
