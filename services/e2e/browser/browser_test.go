// Package browser_test walks through the console with a Chromium, as a person does: by what buttons, links and fields are
// called, with the mouse or with the keyboard alone. A page is at fault that writes an error to the browser's console, breaks
// its own policy, asks another host for anything, or is answered by a status that the walk does not expect.
package browser_test

import (
	"context"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/testenv"
)

// patience bounds how long a walk waits for one thing to happen.
const patience = time.Minute

// The size of a tab, which is that of its pictures.
const width, height = 1280, 800

func TestMain(m *testing.M) {
	code := m.Run()
	shared.stop()
	os.Exit(code)
}

// browser is a Chromium that the tests of this process share, each in a profile of its own.
type browser struct {
	once sync.Once
	ctx  context.Context
	end  context.CancelFunc
}

var shared browser

// start answers the context of the browser, which lives until stop.
func (b *browser) start(t *testing.T) context.Context {
	t.Helper()
	b.once.Do(func() {
		options := slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
			chromedp.ExecPath(testenv.Chromium(t)), chromedp.WindowSize(width, height), chromedp.DisableGPU,
			chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), // whatever it asks for, it stays on this machine
			chromedp.Flag("no-proxy-server", true),
		})
		if os.Geteuid() == 0 { // who can not have a sandbox
			options = append(options, chromedp.NoSandbox)
		}
		allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(allocator)
		b.end = func() { cancel(); stop() }
		if err := chromedp.Do(ctx); err != nil {
			b.end()
			b.end = nil
			require.NoError(t, err, "start Chromium")
		}
		b.ctx = ctx
	})
	require.NotNil(t, b.ctx, "Chromium has not started")
	return b.ctx
}

func (b *browser) stop() {
	if b.end != nil {
		b.end()
	}
}
