package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// signingKey is what the alerts of these tests are signed with.
const signingKey = "sixteen bytes or more"

// pager receives webhooks and believes those that are signed with its key.
type pager struct {
	mu    sync.Mutex
	down  bool
	tries map[string]int
	told  []object
	wrong []string
}

func (p *pager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	name, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	mac := hmac.New(sha256.New, []byte(signingKey))
	mac.Write([]byte(name + "." + at + "." + string(body)))
	p.mu.Lock()
	defer p.mu.Unlock()
	var m object
	if err := json.Unmarshal(body, &m); err != nil || r.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		p.wrong = append(p.wrong, name)
	}
	p.tries[name]++
	if p.down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	m["id"] = name
	p.told = append(p.told, m)
}

func (p *pager) set(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// heard answers what came, and how often that which did not was tried.
func (p *pager) heard() ([]object, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, tries := range p.tries {
		n += tries
	}
	return append([]object(nil), p.told...), n
}

// TestAFailedRunIsToldThroughAnOutageAndARestart breaks a sync's query while the receiver of its alert is down, kills the
// process, and lets both come back: the failure is told once, and so is that the sync has recovered.
func TestAFailedRunIsToldThroughAnOutageAndARestart(t *testing.T) {
	t.Parallel()
	p := &pager{down: true, tries: map[string]int{}}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	c, m := oneChild(t)
	c.args = append(c.args, "--scheduler-alerts-private", "--scheduler-alerts-backoff", "100ms", "--scheduler-console-url", "https://millrace.example.com")
	c.start(t)
	c.ready(t)
	w := newWarehouse(t, 100)
	m.apply(t, "", w.documents("customers", asIs)+"---\nkind: Alert\nid: ops\non: [failed, late]\nsyncs: [customers]\nwebhook: {url: \""+server.URL+"\", secret: "+signingKey+"}\n")
	m.run(t, "customers")

	w.exec(t, "ALTER TABLE customers RENAME TO clients")
	id := m.trigger(t, "customers")
	r := m.end(t, id)
	require.Equal(t, schedulerv1.RunState_RUN_STATE_FAILED, r.GetState())
	require.Equal(t, schedulerv1.RunState_RUN_STATE_FAILED, m.end(t, m.trigger(t, "customers")).GetState())
	eventually(t, "it is tried", func() bool { _, n := p.heard(); return n > 1 })
	c.kill(t)
	p.set(false)
	c.start(t)
	c.ready(t)
	eventually(t, "the failure is told", func() bool { told, _ := p.heard(); return len(told) == 1 })
	told, _ := p.heard()
	require.Equal(t, "failed", told[0]["event"])
	require.Equal(t, "customers", told[0]["sync"])
	require.Equal(t, id, told[0]["run"])
	require.Equal(t, r.GetError().GetReason(), told[0]["reason"])
	require.True(t, strings.HasSuffix(told[0]["url"].(string), "/runs/"+id))

	w.exec(t, "ALTER TABLE clients RENAME TO customers")
	m.run(t, "customers")
	eventually(t, "its end is told", func() bool { told, _ := p.heard(); return len(told) == 2 })
	told, _ = p.heard()
	require.Equal(t, "recovered", told[1]["event"])
	require.Empty(t, p.wrong)
	require.Len(t, p.tries, 2, "two messages, however often they were tried")
}
