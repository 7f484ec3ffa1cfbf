package resourcepb

import (
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// CheckConnection reports what of a message OfConnection cannot hold.
func CheckConnection(c *configv1.Connection) []fault.Violation {
	vs := checkDuration(nil, "postgres.statement_timeout", c.GetPostgres().GetStatementTimeout())
	vs = checkDuration(vs, "redshift.statement_timeout", c.GetRedshift().GetStatementTimeout())
	vs = checkDuration(vs, "databricks.statement_timeout", c.GetDatabricks().GetStatementTimeout())
	vs = checkDuration(vs, "snowflake.statement_timeout", c.GetSnowflake().GetStatementTimeout())
	return checkDuration(vs, "bigquery.statement_timeout", c.GetBigquery().GetStatementTimeout())
}

// CheckDataModel reports what of a message OfDataModel cannot hold.
func CheckDataModel(m *configv1.DataModel) []fault.Violation {
	n := m.GetIterator().GetNulls()
	if _, ok := configv1.NullPolicy_name[int32(n)]; ok {
		return nil
	}
	return []fault.Violation{{Field: "iterator.nulls", Message: fmt.Sprintf("unknown policy %d", n), Fix: "use skip or read"}}
}

// CheckSync reports what of a message OfSync cannot hold.
func CheckSync(s *configv1.Sync) []fault.Violation {
	var vs []fault.Violation
	vs = checkDuration(vs, "lookback", s.GetLookback())
	vs = checkDuration(vs, "delay", s.GetDelay())
	vs = checkDuration(vs, "freshness", s.GetFreshness())
	vs = checkTime(vs, "from", s.GetFrom())
	vs = checkTime(vs, "until", s.GetUntil())
	vs = checkTime(vs, "schedule.start", s.GetSchedule().GetEvery().GetStart())
	vs = checkTime(vs, "schedule.once", s.GetSchedule().GetOnce())
	vs = checkPolicy(vs, "drift.added", s.GetDrift().GetAdded(), "use ignore, map or hold")
	vs = checkPolicy(vs, "drift.dropped", s.GetDrift().GetDropped(), "use hold")
	vs = checkPolicy(vs, "drift.narrowed", s.GetDrift().GetNarrowed(), "use hold")
	if n := s.GetGuard().GetOnBreach(); configv1.GuardAction_name[int32(n)] == "" {
		vs = append(vs, fault.Violation{Field: "guard.on_breach", Message: fmt.Sprintf("unknown action %d", n), Fix: "use hold or notify"})
	}
	switch w := s.GetSchedule().GetWhen().(type) {
	case *configv1.Schedule_Every:
		vs = checkGiven(vs, "schedule.every", w.Every.GetEvery() != "", "write a duration such as 15m, or hourly, daily, weekly, monthly")
	case *configv1.Schedule_Cron:
		vs = checkGiven(vs, "schedule.cron", w.Cron.GetExpression() != "", `write an expression such as "0 6 * * *"`)
	case *configv1.Schedule_After:
		vs = checkGiven(vs, "schedule.after", len(w.After.GetSyncs()) > 0, "name at least one sync")
	}
	return vs
}

func checkPolicy(vs []fault.Violation, field string, p configv1.DriftPolicy, fix string) []fault.Violation {
	if _, ok := configv1.DriftPolicy_name[int32(p)]; ok {
		return vs
	}
	return append(vs, fault.Violation{Field: field, Message: fmt.Sprintf("unknown policy %d", p), Fix: fix})
}

func checkDuration(vs []fault.Violation, field, text string) []fault.Violation {
	if text == "" {
		return vs
	}
	if _, err := resource.ParseDuration(text); err != nil {
		return append(vs, fault.Violation{Field: field, Message: fmt.Sprintf("%q is not a duration", text), Fix: "write 90s, 10m, 2h or 7d"})
	}
	return vs
}

func checkTime(vs []fault.Violation, field string, t *timestamppb.Timestamp) []fault.Violation {
	if t == nil || t.IsValid() {
		return vs
	}
	return append(vs, fault.Violation{Field: field, Message: "is no instant between the years 1 and 9999", Fix: "write RFC 3339"})
}

func checkGiven(vs []fault.Violation, field string, given bool, fix string) []fault.Violation {
	if given {
		return vs
	}
	return append(vs, fault.Violation{Field: field, Message: "is empty", Fix: fix})
}
