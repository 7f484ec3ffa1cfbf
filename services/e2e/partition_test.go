package e2e_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/testenv"
)

// wired is a plant behind a wire. Broker, store and control database stand before it, each reached by an address that can
// be cut off alone.
type wired struct {
	*plant
	*link
	nats           *testenv.NATS
	rows           string // the broker's address for the extractor
	store, control string // the addresses of the databases of ingestion and the scheduler
	first          bool
}

func newWired(t *testing.T) *wired {
	t.Helper()
	w := &wired{link: newLink(t), nats: testenv.NATSServer(t), first: true}
	rest := w.forward(w.nats.Addr())
	w.rows = w.forward(w.nats.Addr())
	var store, control string
	store, w.store = w.database(t)
	control, w.control = w.database(t)
	w.plant = newPlant(t, site{nats: "nats://" + rest, link: w.link, more: map[string][]string{
		"extractor": {"--nats", "nats://" + w.rows}, "ingestion": {"--store", store}, "scheduler": {"--sql", control},
	}})
	w.apply(t, "", newWarehouse(t, faultRows).documents("customers", asIs))
	return w
}

// database answers the URL of a fresh database for what stands behind the wire, and its address.
func (w *wired) database(t *testing.T) (string, string) {
	t.Helper()
	u, err := url.Parse(testenv.Postgres(t))
	require.NoError(t, err)
	u.Host = w.forward(u.Host)
	return u.String(), u.Host
}

// through lets a fault happen in the middle of a run, which then is whole: everything created in the first one, and found
// unchanged in those after it.
func (w *wired) through(t *testing.T, fault func(id string)) {
	t.Helper()
	want := calmRun(t, faultRows)
	id := w.midway(t, w.nats.URL, full)
	fault(id)
	began := time.Now()
	r := w.end(t, id)
	if w.first {
		w.first = false
		want.requireSame(t, w.mesh, r)
	} else {
		requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
		require.EqualValues(t, faultRows, r.GetCounts().GetUnchanged())
		require.Equal(t, want.run.GetCertificate().GetRowsDigest(), r.GetCertificate().GetRowsDigest())
		require.Equal(t, want.digest, w.digest(t).GetDigest())
	}
	t.Logf("whole %v after the fault", time.Since(began).Round(100*time.Millisecond))
}

// TestF23PartitionsHeal cuts the extractor off from the broker, ingestion off from its store, the scheduler off from its
// database, everything off from all of them, and one of three brokers off from the others.
func TestF23PartitionsHeal(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	cut := func(addr string) func(string) {
		return func(id string) {
			w.drop(addr, true, true, "")
			last(t, 6*time.Second) // longer than a lease
			w.heal()
		}
	}
	t.Run("extractor and broker", func(t *testing.T) { w.through(t, cut(w.rows)) })
	t.Run("ingestion and store", func(t *testing.T) { w.through(t, cut(w.store)) })
	t.Run("scheduler and database", func(t *testing.T) { w.through(t, cut(w.control)) })
	t.Run("everything", func(t *testing.T) {
		w.through(t, func(string) {
			w.down()
			last(t, 6*time.Second)
			w.up()
		})
	})
}

// TestF23AMinorityOfTheBrokerIsLeft cuts one of three brokers off, to which the extractor is connected.
func TestF23AMinorityOfTheBrokerIsLeft(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	servers := testenv.NATSCluster(t, 3, func(i int) testenv.NATSOption {
		if i == 2 {
			return testenv.NATSNamespace(l.ns, l.there)
		}
		return testenv.NATSHost(l.here)
	})
	urls := servers[0].URL + "," + servers[1].URL
	p := newPlant(t, site{nats: urls, more: map[string][]string{"": {"--nats-replicas", "3"}, "extractor": {"--nats", servers[2].URL}}})
	p.stocked(t)
	id := p.midway(t, urls)
	l.down()
	p.whole(t, id, faultRows)
	l.up()
	_, js := look(t, urls)
	soon(t, "ROWS is empty", func() bool { return inStream(t, js, "ROWS") == 0 })
}

// TestF24LostAcksHaveOneEffect loses what the broker answers the extractor, not what it sends, until its publishes have
// been made again.
func TestF24LostAcksHaveOneEffect(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	w.through(t, func(string) {
		w.drop(w.rows, true, false, "")
		w.byName["extractor"].says(t, "the stream takes no messages; waiting", 0)
		last(t, 2*time.Second)
		w.heal()
	})
}

// TestF27AnMTUBlackHoleEndsInTimeouts loses every packet above 600 bytes between the extractor and the broker, and between
// ingestion and its store, without a word of ICMP: connections stand and nothing of size passes.
func TestF27AnMTUBlackHoleEndsInTimeouts(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	_, js := look(t, "nats://"+w.nats.Addr())
	w.through(t, func(id string) {
		w.drop(w.store, true, true, "ip length > 600")
		soon(t, "ingestion has batches that it can not commit", func() bool { return inStream(t, js, "RECORDS") >= 3 })
		w.drop(w.rows, true, true, "ip length > 600")
		w.byName["extractor"].says(t, "the stream takes no messages; waiting", 0)
		w.byName["ingestion"].says(t, "handling waits", 0)
		for _, c := range w.all {
			res, err := healthv1.NewHealthClient(dial(t, c.addr)).Check(t.Context(), &healthv1.HealthCheckRequest{})
			require.NoError(t, err)
			require.Equal(t, healthv1.HealthCheckResponse_SERVING, res.GetStatus())
		}
		w.running(t, id)
		w.heal()
	})
}
