package e2e_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// relay stands between a client and a server, and lets through what the test allows. It holds little, so that what it
// stops stops the server, too.
type relay struct {
	addr   string
	target string
	wg     sync.WaitGroup

	mu    sync.Mutex
	moved *sync.Cond // something has changed
	conns map[net.Conn]bool
	down  bool
	ended bool
	left  int64         // bytes to the client until it stops; negative: without end
	cuts  int           // connections to be cut where it stops, instead of holding them
	each  int64         // bytes until each cut
	lag   time.Duration // before each piece
	held  int           // connections that wait
}

const (
	relayPiece = 64 << 10
	relayRoom  = 256 << 10 // more than one segment of loopback, so that nobody waits for a timer
)

// newRelay starts a relay to a server; it ends with t.
func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{addr: l.Addr().String(), target: target, conns: map[net.Conn]bool{}, left: -1}
	r.moved = sync.NewCond(&r.mu)
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // it is over
		r.change(func() { r.ended = true; r.closeAll() })
		r.wg.Wait()
	})
	return r
}

// change changes what the relay lets through.
func (r *relay) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	r.moved.Broadcast()
}

func (r *relay) closeAll() {
	for c := range r.conns {
		_ = c.Close() // so that it ends
	}
}

// stop lets n more bytes through to clients. What comes then is held until open.
func (r *relay) stop(n int64) { r.change(func() { r.left, r.cuts = n, 0 }) }

// cut lets n more bytes through and cuts the connection there, and so again, as often as said.
func (r *relay) cut(n int64, times int) { r.change(func() { r.left, r.cuts, r.each = n, times, n }) }

// open lets everything through.
func (r *relay) open() { r.change(func() { r.left, r.down, r.lag = -1, false, 0 }) }

// slow makes every answer late.
func (r *relay) slow(lag time.Duration) { r.change(func() { r.lag = lag }) }

// shut ends all connections and takes none.
func (r *relay) shut() { r.change(func() { r.down = true; r.closeAll() }) }

// holds says whether a connection waits.
func (r *relay) holds() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held > 0
}

// cutting answers how many connections are still to be cut.
func (r *relay) cutting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cuts
}

func (r *relay) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", r.target) //nolint:noctx // at once
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	_ = server.(*net.TCPConn).SetReadBuffer(relayRoom) //nolint:forcetypeassert // tcp; it holds little
	r.mu.Lock()
	if r.down || r.ended {
		r.mu.Unlock()
		return
	}
	r.conns[client], r.conns[server] = true, true
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() {
		defer func() { _, _ = client.Close(), server.Close() }() // one side is gone
		_, _ = io.Copy(server, client)
	})
	r.answer(client, server)
	_, _ = client.Close(), server.Close()
	both.Wait()
	r.change(func() { delete(r.conns, client); delete(r.conns, server) })
}

// answer moves what the server sends.
func (r *relay) answer(client, server net.Conn) {
	piece := make([]byte, relayPiece)
	for {
		n, err := server.Read(piece)
		if n > 0 {
			if !r.admit(int64(n)) {
				return
			}
			if _, err := client.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// admit waits until n bytes may pass, and says false where the connection is to be cut instead.
func (r *relay) admit(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lag > 0 {
		start := time.Now() // before the timer, so that the wait is over when it rings
		late := time.AfterFunc(r.lag, func() { r.change(func() {}) })
		defer late.Stop()
		for r.lag > 0 && !r.ended && time.Since(start) < r.lag {
			r.moved.Wait()
		}
	}
	if r.left >= 0 && r.left < n && r.cuts > 0 {
		if r.left, r.cuts = r.each, r.cuts-1; r.cuts == 0 {
			r.left = -1
		}
		return false
	}
	r.held++
	for r.left >= 0 && r.left < n && !r.ended {
		r.moved.Wait()
	}
	r.held--
	if r.left >= 0 {
		r.left -= n
	}
	return !r.ended
}

// flush makes a Redis forget what its database 9 has.
func flush(t *testing.T, r *relay) {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", r.target)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	_, err = io.WriteString(c, "SELECT 9\r\nFLUSHDB\r\n")
	require.NoError(t, err)
	answer := make([]byte, len("+OK\r\n+OK\r\n"))
	_, err = io.ReadFull(c, answer)
	require.NoError(t, err)
	require.Equal(t, "+OK\r\n+OK\r\n", string(answer))
}
