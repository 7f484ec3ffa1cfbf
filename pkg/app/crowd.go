package app

import (
	"log/slog"
	"net"
	"sync"
	"time"

	"millrace.dev/pkg/fault"
)

// crowd is a listener that turns connections away once there are as many as the process can have beside its own files:
// those who call must not keep the store, the broker and the warehouse from opening theirs.
type crowd struct {
	net.Listener
	most int
	log  *slog.Logger

	mu   sync.Mutex
	n    int
	said time.Time
}

// sayEvery is how often it is said that connections are turned away.
const sayEvery = 30 * time.Second

// crowded bounds the connections of l to one part in `share` of the files that the process may have open, where that is
// known.
func crowded(l net.Listener, share int, log *slog.Logger) net.Listener {
	files, ok := openFiles()
	if !ok {
		return l
	}
	return &crowd{Listener: l, most: max(1, files/share), log: log}
}

// Accept answers the next connection that there is room for.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // the server knows it
		}
		if c.enter() {
			return &visitor{Conn: conn, leave: sync.OnceFunc(c.leave)}, nil
		}
		_ = conn.Close() // it is told nothing else
	}
}

func (c *crowd) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n < c.most {
		c.n++
		return true
	}
	if now := time.Now(); now.Sub(c.said) >= sayEvery {
		c.said = now
		c.log.Warn("connections are turned away: there are as many as the files that this process may have open allow; "+
			"raise the limit (ulimit -n), or have fewer callers", "address", c.Addr().String(), "connections", c.n,
			"reason", fault.ReasonLimitExceeded.Word())
	}
	return false
}

func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
}

// visitor is a connection that is counted until it is closed.
type visitor struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (v *visitor) Close() error {
	err := v.Conn.Close()
	v.leave()
	return err //nolint:wrapcheck // the server knows it
}
