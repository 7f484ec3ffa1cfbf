package e2e_test

import (
	"context"
	"fmt"
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
)

// faultRows is how many rows the runs have that faults meet: few, in many small batches.
const faultRows = 40_000

// site says where the processes of a mesh stand that a fault is to meet. Zero fields have what is nearest.
type site struct {
	nats  string              // URLs of the broker
	batch int                 // rows of a batch; 0: 200
	more  map[string][]string // further flags by process
	link  *link               // the network that the processes stand in; nil: loopback
	// via answers the address under which a process is reached by others, from its own.
	via map[string]func(addr string) string
}

// plant is a mesh of five processes with small batches and short waits, each with its own embedded database or store.
type plant struct {
	mesh
	byName  map[string]*child
	all     []*child
	reached map[string]string // the addresses that processes are reached under, by service
	keys    string            // the key set that the processes share
}

// services lists the processes in the order in which they start.
func services() []string { return []string{"config", "scheduler", "extractor", "mapper", "ingestion"} }

// newPlant starts the five processes of a site.
func newPlant(t *testing.T, s site) *plant {
	t.Helper()
	p := &plant{byName: map[string]*child{}, reached: map[string]string{}, keys: "file:" + filepath.Join(t.TempDir(), "keys.json")}
	for _, name := range services() {
		p.add(t, s, name, name)
	}
	for _, c := range p.all {
		c.start(t)
	}
	for _, c := range p.all {
		c.ready(t)
	}
	p.mesh = clients(dial(t, p.byName["config"].addr), dial(t, p.byName["scheduler"].addr), dial(t, p.byName["ingestion"].addr))
	return p
}

// add prepares one more process of a service, known by name, and tells it of the processes before it and them of it.
func (p *plant) add(t *testing.T, s site, service, name string) *child {
	t.Helper()
	if s.batch == 0 {
		s.batch = 200
	}
	args := []string{
		"--data", filepath.Join(t.TempDir(), name), "--http", "none", "--nats", s.nats, "--quota", "memory",
		"--keys", p.keys,
	}
	own := map[string][]string{
		"scheduler": {"--lease", "4s", "--loss-window", "3s", "--tick", "200ms", "--retry-backoff", "200ms"},
		"extractor": {"--files-roots", "/", "--batch-rows", fmt.Sprint(s.batch), "--window", "4"},
	}
	args = append(append(args, own[service]...), s.more[service]...)
	c := newChild(t, service, append(args, s.more[""]...)...)
	if s.link != nil {
		s.link.move(c)
	}
	for _, peer := range p.all {
		if peer.name != service {
			c.args = append(c.args, "--"+peer.name+"-addr", p.reached[peer.name])
		}
	}
	if name == service {
		p.reached[name] = c.addr
		if via := s.via[name]; via != nil {
			p.reached[name] = via(c.addr)
		}
		for _, peer := range p.all {
			peer.args = append(peer.args, "--"+name+"-addr", p.reached[name])
		}
	}
	p.all, p.byName[name] = append(p.all, c), c
	return c
}

// slowLease gives the scheduler a longer lease: a call that keeps one may take a fifth of it, which a slow line or a busy
// machine needs.
func slowLease(d string) map[string][]string { return map[string][]string{"scheduler": {"--lease", d}} }

// stocked applies the sync of the customers of a warehouse of faultRows rows.
func (p *plant) stocked(t *testing.T) {
	t.Helper()
	p.apply(t, "", newWarehouse(t, faultRows).documents("customers", asIs))
}

// begin applies the customers of w and starts their run.
func (p *plant) begin(t *testing.T, w warehouse) string {
	t.Helper()
	p.apply(t, "", w.documents("customers", asIs))
	return p.trigger(t, "customers")
}

// filled starts a run of the customers while the mapper stands still, and waits until the broker's stream ROWS holds batches
// that were published and not worked on. The mapper is left stopped.
func (p *plant) filled(t *testing.T, broker string, batches uint64, hows ...how) string {
	t.Helper()
	nc, js := look(t, broker)
	defer nc.Close()
	p.byName["mapper"].stop(t)
	id := p.trigger(t, "customers", hows...)
	soon(t, "ROWS holds batches", func() bool { return inStream(t, js, "ROWS") >= batches })
	return id
}

// midway starts a run of the customers and answers once it has brought some rows in and has not ended: the mapper begins
// late, so that nearly all is still to come.
func (p *plant) midway(t *testing.T, broker string, hows ...how) string {
	t.Helper()
	id := p.filled(t, broker, 2, hows...)
	p.byName["mapper"].resume(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p.until(ctx, t, id, func(r *schedulerv1.Run) bool {
		require.False(t, over(r), "the run ended before anything could happen to it")
		return r.GetIngestedRows() > 0
	})
	return id
}

// running says that the run is still under way: a fault holds it up and does not end it.
func (p *plant) running(t *testing.T, id string) {
	t.Helper()
	res, err := p.scheduler.GetRun(t.Context(), &schedulerv1.GetRunRequest{Workspace: p.workspace, Id: id})
	require.NoError(t, err)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_RUNNING, res.GetRun().GetState(), res.GetRun().GetError().GetMessage())
}

// settled remembers what undisturbed runs leave, by their rows.
var settled struct {
	sync.Mutex
	by map[int]undisturbed
}

// calmRun answers what a run over n customers leaves that nobody disturbs, in one process with everything embedded.
func calmRun(t *testing.T, n int) undisturbed {
	t.Helper()
	settled.Lock()
	defer settled.Unlock()
	if u, ok := settled.by[n]; ok {
		return u
	}
	c, m := oneChild(t)
	c.start(t)
	c.ready(t)
	m.apply(t, "", newWarehouse(t, n).documents("customers", asIs))
	u := undisturbed{run: m.run(t, "customers")}
	require.EqualValues(t, n, u.run.GetCounts().GetCreated())
	u.digest = m.digest(t).GetDigest()
	c.kill(t)
	if settled.by == nil {
		settled.by = map[int]undisturbed{}
	}
	settled.by[n] = u
	return u
}

// whole waits for the run's end and says that it left what an undisturbed one leaves: nothing lost, nothing doubled.
func (p *plant) whole(t *testing.T, id string, n int) {
	t.Helper()
	want := calmRun(t, n)
	began := time.Now()
	r := p.end(t, id)
	want.requireSame(t, p.mesh, r)
	t.Logf("%d rows read in %d batches, %d created, 0 lost, 0 doubled; whole %v after the fault",
		r.GetCounts().GetRead(), r.GetBatches(), r.GetCounts().GetCreated(), time.Since(began).Round(100*time.Millisecond))
}

// stop stops a process where it stands (SIGSTOP); nobody is told.
func (c *child) stop(t *testing.T) { c.signal(t, syscall.SIGSTOP) }

// resume lets a stopped process go on.
func (c *child) resume(t *testing.T) { c.signal(t, syscall.SIGCONT) }

func (c *child) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(sig))
}

// text answers what a process has written to its log.
func (c *child) text(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(c.log)
	require.NoError(t, err)
	return string(b)
}

// says waits until the log of a process holds a text more than `before` times.
func (c *child) says(t *testing.T, text string, before int) {
	t.Helper()
	soon(t, c.name+" says: "+text, func() bool { return strings.Count(c.text(t), text) > before })
}

// soon polls what gives no event.
func soon(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !so() {
		require.NoError(t, ctx.Err(), "not in time: %s", what)
		pause(ctx, 50*time.Millisecond)
	}
}

// last lets a fault last for d.
func last(t *testing.T, d time.Duration) {
	t.Helper()
	pause(t.Context(), d)
}

// look connects to the broker beside the processes.
func look(t *testing.T, url string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.Timeout(patience))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return nc, js
}

// inStream answers how many messages a stream has; 0 where it does not answer.
func inStream(t *testing.T, js jetstream.JetStream, stream string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.Msgs
}
