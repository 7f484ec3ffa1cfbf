package config

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"millrace.dev/pkg/resource"
)

// explain adds to each line of a plan what it means for the next runs, and which settings a mode does not use.
func (a *application) explain(ctx context.Context, v *view) error {
	affected, err := v.affected(ctx)
	if err != nil {
		return err
	}
	for _, k := range affected {
		after, whole, err := v.snapshot(ctx, k)
		if err != nil {
			return err
		}
		if !whole {
			continue
		}
		before, was, err := assemble(ctx, k, v.before)
		if err != nil {
			return err
		}
		notes := after.Notes()
		if was {
			notes = append(meaning(before, after), notes...)
		} else {
			notes = append(firstRun(after), notes...)
		}
		a.note(after, notes)
	}
	return nil
}

// note puts notes on a sync's own line, or else on that of the first changed part of it.
func (a *application) note(s resource.Snapshot, notes []string) {
	for i, k := range partsOf(s) {
		at := slices.IndexFunc(a.lines, func(l planned) bool { return l.key == k && (i == 0 || l.action != unchanged) })
		if at < 0 {
			continue
		}
		for _, n := range notes {
			if i > 0 {
				n = "sync " + s.Sync.ID + ": " + n
			}
			a.lines[at].notes = append(a.lines[at].notes, n)
		}
		return
	}
}

func firstRun(s resource.Snapshot) []string {
	from := ""
	if !s.Sync.From.IsZero() {
		from = " from " + s.Sync.From.Format("2006-01-02T15:04:05Z07:00") + " on"
	}
	switch s.Sync.State {
	case resource.Active:
		return []string{"the first run reads everything" + from}
	case resource.Draft:
		return []string{fmt.Sprintf("stays a draft until `millrace syncs activate %s`", s.Sync.ID)}
	default:
		return []string{fmt.Sprintf("stays paused until `millrace syncs resume %s`", s.Sync.ID)}
	}
}

// meaning answers what a change of a sync, or of what it is made of, means for its next run.
func meaning(a, b resource.Snapshot) []string {
	var out []string
	full := fmt.Sprintf("`millrace run %s --full`", b.Sync.ID)
	say := func(changed bool, format string, args ...any) {
		if changed {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	say(address(a.Connection) != address(b.Connection) || a.Connection.ID != b.Connection.ID,
		"the next run reads from the new address; where that is another warehouse, %s brings its rows over", full)
	say(a.DataModel.SQL != b.DataModel.SQL || a.DataModel.Table != b.DataModel.Table,
		"the next run reads with the new query from its checkpoint on; %s judges the rows below it again", full)
	say(!slices.Equal(a.DataModel.KeyColumns, b.DataModel.KeyColumns),
		"rows get new keys, so that rows seen before count as created when they are read again")
	say(a.DataModel.Iterator != b.DataModel.Iterator,
		"the checkpoint was of the iterator as it was; %s reads everything by the new one", full)
	say(a.DataModel.Kind != b.DataModel.Kind, "the next run makes %s of its rows; %s stay as they are", b.DataModel.Kind, a.DataModel.Kind)
	say(rulesOf(a) != rulesOf(b), "the next run maps the rows that it reads by the new rules; %s maps all rows again and updates those whose result differs", full)
	say(a.Sync.Mode != b.Sync.Mode, "the next run is %s", b.Sync.Mode)
	say(!a.Sync.From.Equal(b.Sync.From), "history starts elsewhere; %s reads it", full)
	say(a.Feed.ID != b.Feed.ID || a.Feed.Environment != b.Feed.Environment || a.Feed.Protection != b.Feed.Protection,
		"the next run writes as feed %s (%s, %s)", b.Feed.ID, b.Feed.Environment, b.Feed.Protection)
	say(essence(&resource.Sync{Schedule: a.Sync.Schedule}) != essence(&resource.Sync{Schedule: b.Sync.Schedule}), "due by the new schedule from now on")
	say(a.Sync.State != b.Sync.State && b.Sync.State == resource.Active, "takes part in its schedule from now on")
	say(a.Sync.State != b.Sync.State && b.Sync.State != resource.Active, "takes no scheduled runs; an open run goes on")
	return out
}

// address answers where a connection leads, without credentials.
func address(c resource.Connection) string {
	switch {
	case c.DuckDB != nil:
		return c.DuckDB.Path
	case c.Postgres != nil:
		return fmt.Sprintf("%s:%d/%s", c.Postgres.Host, c.Postgres.Port, c.Postgres.Database)
	case c.Redshift != nil:
		return fmt.Sprintf("%s:%d/%s", c.Redshift.Host, c.Redshift.Port, c.Redshift.Database)
	case c.Databricks != nil:
		return fmt.Sprintf("%s:%d/%s.%s", c.Databricks.Host, c.Databricks.Port, c.Databricks.Catalog, c.Databricks.Schema)
	case c.DeltaSharing != nil:
		return c.DeltaSharing.Share + "." + c.DeltaSharing.Schema
	case c.Snowflake != nil:
		return c.Snowflake.Address() + "/" + c.Snowflake.Database
	case c.BigQuery != nil:
		return strings.Trim(c.BigQuery.ProjectID+"."+c.BigQuery.DatasetID, ".")
	default:
		return ""
	}
}

// rulesOf answers a mapping's rules as a text to compare.
func rulesOf(s resource.Snapshot) string {
	if s.Mapping == nil {
		return ""
	}
	return essence(&resource.Mapping{Rules: s.Mapping.Rules, Events: s.Mapping.Events})
}
