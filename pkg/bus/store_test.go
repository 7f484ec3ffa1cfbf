package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/testenv"
)

// Whatever becomes of the broker's store while it is down, afterwards messages pass again, and what arrives is what was
// sent. What it held may be gone.
func TestMessagesPassAgainAfterTheStoreWasDamaged(t *testing.T) {
	edit := func(is func(name string) bool, change func(b []byte) []byte) func(t *testing.T, store string) {
		return func(t *testing.T, store string) {
			t.Helper()
			files := 0
			require.NoError(t, filepath.WalkDir(store, func(path string, e os.DirEntry, err error) error {
				if err != nil || e.IsDir() || !is(e.Name()) || !strings.Contains(path, "/ROWS/") {
					return err
				}
				b, err := os.ReadFile(path)
				require.NoError(t, err)
				files++
				return os.WriteFile(path, change(b), 0o600)
			}))
			require.Positive(t, files, "there is nothing to damage")
		}
	}
	blocks := func(name string) bool { return strings.HasSuffix(name, ".blk") }
	meta := func(name string) bool { return strings.HasPrefix(name, "meta.") || name == "index.db" }
	state := func(name string) bool { return name == "o.dat" }
	flip := func(b []byte) []byte {
		for i := min(len(b)/2, 1000); i < len(b); i += 2000 {
			b[i] ^= 1 << (i % 8)
		}
		return b
	}
	cut := func(b []byte) []byte { return b[:len(b)*3/5] }
	unknown := func(b []byte) []byte { return bytes.Replace(b, []byte(`"ack_wait"`), []byte(`"bck_wait"`), 1) }
	for name, damage := range map[string]func(t *testing.T, store string){
		"wiped":                              func(t *testing.T, store string) { t.Helper(); require.NoError(t, os.RemoveAll(store)) },
		"bits flipped in messages":           edit(blocks, flip),
		"bits flipped in metadata":           edit(meta, flip),
		"bits flipped in consumers":          edit(state, flip),
		"messages cut":                       edit(blocks, cut),
		"metadata cut":                       edit(meta, cut),
		"consumers cut":                      edit(state, cut),
		"a consumer's field named otherwise": edit(func(name string) bool { return name == "meta.inf" }, unknown),
	} {
		t.Run(name, func(t *testing.T) {
			s := testenv.NATSServer(t)
			b := openBus(t, bus.Settings{URL: s.URL, MaxBytes: 64 << 20})
			seen := make(chan bus.Delivery, 4096)
			gate := make(chan struct{})
			consume(t, b, bus.Rows, bus.ConsumeOptions{Workers: 2}, handler{handle: func(ctx context.Context, d bus.Delivery) error {
				if strings.HasPrefix(d.ID, "held") {
					select {
					case <-gate:
					case <-ctx.Done():
					}
				}
				seen <- d
				return nil
			}})
			send := func(kind string) {
				p := b.Publisher(bus.Rows, 4)
				for i := range 40 {
					id := fmt.Sprint(kind, i)
					require.NoError(t, p.Publish(t.Context(), bus.Message{ID: id, Body: []byte(strings.Repeat(id, 300))}, nil))
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				require.NoError(t, p.Flush(ctx))
			}
			send("done")
			for range 40 {
				<-seen
			}
			send("held")
			s.Kill()
			damage(t, s.Store())
			s.Start()
			close(gate)
			send("after")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			after := map[string]bool{}
			for len(after) < 40 {
				select {
				case d := <-seen:
					require.Equal(t, strings.Repeat(d.ID, 300), string(d.Body))
					if strings.HasPrefix(d.ID, "after") {
						after[d.ID] = true
					}
				case <-ctx.Done():
					require.Fail(t, "messages do not pass", "%d of 40", len(after))
				}
			}
		})
	}
}
