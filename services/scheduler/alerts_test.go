package scheduler_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/secret"
	"millrace.dev/services/scheduler"
	"millrace.dev/services/scheduler/alerts/alertstest"
)

// told is a message as a receiver reads it.
type told struct {
	ID        string // of its headers
	Event     string
	Alert     string
	Workspace string
	Sync      string
	Run       string
	RunNo     int64 `json:"run_no"`
	State     string
	Reason    string
	Message   string
	URL       string
}

// receiver takes the webhooks of an alert and verifies their signatures as Standard Webhooks says.
type receiver struct {
	t      *testing.T
	server *httptest.Server
	key    string

	mu     sync.Mutex
	status int
	took   []told
	tries  map[string]int // of messages that were not taken
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, key: "a signing key of the test", status: http.StatusOK, tries: map[string]int{}}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	name, at := q.Header.Get("Webhook-Id"), q.Header.Get("Webhook-Timestamp")
	mac := hmac.New(sha256.New, []byte(r.key))
	mac.Write([]byte(name + "." + at + "." + string(body)))
	if q.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		r.t.Error("the signature is wrong")
	}
	m := told{}
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Error(err)
	}
	m.ID = name
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status < 300 {
		r.took = append(r.took, m)
	} else {
		r.tries[name]++
	}
	w.WriteHeader(r.status)
}

func (r *receiver) answers(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) all() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]told(nil), r.took...)
}

func (r *receiver) events() []string {
	var out []string
	for _, m := range r.all() {
		out = append(out, m.Event)
	}
	return out
}

// refused answers how often each message came and was not taken.
func (r *receiver) refused() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]int{}
	for name, n := range r.tries {
		out[name] = n
	}
	return out
}

// alert adds an alert to what config has; its webhook goes to a receiver.
func (m *mesh) alert(name string, r *receiver, on ...resource.AlertEvent) *configv1.Alert {
	m.t.Helper()
	keys, err := secret.Open(m.t.Context(), m.keys)
	require.NoError(m.t, err)
	a := resource.Alert{
		Meta: resource.Meta{Workspace: "default", ID: name, UID: id.NewSync().String()}, On: on,
		Webhook: &resource.Webhook{URL: r.server.URL + "/hook", Secret: resource.Secret{Plain: r.key}},
	}
	require.NoError(m.t, keys.SealSecrets(&a))
	out := resourcepb.ToAlert(a)
	m.config.putAlert(out)
	return out
}

// telling is quick with alerts.
func telling() scheduler.Settings {
	set := quick()
	set.AlertsPrivate, set.AlertsBackoff, set.ConsoleURL = true, 10*time.Millisecond, "https://millrace.example.com/"
	return set
}

// failed plays a run that fails for good.
func (m *mesh) failed(reason fault.Reason) *schedulerv1.Run {
	m.t.Helper()
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.fails(m.lease(), true, reason)
	return m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_FAILED)
}

func TestFiveFailuresInARowAreOneAlertAndASuccessIsItsEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, telling())
		m.config.obey()
		all, some, other := newReceiver(t), newReceiver(t), newReceiver(t)
		m.alert("all", all)
		m.alert("some", some, resource.AlertFailed)
		m.alert("other", other, resource.AlertHeld)
		first := m.failed(fault.ReasonQueryInvalid)
		for range 4 {
			m.failed(fault.ReasonQueryInvalid)
		}
		m.until("both are told", func() bool { return len(all.all()) == 1 && len(some.all()) == 1 })
		got := some.all()[0]
		require.Equal(t, "failed", got.Event)
		require.Equal(t, "some", got.Alert)
		require.Equal(t, "default", got.Workspace)
		require.Equal(t, "orders", got.Sync)
		require.Equal(t, first.GetId(), got.Run)
		require.EqualValues(t, 1, got.RunNo)
		require.Equal(t, "failed", got.State)
		require.Equal(t, "query_invalid", got.Reason)
		require.Equal(t, "it went wrong; do this", got.Message)
		require.Equal(t, "https://millrace.example.com/w/default/runs/"+first.GetId(), got.URL)
		require.Equal(t, "faulted", all.all()[0].Event, "it is what the failure means for the sync")
		m.never("somebody is told again", func() bool { return len(all.all())+len(some.all()) > 2 })

		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.succeeds(r.GetId(), "10")
		m.until("both are told of the end", func() bool { return len(all.all()) == 2 && len(some.all()) == 2 })
		require.Equal(t, []string{"faulted", "recovered"}, all.events())
		require.Equal(t, []string{"failed", "recovered"}, some.events())
		require.Equal(t, r.GetId(), some.all()[1].Run)
		require.Equal(t, "run 6 succeeded", some.all()[1].Message)
		require.Empty(t, other.all())
	})
}

func TestAnAlertOutlivesARestartAndComesOnceItsReceiverIsBack(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, telling())
		m.config.obey()
		down, up := newReceiver(t), newReceiver(t)
		down.answers(http.StatusServiceUnavailable)
		m.alert("down", down)
		m.alert("up", up)
		m.failed(fault.ReasonQueryInvalid)
		m.until("it is tried again", func() bool {
			for _, n := range down.refused() {
				return n >= 3
			}
			return false
		})
		m.until("another receiver does not wait for it", func() bool { return len(up.all()) == 1 })
		m.stop()

		next := m.another(telling())
		r := next.trigger(&schedulerv1.TriggerRunRequest{})
		next.succeeds(r.GetId(), "10")
		next.until("the second is told", func() bool { return len(up.all()) == 2 })
		require.Len(t, down.refused(), 1, "what follows waits for what was before")
		down.answers(http.StatusAccepted)
		next.until("the first is told", func() bool { return len(down.all()) == 2 })
		require.Equal(t, []string{"faulted", "recovered"}, down.events())
		require.Contains(t, down.refused(), down.all()[0].ID, "each try has the same id")
		next.never("anybody is told again", func() bool { return len(down.all())+len(up.all()) > 4 })
	})
}

func TestOfSeveralProcessesOneTells(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, telling())
		m.config.obey()
		m.another(telling())
		rs := []*receiver{newReceiver(t), newReceiver(t), newReceiver(t)}
		for i, r := range rs {
			m.alert(string(rune('a'+i)), r, resource.AlertFailed)
		}
		m.failed(fault.ReasonQueryInvalid)
		for _, r := range rs {
			m.until("it is told", func() bool { return len(r.all()) > 0 })
		}
		m.never("it is told twice", func() bool { return len(rs[0].all())+len(rs[1].all())+len(rs[2].all()) > 3 })
	})
}

func TestHeldRunsAndRejectsAreTold(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, telling())
		in := newReceiver(t)
		m.alert("ops", in)
		m.load()
		r := m.dryPass(3)
		m.reaches(r.GetId(), runHeld)
		m.until("the hold is told", func() bool { return len(in.all()) == 1 })
		require.Equal(t, "held", in.all()[0].Event)
		require.Equal(t, "guard_breached", in.all()[0].Reason)
		require.Equal(t, r.GetId(), in.all()[0].Run)
		_, err := m.approve(r.GetId())
		require.NoError(t, err)
		m.until("its end is told", func() bool { return len(in.all()) == 2 })
		m.written(r.GetId(), 3)

		m.config.terms.Guard = nil
		m.store.rejects = []*ingestionv1.RejectCount{{Stage: "map", Column: "ltv", Rule: "rules[3]", Reason: "is no number", Rejects: 1}}
		r = m.trigger(&schedulerv1.TriggerRunRequest{})
		m.plan("30", "30")
		l := m.lease()
		require.NoError(t, m.published(l, 0, 3))
		require.NoError(t, m.ingested(result(l, 0, 0, 0, 3, 1, true)))
		require.NoError(t, m.complete(l, 1, 3))
		m.reaches(r.GetId(), schedulerv1.RunState_RUN_STATE_PARTIALLY_SUCCEEDED)
		m.until("rejects are told", func() bool { return len(in.all()) == 3 })
		require.Equal(t, []string{"held", "recovered", "partially_succeeded"}, in.events())
		require.Equal(t, "rows_rejected", in.all()[2].Reason)
		require.Equal(t, "1 of 3 rows were rejected or refused; most of them: ltv is no number", in.all()[2].Message)
	})
}

func TestLateDataIsToldOnceAndSoIsItsEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, telling())
		in := newReceiver(t)
		m.alert("ops", in)
		y := sync1("orders")
		y.Freshness = "30m" // and it is active for an hour
		m.config.put(y)
		m.until("it is told", func() bool { return len(in.all()) == 1 })
		require.Equal(t, "late", in.all()[0].Event)
		require.Contains(t, in.all()[0].Message, "and the goal is 30m")
		require.Equal(t, "https://millrace.example.com/w/default/syncs/orders", in.all()[0].URL)
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.succeeds(r.GetId(), "10")
		m.until("its end is told", func() bool { return len(in.all()) == 2 })
		require.Equal(t, []string{"late", "recovered"}, in.events())
		m.never("it is told again", func() bool { return len(in.all()) > 2 })
	})
}

func TestAFaultIsOverWhenItsOwnerActs(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		m := start(t, sql, telling())
		m.config.obey()
		in := newReceiver(t)
		m.alert("ops", in, resource.AlertFaulted)
		for range 2 {
			m.failed(fault.ReasonQueryInvalid)
			m.until("config knows", func() bool { return m.config.get("orders").GetStatus() == configv1.SyncStatus_SYNC_STATUS_FAULTED })
			last := func(event string) func() bool {
				return func() bool { e := in.events(); return len(e) > 0 && e[len(e)-1] == event }
			}
			m.until("it is told", last("faulted"))
			m.never("its end is told before its owner acts", last("recovered"))
			m.config.heal("orders") // as ResumeSync does
			m.until("its end is told", last("recovered"))
		}
		require.Equal(t, []string{"faulted", "recovered", "faulted", "recovered"}, in.events())
	})
}

func TestNobodyIsToldByADeletedAlert(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", telling())
	gone, left := newReceiver(t), newReceiver(t)
	gone.answers(http.StatusServiceUnavailable)
	m.alert("gone", gone)
	m.failed(fault.ReasonQueryInvalid)
	m.until("it is tried", func() bool { return len(gone.refused()) > 0 })
	m.stop() // an attempt that is under way knows the alert still
	m.config.dropAlerts()
	gone.answers(http.StatusOK)
	m.up(telling())
	m.alert("left", left, resource.AlertFailed)
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.succeeds(r.GetId(), "10")
	m.until("who is left is told", func() bool { return len(left.all()) == 1 })
	m.until("the message is dropped", func() bool { return m.alertsCounted("faulted", "webhook", "dropped") == 1 })
	require.Empty(t, gone.all())
}

func TestAReceiverThatIsGoneIsNotAskedAgain(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", telling())
	in := newReceiver(t)
	in.answers(http.StatusGone)
	m.alert("ops", in, resource.AlertFailed)
	m.failed(fault.ReasonQueryInvalid)
	m.until("it is given up", func() bool { return m.alertsCounted("failed", "webhook", "given_up") == 1 })
	for _, n := range in.refused() {
		require.Equal(t, 1, n)
	}
}

// alertsCounted answers how many messages met an outcome.
func (m *mesh) alertsCounted(event, target, outcome string) int {
	m.t.Helper()
	families, err := m.meters.Gather()
	require.NoError(m.t, err)
	for _, f := range families {
		if f.GetName() != "millrace_scheduler_alerts_total" {
			continue
		}
		for _, x := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range x.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["event"] == event && labels["target"] == target && labels["outcome"] == outcome {
				return int(x.GetCounter().GetValue())
			}
		}
	}
	require.Fail(m.t, "no such series")
	return 0
}

func TestEachRecipientOfMailIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, sql string) {
		mails := alertstest.ServeMail(t, func(s *alertstest.MailServer) {
			s.Offer = false
			s.Refuse["RCPT TO:<gone@example.com>"] = "550 5.1.1 no such user"
		})
		set := telling()
		set.SMTPAddr, set.SMTPFrom, set.SMTPTLS = mails.Addr(), "millrace@example.com", "none"
		m := start(t, sql, set)
		m.config.putAlert(&configv1.Alert{
			Meta: &configv1.Meta{Workspace: "default", Id: "ops", Uid: "u"}, On: []configv1.AlertEvent{configv1.AlertEvent_ALERT_EVENT_FAILED},
			Email: &configv1.Email{To: []string{"gone@example.com", "ops@example.com", "data@example.com"}},
		})
		r := m.failed(fault.ReasonQueryInvalid)
		m.until("one is tried again", func() bool { return m.alertsCounted("failed", "email", "failed") > 1 })
		m.until("the others are told", func() bool { return m.alertsCounted("failed", "email", "sent") == 2 })
		var to []string
		for _, mail := range mails.Mails() {
			to = append(to, mail.To)
			require.Contains(t, mail.Text, "Subject: [Millrace] sync orders failed")
			require.Contains(t, mail.Text, r.GetId())
		}
		require.ElementsMatch(t, []string{"TO:<ops@example.com>", "TO:<data@example.com>"}, to, "each once")
	})
}

func TestAnAlertIsGivenUpInTheEnd(t *testing.T) {
	set := telling()
	set.AlertsGiveUp = time.Nanosecond
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", set)
	in := newReceiver(t)
	in.answers(http.StatusInternalServerError)
	m.alert("ops", in, resource.AlertFailed)
	m.failed(fault.ReasonQueryInvalid)
	m.until("it is given up", func() bool { return m.alertsCounted("failed", "webhook", "given_up") == 1 })
	in.answers(http.StatusOK)
	r := m.trigger(&schedulerv1.TriggerRunRequest{})
	m.succeeds(r.GetId(), "10")
	m.until("what follows is told", func() bool { return len(in.all()) == 1 })
	require.Equal(t, []string{"recovered"}, in.events())
}

func TestAlertsWaitForConfig(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", telling())
	in := newReceiver(t)
	m.alert("ops", in, resource.AlertFailed)
	m.config.refuseAlerts(true)
	m.failed(fault.ReasonQueryInvalid)
	m.never("it is told", func() bool { return len(in.all()) > 0 })
	m.config.refuseAlerts(false)
	m.until("it is told", func() bool { return len(in.all()) == 1 })
}

func TestSettingsOfAlertsAreCheckedBeforeAnythingStarts(t *testing.T) {
	for what, set := range map[string]scheduler.Settings{
		"smtp-from":   {SMTPAddr: "mail:25"},
		"console-url": {ConsoleURL: "javascript:alert(1)"},
	} {
		_, err := scheduler.New(t.Context(), &app.Env{
			Name: scheduler.Name, Log: slog.New(slog.DiscardHandler), Tracer: trace.NewTracerProvider().Tracer("test"), Metrics: prometheus.NewRegistry(),
			Shared: app.Shared{SQL: "sqlite:" + t.TempDir() + "/c.db", Quota: "memory"},
			Dial:   func(string) (grpc.ClientConnInterface, error) { return nil, nil }, //nolint:nilnil // nobody is called
		}, set)
		require.ErrorContains(t, err, what)
		require.Equal(t, fault.Invalid, fault.ClassOf(err))
	}
}

func TestATestFireSaysWhatBecameOfItAtEachTarget(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", telling())
	in := newReceiver(t)
	a := m.alert("ops", in)
	fire := func() (*schedulerv1.TestAlertResponse, error) {
		return m.runs.TestAlert(t.Context(), &schedulerv1.TestAlertRequest{Id: "ops"})
	}
	r, err := fire()
	require.NoError(t, err)
	require.True(t, r.GetOk())
	require.Len(t, r.GetResults(), 1)
	require.Equal(t, "webhook", r.GetResults()[0].GetTarget())
	require.NotContains(t, r.GetResults()[0].GetAddress(), "/hook", "the path may be a secret")
	require.Equal(t, []string{"test"}, in.events())
	require.Equal(t, "https://millrace.example.com/w/default/alerts", in.all()[0].URL)

	in.answers(http.StatusTeapot)
	a.Email = &configv1.Email{To: []string{"ops@example.com"}}
	r, err = fire()
	require.NoError(t, err)
	require.False(t, r.GetOk())
	require.Len(t, r.GetResults(), 2)
	require.Contains(t, r.GetResults()[0].GetMessage(), "answered 418")
	require.Equal(t, "ops@example.com", r.GetResults()[1].GetAddress())
	require.Contains(t, r.GetResults()[1].GetMessage(), "--scheduler-smtp-addr")

	for range 8 {
		_, err = fire()
		require.NoError(t, err)
	}
	_, err = fire()
	require.Equal(t, fault.ReasonLimitExceeded, reasonOf(err))
	_, err = m.runs.TestAlert(t.Context(), &schedulerv1.TestAlertRequest{Id: "none"})
	require.Equal(t, fault.ReasonNotFound, reasonOf(err))
	_, err = m.runs.TestAlert(t.Context(), &schedulerv1.TestAlertRequest{Workspace: "other", Id: "ops"})
	require.Equal(t, fault.ReasonNotFound, reasonOf(err))
}

// TestASchedulerWithoutTheKeySetSaysSo: at its start where config is elsewhere, and whenever a secret does not open.
func TestASchedulerWithoutTheKeySetSaysSo(t *testing.T) {
	const todo = "start the scheduler with --keys naming the key set that config seals with"
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", telling())
	in := newReceiver(t)
	m.alert("ops", in)
	require.NotContains(t, m.logs.String(), todo, "a key set is named")
	for _, c := range []struct {
		hosted []string
		warns  int
	}{{[]string{"config", "scheduler"}, 0}, {[]string{"scheduler", "mapper"}, 1}} {
		m.stop()
		m.keys, m.own, m.hosted = "file:"+t.TempDir()+"/keys.json", true, c.hosted
		m.up(telling())
		require.Equal(t, c.warns, strings.Count(m.logs.String(), todo))
		r, err := m.runs.TestAlert(t.Context(), &schedulerv1.TestAlertRequest{Id: "ops"})
		require.NoError(t, err)
		require.False(t, r.GetOk())
		require.Equal(t, "the secret of alert ops cannot be opened with the scheduler's key set, so that nothing can be signed; "+todo+", or set webhook.secret again", r.GetResults()[0].GetMessage())
		require.Empty(t, in.all())
	}
	require.Contains(t, m.logs.String(), m.keys)
}

func TestRunsDoNotWaitForAlerts(t *testing.T) {
	m := start(t, "sqlite:"+t.TempDir()+"/c.db", telling())
	block := make(chan struct{})
	asked := make(chan struct{}, 100)
	hung := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-block
	}))
	t.Cleanup(hung.Close)
	m.alert("hung", &receiver{t: t, server: hung, key: "a signing key of the test"})
	m.failed(fault.ReasonQueryInvalid)
	<-asked
	for i := range 3 {
		r := m.trigger(&schedulerv1.TriggerRunRequest{})
		m.succeeds(r.GetId(), string(rune('1'+i)))
	}
	close(block)
	n, err := testutil.GatherAndCount(m.meters, "millrace_scheduler_alerts_waiting")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}
