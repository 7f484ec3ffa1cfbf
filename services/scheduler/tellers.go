package scheduler

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace.dev/pkg/app"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/secret"
	"millrace.dev/services/scheduler/alerts"
)

// sendTime bounds one attempt to send a message.
const sendTime = 10 * time.Second

// tellers send the messages of alerts. Safe for concurrent use.
type tellers struct {
	hooks   *alerts.Webhooks
	mails   *alerts.Mailer
	keys    *keyring
	console string // base of its pages, without a slash at the end; empty: none
}

func newTellers(keys string, set Settings) (tellers, error) {
	t := tellers{hooks: alerts.NewWebhooks(set.AlertsPrivate), keys: &keyring{uri: keys}, console: strings.TrimRight(set.ConsoleURL, "/")}
	if u, err := url.Parse(t.console); t.console != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil) {
		return t, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "console-url of the scheduler is no http or https URL; write it as https://host")
	}
	var err error
	t.mails, err = alerts.NewMailer(alerts.MailSettings{
		Addr: set.SMTPAddr, From: set.SMTPFrom, User: set.SMTPUser, PasswordFile: set.SMTPPasswordFile, TLS: set.SMTPTLS,
	})
	return t, err
}

// giveKeys says what to do where secrets can not be opened.
const giveKeys = "start the scheduler with --keys naming the key set that config seals with"

// warnOfKeys says what will not work where nobody has named a key set to a process that config is not in.
func warnOfKeys(ctx context.Context, env *app.Env) {
	if env.Shared.OwnKeys && !slices.Contains(env.Hosted, "config") {
		env.Log.WarnContext(ctx, "no key set of credentials is named, and config runs in another process: alerts can not be signed, and no webhook is sent, "+
			"unless config seals with the key set of this process; "+giveKeys, "keys", env.Shared.Keys)
	}
}

// send makes one attempt to bring a message to a target of an alert.
func (t tellers) send(ctx context.Context, a resource.Alert, to alerts.Target, messageID string, m alerts.Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	if to.Kind == alerts.ByEmail {
		return t.mails.Send(ctx, to.Address, messageID, m)
	}
	key, err := t.keys.signing(ctx, a)
	if err != nil {
		return err
	}
	return t.hooks.Send(ctx, a.Webhook.URL, key, messageID, m.Body())
}

// page answers the console's page about a message; empty where there is no console.
func (t tellers) page(m alerts.Message) string {
	if t.console == "" {
		return ""
	}
	base := t.console + "/w/" + url.PathEscape(m.Workspace)
	switch {
	case m.ID != "":
		return base + "/runs/" + url.PathEscape(m.ID)
	case m.Sync != "":
		return base + "/syncs/" + url.PathEscape(m.Sync)
	}
	return base + "/alerts"
}

// keyring is the key set of credentials, opened when it is first needed: a scheduler that signs nothing needs none.
type keyring struct {
	uri  string
	mu   sync.Mutex
	open *secret.Keyring
}

// signing answers the key that an alert's webhook is signed with. The error of a secret that can not be opened says what to do.
func (k *keyring) signing(ctx context.Context, a resource.Alert) ([]byte, error) {
	ring, err := k.get(ctx)
	if err != nil {
		return nil, err
	}
	hook := *a.Webhook // opened apart from what others read
	a.Webhook = &hook
	if err := ring.OpenSecrets(&a); err != nil {
		e := fault.New(fault.ClassOf(err), fault.ReasonOf(err), "the secret of alert %s cannot be opened with the scheduler's key set, so that nothing can be signed; %s, or set webhook.secret again", a.ID, giveKeys)
		e.Err = err
		return nil, e
	}
	return resource.SigningKey(hook.Secret.Plain)
}

func (k *keyring) get(ctx context.Context) (*secret.Keyring, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open != nil {
		return k.open, nil
	}
	ring, err := secret.Open(ctx, k.uri)
	if err == nil {
		k.open = ring
	}
	return ring, err
}
