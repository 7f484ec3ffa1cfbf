package e2e_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/testenv"
)

// recovery bounds how long a run may stand still after the broker is back.
const recovery = 30 * time.Second

// moves waits until the run has brought more rows in than it has now, or has ended; at most `recovery`.
func (p *plant) moves(t *testing.T, id string) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	first := int64(-1)
	p.until(ctx, t, id, func(r *schedulerv1.Run) bool {
		if first < 0 {
			first = r.GetIngestedRows()
		}
		return over(r) || r.GetIngestedRows() > first
	})
	t.Logf("progress again %v after the broker is back", time.Since(began).Round(100*time.Millisecond))
}

// TestF15ABrokerThatHangsDelaysARun stops the broker for ten seconds in the middle of publishes.
func TestF15ABrokerThatHangsDelaysARun(t *testing.T) {
	t.Parallel()
	n := testenv.NATSServer(t)
	p := newPlant(t, site{nats: n.URL})
	p.stocked(t)
	id := p.filled(t, n.URL, 2)
	n.Pause()
	p.byName["mapper"].resume(t)
	last(t, 10*time.Second)
	p.running(t, id)
	n.Resume()
	p.moves(t, id)
	p.whole(t, id, faultRows)
}

// TestF16AKilledBrokerDelaysARun kills the only broker, the leader of three, and all three.
func TestF16AKilledBrokerDelaysARun(t *testing.T) {
	t.Parallel()
	t.Run("the only one", func(t *testing.T) {
		n := testenv.NATSServer(t)
		p := newPlant(t, site{nats: n.URL})
		p.stocked(t)
		id := p.midway(t, n.URL)
		n.Kill()
		n.Start()
		p.moves(t, id)
		p.whole(t, id, faultRows)
	})
	t.Run("of three", func(t *testing.T) {
		servers := testenv.NATSCluster(t, 3, nil)
		urls := servers[0].URL + "," + servers[1].URL + "," + servers[2].URL
		p := newPlant(t, site{nats: urls, more: map[string][]string{"": {"--nats-replicas", "3"}}})
		p.stocked(t)
		id := p.midway(t, urls)
		_, js := look(t, urls)
		leader := servers[leaderOf(t, js, "ROWS")]
		leader.Kill()
		p.moves(t, id)
		p.whole(t, id, faultRows)
		leader.Start()

		id = p.midway(t, urls, full)
		for _, n := range servers {
			n.Kill()
		}
		for _, n := range servers {
			n.Launch()
		}
		for _, n := range servers {
			n.Wait()
		}
		p.moves(t, id)
		again := p.end(t, id)
		requireState(t, again, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, faultRows, again.GetCounts().GetUnchanged())
		require.Equal(t, calmRun(t, faultRows).digest, p.digest(t).GetDigest())
	})
}

// leaderOf answers which server of the cluster leads a stream.
func leaderOf(t *testing.T, js jetstream.JetStream, stream string) int {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	require.NoError(t, err)
	i := strings.Index("012", strings.TrimPrefix(s.CachedInfo().Cluster.Leader, "n"))
	require.GreaterOrEqual(t, i, 0)
	return i
}

// many batches are half of what a run has.
const many = faultRows / 400

// TestF17AWipedOrOldStoreDelaysARun takes the broker's store away while it holds published batches, and gives it back as
// it was before.
func TestF17AWipedOrOldStoreDelaysARun(t *testing.T) {
	t.Parallel()
	t.Run("wiped", func(t *testing.T) {
		n := testenv.NATSServer(t)
		p := newPlant(t, site{nats: n.URL})
		p.stocked(t)
		id := p.filled(t, n.URL, many)
		n.Kill()
		require.NoError(t, os.RemoveAll(n.Store()))
		n.Start()
		p.byName["mapper"].resume(t)
		p.whole(t, id, faultRows)
		require.Contains(t, p.byName["scheduler"].text(t), "published batches are not accounted for", "batches were lost")
	})
	t.Run("rolled back", func(t *testing.T) {
		n := testenv.NATSServer(t)
		p := newPlant(t, site{nats: n.URL})
		w := newWarehouse(t, faultRows)
		p.apply(t, "", w.documents("customers", asIs))
		_, js := look(t, n.URL)
		p.byName["mapper"].stop(t)
		id := p.trigger(t, "customers")
		soon(t, "ROWS holds batches", func() bool { return inStream(t, js, "ROWS") >= 5 })
		n.Kill()
		old := filepath.Join(t.TempDir(), "old")
		require.NoError(t, os.CopyFS(old, os.DirFS(n.Store())))
		n.Start()
		soon(t, "ROWS holds all batches", func() bool { return inStream(t, js, "ROWS") >= faultRows/200 })
		n.Kill()
		require.NoError(t, os.RemoveAll(n.Store()))
		require.NoError(t, os.CopyFS(n.Store(), os.DirFS(old)))
		n.Start()
		p.byName["mapper"].resume(t)
		p.whole(t, id, faultRows)
		require.Contains(t, p.byName["scheduler"].text(t), "published batches are not accounted for", "batches were lost")
	})
}

// TestF18AFullDiskOfTheBrokerPausesARun fills the file system of the broker's store, gives the space back and restarts the
// broker, which takes nothing before.
func TestF18AFullDiskOfTheBrokerPausesARun(t *testing.T) {
	t.Parallel()
	root := newTmpfs(t, "24m")
	n := testenv.NATSServer(t, testenv.NATSStore(filepath.Join(root, "store")))
	p := newPlant(t, site{nats: n.URL, more: map[string][]string{"extractor": {"--nats-backlog", "1"}}}) // it publishes on, slowly
	_, js := look(t, n.URL)
	w := newWarehouse(t, faultRows)
	p.apply(t, "", w.documents("customers", asIs))
	p.byName["mapper"].stop(t)
	id := p.trigger(t, "customers")
	soon(t, "ROWS holds batches", func() bool { return inStream(t, js, "ROWS") > 0 })
	ballast := fill(t, root)
	p.byName["extractor"].says(t, "the stream takes no messages; waiting", 0)
	p.running(t, id)
	require.Contains(t, n.Log(), "no space left on device")
	acked := acks(t, p, id)

	require.NoError(t, os.Remove(ballast))
	n.Kill()
	n.Start()
	var held uint64
	soon(t, "the broker tells of ROWS", func() bool { held = inStream(t, js, "ROWS"); return held > 0 })
	require.GreaterOrEqual(t, held, acked, "what the broker has acked it still holds")
	p.byName["mapper"].resume(t)
	p.whole(t, id, faultRows)
}

// acks answers how many batches the extractor has reported, which it does once the broker has acked them.
func acks(t *testing.T, p *plant, id string) uint64 {
	t.Helper()
	var n uint64
	for _, v := range epochs(t, p, id) {
		n += uint64(v) //nolint:gosec // a count
	}
	return n
}

// fill writes a file until its file system is full.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer func() { _ = f.Close() }() // full
	for size := 64 << 10; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	return path
}

// TestF19AFullStreamPausesARun stops the mapper until ROWS has reached its MaxBytes.
func TestF19AFullStreamPausesARun(t *testing.T) {
	t.Parallel()
	n := testenv.NATSServer(t)
	p := newPlant(t, site{nats: n.URL, more: map[string][]string{"": {"--nats-max-bytes", "262144"}, "scheduler": {"--lease", "12s"}}})
	p.stocked(t)
	id := p.filled(t, n.URL, 10)
	p.byName["extractor"].says(t, "maximum bytes exceeded", 0)
	last(t, 14*time.Second) // longer than a lease
	p.running(t, id)
	require.NotContains(t, p.byName["scheduler"].text(t), "lease lost", "an extractor that waits for space keeps its part")
	p.byName["mapper"].resume(t)
	p.whole(t, id, faultRows)
}

// refusals answers publishes to a subject in the broker's place, before it does: what is refused so is of unknown fate,
// for the broker itself may have taken it.
type refusals struct {
	sync.Mutex
	at map[string][]time.Time // tries by message id
}

// TestF20RefusedPublishesAreTriedAgainUnderTheirIDs answers the first three tries of every batch that something is wrong.
func TestF20RefusedPublishesAreTriedAgainUnderTheirIDs(t *testing.T) {
	const refused = 3
	n := testenv.NATSServer(t)
	p := newPlant(t, site{nats: n.URL, batch: 2000, more: slowLease("20s")})
	nc, _ := look(t, n.URL)
	seen := refusals{at: map[string][]time.Time{}}
	answers := []jetstream.APIError{
		{Code: 429, ErrorCode: 10167, Description: "too many requests"},
		{Code: 503, ErrorCode: 10077, Description: "maximum bytes exceeded"},
		{Code: 503, ErrorCode: 10008, Description: "JetStream system temporarily unavailable"},
	}
	_, err := nc.Subscribe("millrace.rows", func(m *nats.Msg) {
		seen.Lock()
		defer seen.Unlock()
		id := m.Header.Get(nats.MsgIdHdr)
		if seen.at[id] = append(seen.at[id], time.Now()); len(seen.at[id]) <= refused {
			body, err := json.Marshal(map[string]any{"error": answers[rand.IntN(len(answers))]}) //nolint:gosec // any of them
			if err == nil {
				_ = m.Respond(body) // an answer that is lost refuses nothing
			}
		}
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	id := p.begin(t, newWarehouse(t, faultRows))
	p.whole(t, id, faultRows)

	seen.Lock()
	defer seen.Unlock()
	require.Len(t, seen.at, faultRows/2000, "no batch goes under a second id")
	waits, again := map[time.Duration]bool{}, 0
	for id, at := range seen.at {
		require.LessOrEqual(t, len(at), refused+3, "batch %s is tried no more often than it is refused, but for a lost answer", id)
		if len(at) > 1 { // the refusal came before the broker's own answer
			again++
			waits[at[1].Sub(at[0])] = true
		}
	}
	require.NotZero(t, again, "no refusal was heard")
	require.Len(t, waits, again, "waits have jitter")
}

// TestF22ADamagedStoreDelaysARun flips bits in the broker's files, and cuts them, while it is down and holds published batches.
func TestF22ADamagedStoreDelaysARun(t *testing.T) {
	t.Parallel()
	damages := map[string]func(t *testing.T, file string){"bits flipped": flip, "files cut": cut, "messages misplaced": misplace}
	kinds := map[string]func(name string) bool{
		"messages":  func(name string) bool { return strings.HasSuffix(name, ".blk") },
		"metadata":  func(name string) bool { return strings.HasPrefix(name, "meta.") || name == "index.db" },
		"consumers": func(name string) bool { return name == "o.dat" },
	}
	n := testenv.NATSServer(t)
	p := newPlant(t, site{nats: n.URL})
	w := newWarehouse(t, faultRows)
	first := true
	for damage, spoil := range damages {
		for kind, is := range kinds {
			if damage == "messages misplaced" && kind != "consumers" {
				continue
			}
			t.Run(damage+" in "+kind, func(t *testing.T) {
				_, js := look(t, n.URL)
				p.tellsOfROWS(t, js)
				p.byName["mapper"].stop(t)
				var id string
				if first {
					id = p.begin(t, w)
				} else {
					id = p.trigger(t, "customers", full)
				}
				soon(t, "ROWS holds batches", func() bool { return inStream(t, js, "ROWS") >= many })
				said := strings.Count(p.byName["scheduler"].text(t), "published batches are not accounted for")
				n.Kill()
				files := 0
				for _, file := range filesOf(t, n.Store(), is) {
					spoil(t, file)
					files++
				}
				require.Positive(t, files, "there is nothing to damage")
				n.Start()
				p.byName["mapper"].resume(t)
				if damage == "messages misplaced" {
					p.byName["scheduler"].says(t, "published batches are not accounted for", said)
				}
				if first {
					p.whole(t, id, faultRows)
					first = false
					return
				}
				r := p.end(t, id)
				requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
				require.EqualValues(t, faultRows, r.GetCounts().GetUnchanged())
				require.Equal(t, calmRun(t, faultRows).digest, p.digest(t).GetDigest())
			})
		}
	}
}

// tellsOfROWS logs, where the test fails, what the broker says of ROWS and its consumers, and what the mapper is doing.
func (p *plant) tellsOfROWS(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s, err := js.Stream(ctx, "ROWS")
		if err != nil {
			t.Logf("ROWS: %v", err)
			return
		}
		t.Logf("ROWS: %+v", s.CachedInfo().State)
		for c := range s.ListConsumers(ctx).Info() {
			t.Logf("a consumer of ROWS: %+v", *c)
		}
		mapper := p.byName["mapper"]
		mapper.signal(t, syscall.SIGQUIT) // its stacks
		<-mapper.done
		text := mapper.text(t)
		t.Logf("the mapper:\n%s", text[max(0, len(text)-60_000):])
	})
}

// filesOf answers the files below dir whose name is so.
func filesOf(t *testing.T, dir string, is func(name string) bool) []string {
	t.Helper()
	var out []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && is(e.Name()) && strings.Contains(path, "/ROWS/") {
			out = append(out, path)
		}
		return err
	}))
	return out
}

// flip flips a bit in every two thousandth byte of a file, in one at least.
func flip(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	for i := min(len(b)/2, 1000); i < len(b); i += 2000 {
		b[i] ^= 1 << (i % 8)
	}
	require.NoError(t, os.WriteFile(file, b, 0o600))
}

// misplace makes a consumer believe that two more messages than it has delivered are in somebody's hand until tomorrow, as
// it may where they were on their way when it died and a bit of their time is flipped. The file is two bytes, the positions
// below which all is done and up to which all is delivered, each in the consumer and in the stream, the number of messages
// in hand, and where there are any a time in seconds and for each its positions and its age; then what was delivered again.
func misplace(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	if len(b) < 2+5 {
		return // of a consumer that is cut already
	}
	at := 2
	var v [5]uint64
	for i := range v {
		n := 0
		v[i], n = binary.Uvarint(b[min(at, len(b)):])
		at += max(n, 0)
	}
	now := time.Now().Unix()
	if v[4] > 0 {
		n := 0
		if now, n = binary.Varint(b[at:]); n <= 0 {
			return // as above
		}
		at += n
	}
	out := b[:2:2]
	for _, x := range []uint64{v[0], v[1], v[2] + 2, v[3] + 2, v[4] + 2} {
		out = binary.AppendUvarint(out, x)
	}
	out = binary.AppendVarint(out, now)
	for n := uint64(1); n <= 2; n++ {
		out = binary.AppendUvarint(binary.AppendUvarint(out, v[3]+n-v[1]), v[2]+n-v[0])
		out = binary.AppendVarint(out, -24*60*60)
	}
	require.NoError(t, os.WriteFile(file, append(out, b[at:]...), 0o600))
}

// cut cuts a file to three fifths.
func cut(t *testing.T, file string) {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(file, info.Size()*3/5))
}
