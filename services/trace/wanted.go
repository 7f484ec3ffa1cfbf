package trace

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// How a configuration chooses among the traces that its other conditions hold of.
const (
	sampleAll    = "all"
	sampleErrors = "errors"
	sampleOneIn  = "one_in"
)

// config says which traces a workspace keeps.
type config struct {
	ID         string    `json:"id"`
	Syncs      []string  `json:"syncs,omitempty"`
	Feeds      []string  `json:"feeds,omitempty"`
	From       time.Time `json:"from,omitzero"`
	Until      time.Time `json:"until,omitzero"`
	Stages     []string  `json:"stages,omitempty"`
	Sampling   string    `json:"sampling"`
	OneIn      int32     `json:"one_in,omitempty"`
	CreateTime time.Time `json:"create_time"`
}

const (
	maxOneIn = 1_000_000
	maxNamed = 100 // syncs or feeds of one configuration
)

// validate reports every rule that a configuration breaks.
func (c config) validate() []fault.Violation {
	var out []fault.Violation
	bad := func(field, message, fix string) {
		out = append(out, fault.Violation{Field: "config." + field, Message: message, Fix: fix})
	}
	if !resource.ValidID(c.ID) {
		bad("id", "can not be an id", "ids match [a-z0-9_-]{1,64}")
	}
	for _, n := range []struct {
		field string
		ids   []string
	}{{"syncs", c.Syncs}, {"feeds", c.Feeds}} {
		if len(n.ids) > maxNamed {
			bad(n.field, fmt.Sprintf("has more than %d entries", maxNamed), "make a second configuration")
		}
		for i, name := range n.ids {
			if !resource.ValidID(name) {
				bad(fmt.Sprintf("%s[%d]", n.field, i), "can not be an id", "ids match [a-z0-9_-]{1,64}")
			}
		}
	}
	for i, stage := range c.Stages {
		if !slices.Contains(stages(), stage) {
			bad(fmt.Sprintf("stages[%d]", i), fmt.Sprintf("%q is no stage", stage), "name plan, extract, map, ingest or deliver")
		}
	}
	if !c.From.IsZero() && !c.Until.IsZero() && !c.From.Before(c.Until) {
		bad("until", "is not after from", "the time frame begins at from and ends before until")
	}
	switch {
	case c.Sampling == sampleOneIn && (c.OneIn < 2 || c.OneIn > maxOneIn):
		bad("one_in", "is not from 2 to 1,000,000", "say of how many traces one is kept")
	case c.Sampling != sampleOneIn && c.OneIn != 0:
		bad("one_in", "goes with sampling one_in alone", "leave it out, or choose one_in")
	}
	return out
}

// wants says whether a configuration wants a trace.
func (c config) wants(t summary) bool {
	if len(c.Syncs)+len(c.Feeds) > 0 && !slices.Contains(c.Syncs, t.SyncID) && !slices.Contains(c.Feeds, t.Feed) {
		return false
	}
	start := time.Unix(0, t.Start)
	if !c.From.IsZero() && start.Before(c.From) || !c.Until.IsZero() && !start.Before(c.Until) {
		return false
	}
	switch c.Sampling {
	case sampleErrors:
		return t.State == stateError
	case sampleOneIn:
		return ordinal(t.TraceID)%uint64(c.OneIn) == 0
	}
	return true
}

// ordinal answers the random half of a trace id as a number.
func ordinal(traceID string) uint64 {
	b, err := hex.DecodeString(traceID)
	if err != nil || len(b) != 16 {
		return 0
	}
	return binary.BigEndian.Uint64(b[8:])
}

// verdict is what the configurations of a workspace make of a trace.
type verdict struct {
	keep   bool
	stages []string // only spans of these, sorted; nil: all
}

// judge answers the verdict of a workspace's configurations, none of which keeps everything.
func judge(configs []config, t summary) verdict {
	if len(configs) == 0 {
		return verdict{keep: true}
	}
	var out verdict
	all := false
	for _, c := range configs {
		if !c.wants(t) {
			continue
		}
		out.keep = true
		all = all || len(c.Stages) == 0
		out.stages = append(out.stages, c.Stages...)
	}
	if all {
		out.stages = nil
	}
	slices.Sort(out.stages)
	out.stages = slices.Compact(out.stages)
	return out
}

// beyond answers the ids of the spans that are of none of the stages: a span without a stage is of that of the nearest
// span above it that has one, and one below none is kept.
func beyond(spans []span, wanted []string) []string {
	byID := make(map[string]*span, len(spans))
	for i := range spans {
		byID[spans[i].SpanID] = &spans[i]
	}
	var out []string
	for i := range spans {
		s := &spans[i]
		stage := s.stage()
		for p, hops := byID[s.ParentID], 0; stage == "" && p != nil && hops < len(spans); p, hops = byID[p.ParentID], hops+1 {
			stage = p.stage()
		}
		if stage != "" && !slices.Contains(wanted, stage) {
			out = append(out, s.SpanID)
		}
	}
	return out
}
