package alerts

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	failed  = resource.AlertFailed
	partial = resource.AlertPartiallySucceeded
	held    = resource.AlertHeld
	faulted = resource.AlertFaulted
	late    = resource.AlertLate
)

type events = []resource.AlertEvent

func TestAnAlertTellsWhatBeginsAndThatNothingIsLeft(t *testing.T) {
	all := events{}
	for _, c := range []struct {
		name          string
		on            events
		before, after events
		event         string // empty: nothing is told
		conditions    events
	}{
		{"nothing has changed", all, events{failed}, events{failed}, "", nil},
		{"a run failed", all, events{}, events{failed}, "failed", events{failed}},
		{"a run failed and faulted its sync: the gravest is told, once", all, events{}, events{failed, faulted}, "faulted", events{faulted, failed}},
		{"of which an alert asks for one", events{failed}, events{}, events{failed, faulted}, "failed", events{failed}},
		{"of which an alert asks for none", events{held}, events{}, events{failed, faulted}, "", nil},
		{"a failing sync is faulted", all, events{failed}, events{failed, faulted}, "faulted", events{faulted, failed}},
		{"which those who ask for failures know", events{failed}, events{failed}, events{failed, faulted}, "", nil},
		{"it succeeds", all, events{failed, faulted}, events{}, "recovered", events{}},
		{"it succeeds in part", all, events{failed}, events{partial}, "partially_succeeded", events{partial}},
		{"which those who ask for failures hear as the end", events{failed}, events{failed}, events{partial}, "recovered", events{}},
		{"its data is late too", all, events{failed}, events{failed, late}, "late", events{failed, late}},
		{"it succeeds, and is late still", all, events{failed, late}, events{late}, "", nil},
		{"which those who ask for failures hear as the end", events{failed}, events{failed, late}, events{late}, "recovered", events{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, tells := Decide(resource.Alert{Meta: resource.Meta{ID: "ops"}, On: c.on}, Change{Workspace: "default", Sync: "orders", Before: c.before, After: c.after})
			require.Equal(t, c.event != "", tells)
			if tells {
				require.Equal(t, c.event, m.Event)
				require.Equal(t, c.conditions, m.Conditions)
			}
		})
	}
}

func TestAnAlertIsOfItsWorkspaceAndSyncs(t *testing.T) {
	c := Change{Workspace: "shop", Sync: "orders", After: events{failed}}
	for want, a := range map[bool][]resource.Alert{
		true:  {{Meta: resource.Meta{Workspace: "shop"}}, {Meta: resource.Meta{Workspace: "shop"}, Syncs: []string{"users", "orders"}}},
		false: {{}, {Meta: resource.Meta{Workspace: "shop"}, Syncs: []string{"users"}}, {Meta: resource.Meta{Workspace: "other"}, Syncs: []string{"orders"}}},
	} {
		for _, a := range a {
			_, tells := Decide(a, c)
			require.Equal(t, want, tells, "%v", a)
		}
	}
}

// TestTheBodyIsWhatTheREADMESays holds the JSON of webhooks: receivers are written against it.
func TestTheBodyIsWhatTheREADMESays(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	m, tells := Decide(resource.Alert{Meta: resource.Meta{ID: "ops"}}, Change{
		Workspace: "default", Sync: "orders", After: events{faulted, failed}, Time: at,
		Run:   Run{ID: "0198c0de-0000-7000-8000-000000000001", No: 12, Lane: "live", State: "failed"},
		Cause: Cause{"warehouse_denied", "the password was refused", "mend the connection's credentials"},
	})
	require.True(t, tells)
	m.URL = "https://millrace.example.com/w/default/runs/0198c0de-0000-7000-8000-000000000001"
	require.JSONEq(t, `{
		"version": 1, "event": "faulted", "alert": "ops", "workspace": "default", "sync": "orders", "conditions": ["faulted", "failed"],
		"run": "0198c0de-0000-7000-8000-000000000001", "run_no": 12, "lane": "live", "state": "failed",
		"reason": "warehouse_denied", "message": "the password was refused", "next_step": "mend the connection's credentials",
		"time": "2026-01-02T02:04:05Z", "url": "https://millrace.example.com/w/default/runs/0198c0de-0000-7000-8000-000000000001"
	}`, string(m.Body()))
	back, err := ParseMessage(m.Body())
	require.NoError(t, err)
	require.Equal(t, m, back)

	require.JSONEq(t, `{"version": 1, "event": "test", "alert": "ops", "workspace": "default", "conditions": [],
		"message": "This is a test. Nothing is wrong.", "time": "2026-01-02T02:04:05Z"}`,
		string(TestMessage(resource.Alert{Meta: resource.Meta{ID: "ops"}}, at).Body()))
}

func TestTextsAreBounded(t *testing.T) {
	m, _ := Decide(resource.Alert{}, Change{Workspace: "default", After: events{held}, Cause: Cause{Message: strings.Repeat("ä", 10_000)}})
	require.Less(t, len(m.Message), maxText+10)
	require.True(t, json.Valid(m.Body()))
}

func TestAMailIsForPeople(t *testing.T) {
	m := Message{
		Event: "late", Alert: "ops", Workspace: "default", Sync: "orders", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Run: Run{"0198-a", 7, "live", "succeeded"}, Cause: Cause{Message: "the newest data is 3h old,\nand the goal is 2h", NextStep: "look at its runs"},
	}
	require.Equal(t, "[Millrace] sync orders is late", m.Subject())
	require.Equal(t, `[Millrace] sync orders is late

workspace: default
sync:      orders
run:       0198-a (no. 7, live, succeeded)
message:   the newest data is 3h old, and the goal is 2h
next step: look at its runs
time:      2026-01-02T03:04:05Z
alert:     ops
`, m.Text())
	for _, e := range Events() {
		require.Greater(t, len(Message{Event: e, Sync: "orders", Alert: "ops"}.Subject()), len("[Millrace] sync orders "), e)
	}
}

// TestTheSignatureIsThatOfStandardWebhooks has the example of the specification's own libraries.
func TestTheSignatureIsThatOfStandardWebhooks(t *testing.T) {
	key, err := resource.SigningKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", got)
	plain, err := resource.SigningKey("a text of my own")
	require.NoError(t, err)
	require.Equal(t, "a text of my own", string(plain))
	same, err := resource.SigningKey("whsec_" + base64.StdEncoding.EncodeToString(plain))
	require.NoError(t, err)
	require.Equal(t, plain, same)
}

func TestMessageIDsNameAChangeAndATarget(t *testing.T) {
	seen := map[string]bool{}
	for _, change := range []string{"u-1", "u-2"} {
		for _, alert := range []string{"a", "b"} {
			for _, to := range []Target{{ByWebhook, ""}, {ByEmail, "a@example.com"}, {ByEmail, "b@example.com"}} {
				name := MessageID(change, alert, to)
				require.Equal(t, name, MessageID(change, alert, to))
				require.False(t, seen[name])
				seen[name] = true
			}
		}
	}
}

func TestWebhooksStayOutOfPrivateNetworks(t *testing.T) {
	never := []string{
		"169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255",
		"168.63.129.16", "100.100.100.200", "fd20:ce::254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254",
	}
	private := []string{
		"127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "fd12::1", "::ffff:10.0.0.1", "100.64.0.1", "192.0.0.8", "198.18.0.1", "240.0.0.1", "0.1.2.3",
		"64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "::10.0.0.1", "2001::1", "fec0::1",
	}
	public := []string{"93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "8.8.8.8", "::ffff:8.8.8.8"}
	check := func(allow bool, list []string, want error) {
		for _, text := range list {
			address := netip.AddrPortFrom(netip.MustParseAddr(text), 443).String()
			require.ErrorIs(t, guard(allow)("tcp", address, nil), want, text)
		}
	}
	check(false, never, errNeverAddress)
	check(true, never, errNeverAddress)
	check(false, private, errPrivateAddress)
	check(true, private, nil)
	check(false, public, nil)
	require.ErrorIs(t, guard(true)("tcp", "[fe80::1%eth0]:443", nil), errNeverAddress)
	require.ErrorIs(t, guard(true)("unix", "/run/docker.sock", nil), errNeverAddress)
}

func TestRetryAfterIsClamped(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "soon": 0, "30": 30 * time.Second, "-1": time.Second, "0": time.Second, "1000000000": time.Hour,
		"Thu, 01 Jan 2026 00:05:00 GMT": 5 * time.Minute, "Wed, 31 Dec 2025 00:00:00 GMT": time.Second,
	} {
		require.Equal(t, want, retryAfter(text, now), text)
	}
}
