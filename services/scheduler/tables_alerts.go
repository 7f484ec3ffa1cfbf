package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/sqldb"
	"millrace.dev/services/scheduler/alerts"
)

func putChange(ctx context.Context, q sqldb.Querier, c alerts.Change) error {
	_, err := q.Exec(ctx, "INSERT INTO scheduler_changes (id, create_time, change) VALUES (?, ?, ?)", c.ID, sqldb.Micros(c.Time), encode(c))
	return err
}

// changeRow is a change that nothing has been made of yet.
type changeRow struct {
	alerts.Change        // of one that does not decode the id alone
	damage        string // why it does not decode; empty: it does
}

// changes answers the oldest changes that nothing has been made of yet. Their ids are those of their rows.
func changes(ctx context.Context, q sqldb.Querier, most int) ([]changeRow, error) {
	var out []changeRow
	err := q.Query(ctx, func(row sqldb.Row) error {
		var (
			c          changeRow
			name, text string
		)
		if err := row.Scan(&name, &text); err != nil {
			return err
		}
		if err := decode(text, &c.Change); err != nil {
			c = changeRow{damage: damageOf(err)}
		}
		c.ID = name
		out = append(out, c)
		return nil
	}, "SELECT id, change FROM scheduler_changes ORDER BY create_time, id LIMIT ?", most)
	return out, err
}

// damageOf says why a stored text does not decode, and nothing of what it holds.
func damageOf(err error) string {
	var (
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is no JSON from byte %d on", syntax.Offset)
	case errors.As(err, &typed):
		return fmt.Sprintf("its field %q is no %s", typed.Field, typed.Type)
	}
	return "one of its values is not of its field's form"
}

// changeID names a change of a sync by its number.
func changeID(syncUID string, n int64) string { return fmt.Sprintf("%s-%d", syncUID, n) }

// takeChange removes a change, and answers whether it was there still. One waits for the change before it of its sync, so
// that several processes keep the order.
func takeChange(ctx context.Context, q sqldb.Querier, c alerts.Change) (bool, error) {
	before := ""
	if i := strings.LastIndexByte(c.ID, '-'); i > 0 {
		if n, err := strconv.ParseInt(c.ID[i+1:], 10, 64); err == nil {
			before = changeID(c.ID[:i], n-1)
		}
	}
	n, err := q.Exec(ctx, "DELETE FROM scheduler_changes WHERE id = ? AND NOT EXISTS (SELECT 1 FROM scheduler_changes WHERE id = ?)", c.ID, before)
	return n == 1, err
}

// dropChanges removes the changes from before an instant, and answers how many there were.
func dropChanges(ctx context.Context, q sqldb.Querier, before time.Time) (int64, error) {
	return q.Exec(ctx, "DELETE FROM scheduler_changes WHERE create_time < ?", sqldb.Micros(before))
}

// messageRow is a message that is still to be sent.
type messageRow struct {
	ID        string
	Workspace id.Workspace
	Alert     string // its id
	Target    alerts.Target
	Body      string
	Tries     int64
	NotBefore time.Time
	Time      time.Time
}

// to names whom a message goes to; those to one are sent in their order.
func (m messageRow) to() [4]string {
	return [4]string{string(m.Workspace), m.Alert, m.Target.Kind, m.Target.Address}
}

const messageColumns = "id, workspace, alert, target, address, body, tries, not_before, create_time"

func putMessage(ctx context.Context, q sqldb.Querier, m messageRow) error {
	_, err := q.Exec(ctx, "INSERT INTO scheduler_messages ("+messageColumns+") VALUES ("+marks(9)+") ON CONFLICT DO NOTHING",
		m.ID, string(m.Workspace), m.Alert, m.Target.Kind, m.Target.Address, m.Body, m.Tries, sqldb.Micros(m.NotBefore), sqldb.Micros(m.Time))
	return err
}

// sendable chooses the messages to targets whose first may be sent, in the order of each target; the first of every target
// stands before the second of any, so that one that takes nothing keeps none from the others.
const sendable = `JOIN (SELECT id, ROW_NUMBER() OVER target_order AS place, FIRST_VALUE(not_before) OVER target_order AS head FROM scheduler_messages
		WINDOW target_order AS (PARTITION BY workspace, alert, target, address ORDER BY create_time, id)) AS queue USING (id)
	WHERE place <= ? AND (head <= ? OR head > ?) ORDER BY place, create_time, id LIMIT ?`

// messages answers the messages that may be sent now, `each` of a target and `most` together.
func messages(ctx context.Context, q sqldb.Querier, now time.Time, each, most int) ([]messageRow, error) {
	var out []messageRow
	err := q.Query(ctx, func(row sqldb.Row) error {
		var (
			m        messageRow
			wait, at int64
		)
		err := row.Scan(&m.ID, &m.Workspace, &m.Alert, &m.Target.Kind, &m.Target.Address, &m.Body, &m.Tries, &wait, &at)
		m.NotBefore, m.Time = sqldb.Time(wait), sqldb.Time(at)
		out = append(out, m)
		return err
	}, "SELECT "+messageColumns+" FROM scheduler_messages "+sendable, each, sqldb.Micros(now), sqldb.Micros(now.Add(2*maxAlertWait)), most)
	return out, err
}

func countMessages(ctx context.Context, q sqldb.Querier) (int64, error) {
	var n int64
	err := q.QueryRow(ctx, "SELECT COUNT(*) FROM scheduler_messages").Scan(&n)
	return n, err
}

// claim keeps a message from other processes until an instant, and answers whether it was free.
func claim(ctx context.Context, q sqldb.Querier, m messageRow, until time.Time) (bool, error) {
	n, err := q.Exec(ctx, "UPDATE scheduler_messages SET not_before = ? WHERE id = ? AND not_before = ?",
		sqldb.Micros(until), m.ID, sqldb.Micros(m.NotBefore))
	return n == 1, err
}

// delay keeps that a message was tried, and when it is tried again.
func delay(ctx context.Context, q sqldb.Querier, m messageRow, until time.Time) error {
	_, err := q.Exec(ctx, "UPDATE scheduler_messages SET tries = ?, not_before = ? WHERE id = ?", m.Tries, sqldb.Micros(until), m.ID)
	return err
}

func dropMessage(ctx context.Context, q sqldb.Querier, messageID string) error {
	_, err := q.Exec(ctx, "DELETE FROM scheduler_messages WHERE id = ?", messageID)
	return err
}
