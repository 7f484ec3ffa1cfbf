package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/sqldb"
	"millrace.dev/services/scheduler/alerts"
)

// The outcomes of messages that are counted.
const (
	alertSent    = "sent"
	alertFailed  = "failed"   // an attempt; it is sent again
	alertGivenUp = "given_up" // for good
	alertDropped = "dropped"  // nobody is to be told any more, too many wait, or it can not be read (of no event then)
)

const (
	alertsAtOnce   = 8                // receivers that are sent to at once
	alertsRound    = 1000             // changes, and messages, of one round
	alertsEach     = 100              // messages of one round to one receiver
	alertsTime     = 15 * time.Second // after which a round sends no second message to a receiver
	maxMessages    = 10_000           // that wait to be sent
	maxAlertTries  = 100
	maxAlertWait   = time.Hour
	claimTime      = sendTime + 20*time.Second // after which a message whose sender died is sent again
	maxRejectsTime = 5 * time.Second
)

// alerter makes messages of changes and sends them. Runs do not wait for it. It is used by one goroutine.
type alerter struct {
	*Service
	troubled bool // the last round failed, which was said
	mute     bool // ingestion did not answer in this round, and is asked no more
}

// round does once what there is to do. What fails is tried in the next round; an outage is told once, and its end.
func (a *alerter) round(ctx context.Context) {
	err := a.once(ctx)
	if ctx.Err() != nil {
		return
	}
	switch {
	case err != nil && !a.troubled:
		a.log.WarnContext(ctx, "alerts can not be sent; it is tried again", "error", err)
	case err == nil && a.troubled:
		a.log.InfoContext(ctx, "alerts are sent again")
	}
	a.troubled = err != nil
}

func (a *alerter) once(ctx context.Context) error {
	a.mute = false
	fresh, err := changes(ctx, a.db, alertsRound)
	if err != nil {
		return err
	}
	waiting, err := a.waiting(ctx)
	if err != nil || len(fresh) == 0 && len(waiting) == 0 {
		return err
	}
	known, err := a.peers.alerts(ctx, "")
	if err != nil {
		return errors.Join(fmt.Errorf("ask config for the alerts: %w", err), a.forget(ctx))
	}
	for _, c := range fresh {
		if c.damage != "" {
			err = a.discardChange(ctx, c)
		} else {
			err = a.spread(ctx, c.Change, known[id.Workspace(c.Workspace)])
		}
		if err != nil {
			return err
		}
	}
	if len(fresh) > 0 {
		if waiting, err = a.waiting(ctx); err != nil {
			return err
		}
	}
	return a.sendAll(ctx, waiting, known)
}

// waiting answers the messages that may be sent now, by whom they go to, each list in its order and begun by one that is due.
func (a *alerter) waiting(ctx context.Context) ([][]messageRow, error) {
	n, err := countMessages(ctx, a.db)
	if err != nil {
		return nil, err
	}
	a.metrics.alertsWaiting.Set(float64(n))
	if n == 0 {
		return nil, nil
	}
	now, err := a.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	all, err := messages(ctx, a.db, now, alertsEach, alertsRound)
	if err != nil {
		return nil, err
	}
	at := map[[4]string]int{}
	var out [][]messageRow
	for _, m := range all {
		i, ok := at[m.to()]
		if !ok {
			i = len(out)
			at[m.to()] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], m)
	}
	return out, nil
}

// due says whether a message may be sent. An instant that is too far ahead is one of a clock that was wrong.
func (m messageRow) due(now time.Time) bool {
	return !m.NotBefore.After(now) || m.NotBefore.After(now.Add(2*maxAlertWait))
}

// spread makes the messages of a change, in place of it.
func (a *alerter) spread(ctx context.Context, c alerts.Change, known []resource.Alert) error {
	var out []messageRow
	asked := false
	for _, alert := range known {
		m, tells := alerts.Decide(alert, c)
		if !tells {
			continue
		}
		if !asked && c.Begins(resource.AlertPartiallySucceeded) {
			asked, c = true, a.withReject(ctx, c)
			m, _ = alerts.Decide(alert, c)
		}
		m.URL = a.tellers.page(m)
		for _, to := range alerts.Targets(alert) {
			out = append(out, messageRow{
				ID: alerts.MessageID(c.ID, alert.UID, to), Workspace: id.Workspace(c.Workspace), Alert: alert.ID, Target: to,
				Body: string(m.Body()), Time: c.Time,
			})
		}
	}
	var beyond []messageRow
	err := a.db.Tx(ctx, func(tx *sqldb.Tx) error {
		beyond = nil
		if mine, err := takeChange(ctx, tx, c); err != nil || !mine {
			return err
		}
		n, err := countMessages(ctx, tx)
		if err != nil {
			return err
		}
		for i, m := range out {
			if n+int64(i) >= maxMessages {
				beyond = out[i:]
				return nil
			}
			if err := putMessage(ctx, tx, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range beyond {
		a.log.ErrorContext(ctx, "too many alerts wait to be sent; one is dropped", "alert", m.Alert, "sync", c.Sync)
		a.count(m, alertDropped)
	}
	return nil
}

// discardChange drops a change that does not decode, in its turn: of those that follow it somebody is to be told.
func (a *alerter) discardChange(ctx context.Context, c changeRow) error {
	mine, err := takeChange(ctx, a.db, c.Change)
	if mine {
		a.log.ErrorContext(ctx, "a change can not be read and is dropped; nobody is told of it", "change", c.ID, "why", c.damage)
	}
	return err
}

// discardMessage drops a message that this process has claimed and that does not decode.
func (a *alerter) discardMessage(ctx context.Context, m messageRow, cause error) error {
	if err := dropMessage(ctx, a.db, m.ID); err != nil {
		return err
	}
	a.count(m, alertDropped)
	a.log.ErrorContext(ctx, "a message of an alert can not be read and is dropped", "message", m.ID, "alert", m.Alert, "target", m.Target.Kind, "why", damageOf(cause))
	return nil
}

// forget drops the changes that nobody could be told of in time, while nobody can be asked whom to tell.
func (a *alerter) forget(ctx context.Context) error {
	now, err := a.db.Now(ctx)
	if err != nil {
		return err
	}
	n, err := dropChanges(ctx, a.db, now.Add(-a.settings.AlertsGiveUp))
	if n > 0 {
		a.log.ErrorContext(ctx, "config could not be asked in time whom to tell of changes; they are dropped", "changes", n)
	}
	return err
}

// withReject answers a change with the most frequent reason of the run's rejects, where ingestion can be asked.
func (a *alerter) withReject(ctx context.Context, c alerts.Change) alerts.Change {
	if a.mute {
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, maxRejectsTime)
	defer cancel()
	words, err := a.peers.firstReject(ctx, id.Workspace(c.Workspace), c.Run.ID)
	if a.mute = err != nil; err != nil || words == "" {
		a.log.DebugContext(ctx, "the alert goes without the reason of the rejects", "run", c.Run.ID, "error", err)
		return c
	}
	c.Cause.Message += "; most of them: " + words
	return c
}

// sendAll sends what waits: to several receivers at once, to each in order, up to the first that is not taken, and one at
// least. What a slow one leaves is for the next round, which knows who is new and what has been edited meanwhile.
func (a *alerter) sendAll(ctx context.Context, waiting [][]messageRow, known map[id.Workspace][]resource.Alert) error {
	over := time.Now().Add(alertsTime)
	var g errgroup.Group
	g.SetLimit(alertsAtOnce)
	for _, list := range waiting {
		g.Go(func() error {
			for i, m := range list {
				if i > 0 && time.Now().After(over) {
					return nil
				}
				if sent, err := a.sendOne(ctx, m, known[m.Workspace]); err != nil || !sent {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// sendOne sends a message and answers whether the next may follow.
func (a *alerter) sendOne(ctx context.Context, m messageRow, known []resource.Alert) (bool, error) {
	now, err := a.db.Now(ctx)
	if err != nil || !m.due(now) {
		return false, err
	}
	if free, err := claim(ctx, a.db, m, now.Add(claimTime)); err != nil || !free {
		return false, err // another process sends it
	}
	for _, alert := range known {
		if alert.ID == m.Alert && alerts.Has(alert, m.Target) {
			return a.attempt(ctx, now, m, alert)
		}
	}
	a.count(m, alertDropped) // nobody is to be told any more
	return true, dropMessage(ctx, a.db, m.ID)
}

// attempt tries to send a message that this process has claimed, and answers whether the next may follow.
func (a *alerter) attempt(ctx context.Context, now time.Time, m messageRow, alert resource.Alert) (bool, error) {
	msg, err := alerts.ParseMessage([]byte(m.Body))
	if err != nil {
		return true, a.discardMessage(ctx, m, err)
	}
	err = a.tellers.send(ctx, alert, m.Target, m.ID, msg)
	m.Tries++
	facts := []any{"alert", m.Alert, "target", m.Target.Kind, "event", msg.Event, "sync", msg.Sync, "run", msg.ID, "tries", m.Tries}
	switch {
	case err == nil:
		a.count(m, alertSent)
		a.log.DebugContext(ctx, "alert sent", facts...)
		return true, dropMessage(ctx, a.db, m.ID)
	case ctx.Err() != nil:
		return false, ctx.Err()
	case fault.ClassOf(err) == fault.NotFound, m.Tries >= maxAlertTries, now.Sub(m.Time) > a.settings.AlertsGiveUp:
		a.count(m, alertGivenUp)
		a.log.ErrorContext(ctx, "an alert could not be sent and is given up", append(facts, "error", err)...)
		return true, dropMessage(ctx, a.db, m.ID)
	}
	a.count(m, alertFailed)
	if m.Tries == 1 {
		a.log.WarnContext(ctx, "an alert was not taken; it is sent again", append(facts, "error", err)...)
	}
	return false, delay(ctx, a.db, m, now.Add(alertWait(a.settings.AlertsBackoff, m.Tries, fault.As(err).RetryAfter)))
}

// alertWait answers how long to wait after n tries: doubled each time, with a jitter of half, and as long as is asked for.
func alertWait(first time.Duration, n int64, asked time.Duration) time.Duration {
	d := min(first, maxAlertWait)
	for i := int64(1); i < n && d < maxAlertWait; i++ {
		d *= 2
	}
	d = min(d, maxAlertWait)
	return max(d/2+rand.N(d/2+1), min(asked, maxAlertWait)) //nolint:gosec // jitter is no secret
}

func (a *alerter) count(m messageRow, outcome string) {
	event := ""
	if msg, err := alerts.ParseMessage([]byte(m.Body)); err == nil {
		event = msg.Event
	}
	a.metrics.alerts.WithLabelValues(event, m.Target.Kind, outcome).Inc()
}
