package resource

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/schedule"
)

// estimating names the providers whose warehouses say before a query runs what it would scan.
//
//nolint:gochecknoglobals // never changed
var estimating = []string{"bigquery"}

// maxAfter bounds how many syncs one may wait for.
const maxAfter = 64

// ResourceKind answers KindSync.
func (*Sync) ResourceKind() Kind { return KindSync }

// Normalize fills in what was left out: a sync is a draft until it is activated, and healthy until it is not.
func (s *Sync) Normalize() {
	s.normalize()
	if s.State == "" {
		s.State = Draft
	}
	if s.Status == "" {
		s.Status = Healthy
	}
}

// FeedID answers the feed that s writes as.
func (s *Sync) FeedID() string {
	if s.Feed == "" {
		return DefaultFeed
	}
	return s.Feed
}

// Validate reports every rule that s breaks by itself. Snapshot.Validate looks at it together with its parts.
func (s *Sync) Validate() []fault.Violation {
	c := newFaults(s)
	c.meta(s.Meta)
	c.reference("data_model", s.DataModel, true)
	c.reference("mapping", s.Mapping, false)
	c.reference("feed", s.Feed, false)
	c.oneOf("mode", string(s.Mode), true, string(Incremental), string(Full), string(Mirror))
	c.schedule(s.ID, s.Schedule)
	if !s.Until.IsZero() && !s.Until.After(s.From) {
		c.add("until", "let it lie after from", "is not after from")
	}
	c.duration("lookback", s.Lookback)
	c.duration("delay", s.Delay)
	c.duration("freshness", s.Freshness)
	c.oneOf("state", string(s.State), true, string(Draft), string(Active), string(Paused))
	if _, err := schedule.ParseLimit(s.TriggerLimit); err != nil {
		c.because("trigger_limit", s.TriggerLimit, err)
	}
	c.oneOf("drift.added", string(s.Drift.Added), false, string(DriftIgnore), string(DriftMap), string(DriftHold))
	c.oneOf("drift.dropped", string(s.Drift.Dropped), false, string(DriftHold))
	c.oneOf("drift.narrowed", string(s.Drift.Narrowed), false, string(DriftHold))
	c.oneOf("on_delete", string(s.OnDelete), false, string(Withdraw), string(DeleteProfile))
	c.oneOf("mirror_engine", string(s.MirrorEngine), false, string(RowIndex), string(Diff), string(Native))
	c.guard(s.Guard)
	if s.RejectLimit != (RejectLimit{}) {
		c.percent("reject_limit.percent", s.RejectLimit.Percent)
		c.atLeastZero("reject_limit.of", s.RejectLimit.Of)
	}
	c.atLeastZero("budget.bytes_scanned", s.Budget.BytesScanned)
	return c.out
}

func (f *faults) guard(g Guard) {
	for _, x := range []struct {
		field string
		limit *GuardLimit
	}{{"guard.deletes", g.Deletes}, {"guard.updates", g.Updates}, {"guard.nulls", g.Nulls}} {
		if x.limit != nil {
			f.percent(x.field+".max_percent", x.limit.MaxPercent)
			f.atLeastZero(x.field+".min_rows", x.limit.MinRows)
		}
	}
	if g.Rows != nil {
		f.percent("guard.rows.min_percent_of_average", g.Rows.MinPercentOfAverage)
	}
	f.oneOf("guard.on_breach", string(g.OnBreach), false, string(GuardHold), string(GuardNotify))
}

// percent reports what is no share above nothing, up to everything.
func (f *faults) percent(field string, v float64) {
	if !(v > 0 && v <= 100) { // NaN is neither
		f.add(field, "write a number above 0, at most 100", "is %g", v)
	}
}

func (f *faults) atLeastZero(field string, n int64) {
	if n < 0 {
		f.add(field, "write 0 or more", "is %d", n)
	}
}

func (f *faults) schedule(self string, s Schedule) {
	n := 0
	for _, given := range []bool{s.Every != "", s.Cron != "", !s.Once.IsZero(), len(s.After) > 0} {
		if given {
			n++
		}
	}
	if n > 1 {
		f.add("schedule", "keep one of every, cron, once and after", "has %d forms", n)
		return
	}
	if s.Every != "" {
		f.due("schedule.every", s.Every)(schedule.Every(s.Every, s.Start))
	}
	if s.Every == "" && !s.Start.IsZero() {
		f.add("schedule.start", "remove it", "goes with every only")
	}
	if s.Cron == "" && s.TimeZone != "" {
		f.add("schedule.time_zone", "remove it", "goes with cron only")
	}
	f.zone("schedule.time_zone", s.TimeZone)
	zone := s.TimeZone
	if _, err := time.LoadLocation(zone); err != nil {
		zone = "" // is said above
	}
	if s.Cron != "" {
		f.due("schedule.cron", s.Cron)(schedule.Cron(s.Cron, zone))
	}
	f.after(self, s.After)
}

// due reports why a schedule cannot be read, or that it never falls due.
func (f *faults) due(field, text string) func(schedule.Schedule, error) {
	return func(s schedule.Schedule, err error) {
		if err != nil {
			f.because(field, text, err)
			return
		}
		if _, ever := s.Next(time.Unix(0, 0)); !ever {
			f.add(field, "choose days that exist", "%q is never due", clip(text))
		}
	}
}

// because reports an error of the form `what; do this`.
func (f *faults) because(field, text string, err error) {
	what, fix, _ := strings.Cut(err.Error(), "; ")
	f.add(field, fix, "%q is %s", clip(text), what)
}

func (f *faults) after(self string, syncs []string) {
	if len(syncs) > maxAfter {
		f.add("schedule.after", fmt.Sprintf("name at most %d", maxAfter), "names %d syncs", len(syncs))
		return
	}
	seen := map[string]bool{}
	for i, id := range syncs {
		field := fmt.Sprintf("schedule.after[%d]", i)
		f.reference(field, id, true)
		switch {
		case id == self && id != "":
			f.add(field, "name other syncs", "a sync cannot wait for itself")
		case seen[id]:
			f.add(field, "name each sync once", "%q stands there twice", clip(id))
		}
		seen[id] = true
	}
}

// Validate reports what does not go together: the rows of the table of modes and kinds that a sync breaks. Each part is
// taken to be valid by itself.
func (s *Snapshot) Validate() []fault.Violation {
	c := newFaults(&s.Sync)
	m := newFaults(&s.DataModel)
	switch s.Sync.Mode {
	case Incremental:
		if s.DataModel.Iterator.Column == "" && (s.DataModel.Kind != Lookup && s.DataModel.Kind != ProfileHistory) {
			m.add("iterator", fmt.Sprintf("add iterator: {column: …, type: …}, or give sync %s mode full", s.Sync.ID), "is missing, and sync %s is incremental", s.Sync.ID)
		}
	case Full:
		if s.DataModel.Kind == Events && len(s.DataModel.KeyColumns) == 0 {
			m.add("key_columns", fmt.Sprintf("name the columns that tell events apart, or give sync %s mode incremental", s.Sync.ID), "is missing, and sync %s reads events in mode full", s.Sync.ID)
		}
	case Mirror:
		if len(s.DataModel.KeyColumns) == 0 {
			m.add("key_columns", fmt.Sprintf("name the columns that tell rows apart, or give sync %s another mode", s.Sync.ID), "is missing, and sync %s is a mirror: without keys nobody knows which row is gone", s.Sync.ID)
		}
	}
	if why := refused(s.Sync.Mode, s.DataModel.Kind); why != "" {
		c.add("mode", why, "is %s, which does not go with records of kind %s", s.Sync.Mode, s.DataModel.Kind)
	}
	if s.Sync.OnDelete == DeleteProfile && s.DataModel.Kind != Users {
		c.add("on_delete", "use withdraw", "is delete_profile, and the data model's records are %s: only rows of users have a profile to delete", s.DataModel.Kind)
	}
	if e := s.Sync.MirrorEngine; s.Sync.Mode == Mirror && !e.OfferedBy(s.Connection.Provider()) {
		c.add("mirror_engine", "use row_index, which goes with any warehouse and asks for no right to write",
			"is %s, which a connection of %s does not offer, only of %s", e, s.Connection.Provider(), strings.Join(offering[e], ", "))
	}
	if s.Mapping == nil && s.DataModel.Kind == Events {
		c.add("mapping", "name a mapping; events are not mapped by name", "is missing, and the data model's records are events")
	}
	if s.Mapping != nil && s.Mapping.Events != nil && s.DataModel.Kind != Events {
		c.add("mapping", "use a mapping with rules", "mapping %s is for events, and the data model's records are %s", s.Mapping.ID, s.DataModel.Kind)
	}
	if s.Sync.Drift.Added == DriftMap && s.Mapping != nil && !s.Mapping.takesRest() {
		c.add("drift.added", "add {column: $unmapped, to: …} to the mapping, or use ignore or hold", "is map, and mapping %s has no rule for columns that it does not name", s.Mapping.ID)
	}
	return append(m.out, c.out...)
}

// Notes answers what its owner should know of a valid sync: settings that its mode or its warehouse does not use.
func (s *Snapshot) Notes() []string {
	var notes []string
	unused := func(field string, given bool) {
		if given {
			notes = append(notes, field+" is not used in mode "+string(s.Sync.Mode))
		}
	}
	if p := s.Connection.Provider(); s.Sync.Budget != (Budget{}) && !slices.Contains(estimating, p) {
		notes = append(notes, "budget is not used: connections of "+p+" do not estimate what a query scans, only those of "+strings.Join(estimating, ", "))
	}
	if every, err := ParseDuration(s.Sync.Schedule.Every); err == nil && s.Sync.Freshness > 0 && s.Sync.Freshness <= every {
		notes = append(notes, "freshness is not longer than schedule.every, so that the sync is late before each run")
	}
	unused("mirror_engine", s.Sync.MirrorEngine != "" && s.Sync.Mode != Mirror)
	unused("on_delete", s.Sync.OnDelete != "" && s.Sync.Mode != Mirror)
	if !s.Sync.Mode.ReadsAll() {
		return notes
	}
	unused("lookback", s.Sync.Lookback != 0)
	unused("delay", s.Sync.Delay != 0)
	return notes
}
