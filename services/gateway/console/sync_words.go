package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/guard"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

// ruleRow is a line of a mapping: what is taken, where it goes, and how. Rules of an object are a step deeper.
type ruleRow struct {
	Depth    int // of the indent, 0 to 4
	What     string
	Value    string // what is taken
	To       string
	Options  []string
	IsObject bool
}

// rulesOf answers the lines of a mapping, at most n, and how many more there are.
func rulesOf(m *configv1.Mapping, n int) ([]ruleRow, int) {
	var out []ruleRow
	if e := m.GetEvents(); e != nil {
		out = eventRules(e)
	}
	out = addRules(out, m.GetRules(), 0)
	return out[:min(len(out), n)], max(len(out)-n, 0)
}

const mostIndent = 4

func addRules(out []ruleRow, rules []*configv1.Rule, depth int) []ruleRow {
	for _, r := range rules {
		out = append(out, ruleOf(r, min(depth, mostIndent)))
		out = addRules(out, r.GetRules(), depth+1)
	}
	return out
}

func ruleOf(r *configv1.Rule, depth int) ruleRow {
	row := ruleRow{Depth: depth, To: r.GetTo()}
	switch {
	case r.GetObject() != "":
		row.What, row.To, row.IsObject = "object", r.GetObject(), true
	case r.GetIgnore() != "":
		row.What, row.Value = "ignored column", r.GetIgnore()
	case r.GetExpression() != "":
		row.What, row.Value = "expression", r.GetExpression()
	case r.GetStatic() != nil:
		row.What, row.Value = "static value", valueText(r.GetStatic())
	case r.GetColumn() == "$unmapped":
		row.What, row.Value = "all other columns", r.GetColumn()
	default:
		row.What, row.Value = "column", r.GetColumn()
	}
	if r.GetType() != "" {
		row.Options = append(row.Options, "as "+r.GetType())
	}
	if len(r.GetTransform()) > 0 {
		row.Options = append(row.Options, strings.Join(r.GetTransform(), ", "))
	}
	if r.GetDefault() != nil {
		row.Options = append(row.Options, "NULL becomes "+valueText(r.GetDefault()))
	}
	if r.GetOnNull() == "clear" {
		row.Options = append(row.Options, "NULL clears")
	}
	if r.GetOnLoss() != "" {
		row.Options = append(row.Options, "on loss of precision: "+r.GetOnLoss())
	}
	return row
}

// eventRules answers Mixpanel's short form as rules.
func eventRules(e *configv1.EventsMapping) []ruleRow {
	out := []ruleRow{{What: "column", Value: e.GetTime(), To: "time"}}
	if e.GetNameStatic() != "" {
		out = append(out, ruleRow{What: "static value", Value: e.GetNameStatic(), To: "name"})
	} else {
		out = append(out, ruleRow{What: "column", Value: e.GetName(), To: "name"})
	}
	for _, f := range [][2]string{{e.GetUserId(), "user_id"}, {e.GetDeviceId(), "device_id"}, {e.GetProperties(), "properties"}} {
		if f[0] != "" {
			out = append(out, ruleRow{What: "column", Value: f[0], To: f[1]})
		}
	}
	return append(out, ruleRow{What: "all other columns", To: "properties"})
}

// valueText answers a value as one line: text as it is, all else as JSON.
func valueText(v *structpb.Value) string {
	switch k := v.GetKind().(type) {
	case nil:
		return ""
	case *structpb.Value_StringValue:
		return k.StringValue
	case *structpb.Value_NullValue:
		return "null"
	case *structpb.Value_BoolValue:
		return strconv.FormatBool(k.BoolValue)
	case *structpb.Value_NumberValue:
		return strconv.FormatFloat(k.NumberValue, 'f', -1, 64)
	}
	return jsonText(v.AsInterface())
}

// jsonText answers a value as JSON on one line, for people: < stays <.
func jsonText(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "(can not be shown)"
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// syncSetting is a setting of a sync in words.
type syncSetting struct{ Name, Value string }

// settingsOf answers what a run of a sync goes by, defaults included, less what its mode does not use.
func settingsOf(s *configv1.Sync, m *configv1.DataModel) []syncSetting {
	mirror := s.GetMode() == configv1.Mode_MODE_MIRROR
	incremental := s.GetMode() == configv1.Mode_MODE_INCREMENTAL
	out := []syncSetting{{"Mode", modeText(s.GetMode())}}
	add := func(on bool, name, value, otherwise string) {
		if value == "" {
			value = otherwise
		}
		if on && value != "" {
			out = append(out, syncSetting{name, value})
		}
	}
	add(mirror, "Finds changes by", engineText(s.GetMirrorEngine()), "")
	add(mirror, "A row that is gone", onDeleteText(s.GetOnDelete()), "")
	add(incremental, "Reads from", day(s.GetFrom()), "the beginning")
	add(incremental, "Reads until", day(s.GetUntil()), "")
	add(incremental, "Reads again", s.GetLookback(), "nothing: rows that come late are counted")
	add(incremental, "Stays behind", s.GetDelay(), "")
	add(true, "Late when its data is older than", s.GetFreshness(), "no goal")
	add(true, "Triggers at most", s.GetTriggerLimit(), "")
	own := resourcepb.OfSync(s)
	add(true, "Guard", guardText(guard.Of(own.Guard, own.Mode, resourcepb.OfDataModel(m).Kind)), "none")
	add(true, "Columns that change", driftText(s.GetDrift()), "")
	if l := s.GetRejectLimit(); l.GetPercent() > 0 || l.GetOf() > 0 {
		add(true, "Reject limit", fmt.Sprintf("held above %s %% rejected, of %s rows or more", decimal(l.GetPercent()), number(l.GetOf())), "")
	} else {
		add(true, "Reject limit", "", "none")
	}
	if b := s.GetBudget().GetBytesScanned(); b > 0 {
		add(true, "Budget of a run", byteSize(b)+" scanned, by the warehouse's estimate", "")
	} else {
		add(true, "Budget of a run", "", "none")
	}
	for _, k := range slices.Sorted(maps.Keys(s.GetMeta().GetLabels())) {
		add(true, "Label "+k, s.GetMeta().GetLabels()[k], "(empty)")
	}
	return out
}

func modeText(m configv1.Mode) string {
	switch m {
	case configv1.Mode_MODE_INCREMENTAL:
		return "incremental: what is new since the last run"
	case configv1.Mode_MODE_FULL:
		return "full: everything, each run"
	case configv1.Mode_MODE_MIRROR:
		return "mirror: everything, and rows that are gone are deleted"
	default:
		return say(m)
	}
}

func engineText(e configv1.MirrorEngine) string {
	switch e {
	case configv1.MirrorEngine_MIRROR_ENGINE_DIFF:
		return "a comparison in the warehouse (diff)"
	case configv1.MirrorEngine_MIRROR_ENGINE_NATIVE:
		return "the warehouse's own feed of changes (native)"
	default:
		return "Millrace's index of rows (row index)"
	}
}

func onDeleteText(d configv1.OnDelete) string {
	if d == configv1.OnDelete_ON_DELETE_DELETE_PROFILE {
		return "takes its whole profile with it"
	}
	return "takes with it what it brought"
}

// guardText says what a guard bounds; empty where that is nothing.
func guardText(g resource.Guard) string {
	var parts []string
	for _, l := range []struct {
		what  string
		limit *resource.GuardLimit
	}{{"deletes", g.Deletes}, {"updates", g.Updates}, {"NULLs of a column", g.Nulls}} {
		if l.limit != nil {
			parts = append(parts, fmt.Sprintf("%s: more than %s %% and more than %s rows", l.what, decimal(l.limit.MaxPercent), number(l.limit.MinRows)))
		}
	}
	if g.Rows != nil {
		parts = append(parts, fmt.Sprintf("rows: fewer than %s %% of the average", decimal(g.Rows.MinPercentOfAverage)))
	}
	if len(parts) == 0 {
		return ""
	}
	act := "holds the run"
	if g.OnBreach == resource.GuardNotify {
		act = "tells its owner"
	}
	return act + " at " + strings.Join(parts, "; ")
}

func driftText(d *configv1.Drift) string {
	added := "are left out"
	switch d.GetAdded() {
	case configv1.DriftPolicy_DRIFT_POLICY_MAP:
		added = "are mapped"
	case configv1.DriftPolicy_DRIFT_POLICY_HOLD:
		added = "hold the run"
	}
	return "new ones " + added + "; dropped or narrowed ones hold the run"
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// day answers an instant, midnight as a date.
func day(t *timestamppb.Timestamp) string {
	m := instant(t)
	if m == nil {
		return ""
	}
	return strings.TrimSuffix(m.UTC, " 00:00:00 UTC")
}
