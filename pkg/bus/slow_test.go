package bus

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/testenv"
)

// A line on which a full window takes longer than the first try of a publish may, is slow and no more: tries wait longer,
// so that copies of what is on its way do not fill it for ever.
func TestALineThatIsSlowerThanATryIsWaitedFor(t *testing.T) {
	s := testenv.NATSServer(t)
	b, err := Open(t.Context(), Settings{URL: "nats://" + slowLine(t, strings.TrimPrefix(s.URL, "nats://"), 256<<10), MaxBytes: 64 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	b.firstTry = 100 * time.Millisecond // the window takes half a second
	const window = 8
	p := b.Publisher(Rows, window)
	for i := range 2 * window {
		require.NoError(t, p.Publish(t.Context(), Message{ID: fmt.Sprint(i), Body: make([]byte, 16<<10)}, nil))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, p.Flush(ctx))
	stream, err := b.js.Stream(t.Context(), string(Rows))
	require.NoError(t, err)
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2*window, info.State.Msgs)
}

// slowLine passes connections on to an address at so many bytes a second towards it, and answers where.
func slowLine(t *testing.T, to string, rate int) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var g errgroup.Group
	t.Cleanup(func() {
		_ = l.Close()
		_ = g.Wait() // ends with its connections
	})
	g.Go(func() error {
		for {
			in, err := l.Accept()
			if err != nil {
				return err //nolint:wrapcheck // the end
			}
			out, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", to)
			if err != nil {
				return err //nolint:wrapcheck // a broken test
			}
			end := func() { _, _ = in.Close(), out.Close() }
			g.Go(func() error { defer end(); return drip(t.Context(), out, in, rate) })
			g.Go(func() error { defer end(); _, err := io.Copy(in, out); return err })
		}
	})
	return l.Addr().String()
}

// drip copies at so many bytes a second.
func drip(ctx context.Context, to io.Writer, from io.Reader, rate int) error {
	const beats = 50 // a second
	t := time.NewTicker(time.Second / beats)
	defer t.Stop()
	buf := make([]byte, rate/beats)
	for {
		n, err := from.Read(buf)
		if err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			return err //nolint:wrapcheck // the end
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // the end
		}
	}
}
