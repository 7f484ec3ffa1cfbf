package resourcepb

import (
	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
)

const (
	prefixGuard = "GUARD_ACTION_"
	prefixDrift = "DRIFT_POLICY_"
)

func toGuard(g resource.Guard) *configv1.Guard {
	if g.IsZero() {
		return nil
	}
	out := &configv1.Guard{
		Deletes: toGuardLimit(g.Deletes), Updates: toGuardLimit(g.Updates), Nulls: toGuardLimit(g.Nulls),
		OnBreach: configv1.GuardAction(enum(configv1.GuardAction_value, prefixGuard, string(g.OnBreach))),
	}
	if g.Rows != nil {
		out.Rows = &configv1.GuardRows{MinPercentOfAverage: g.Rows.MinPercentOfAverage}
	}
	return out
}

func ofGuard(g *configv1.Guard) resource.Guard {
	if g == nil {
		return resource.Guard{}
	}
	out := resource.Guard{
		Deletes: ofGuardLimit(g.GetDeletes()), Updates: ofGuardLimit(g.GetUpdates()), Nulls: ofGuardLimit(g.GetNulls()),
		OnBreach: resource.GuardAction(word(g.GetOnBreach().String(), prefixGuard)),
	}
	if g.GetRows() != nil {
		out.Rows = &resource.GuardRows{MinPercentOfAverage: g.GetRows().GetMinPercentOfAverage()}
	}
	return out
}

func toGuardLimit(l *resource.GuardLimit) *configv1.GuardLimit {
	if l == nil {
		return nil
	}
	return &configv1.GuardLimit{MaxPercent: l.MaxPercent, MinRows: l.MinRows}
}

func ofGuardLimit(l *configv1.GuardLimit) *resource.GuardLimit {
	if l == nil {
		return nil
	}
	return &resource.GuardLimit{MaxPercent: l.GetMaxPercent(), MinRows: l.GetMinRows()}
}

func toDrift(d resource.Drift) *configv1.Drift {
	if d == (resource.Drift{}) {
		return nil
	}
	policy := func(p resource.DriftPolicy) configv1.DriftPolicy {
		return configv1.DriftPolicy(enum(configv1.DriftPolicy_value, prefixDrift, string(p)))
	}
	return &configv1.Drift{Added: policy(d.Added), Dropped: policy(d.Dropped), Narrowed: policy(d.Narrowed)}
}

func ofDrift(d *configv1.Drift) resource.Drift {
	policy := func(p configv1.DriftPolicy) resource.DriftPolicy {
		return resource.DriftPolicy(word(p.String(), prefixDrift))
	}
	return resource.Drift{Added: policy(d.GetAdded()), Dropped: policy(d.GetDropped()), Narrowed: policy(d.GetNarrowed())}
}

func toBudget(b resource.Budget) *configv1.Budget {
	if b == (resource.Budget{}) {
		return nil
	}
	return &configv1.Budget{BytesScanned: b.BytesScanned}
}

func ofBudget(b *configv1.Budget) resource.Budget {
	return resource.Budget{BytesScanned: b.GetBytesScanned()}
}

func toRejectLimit(l resource.RejectLimit) *configv1.RejectLimit {
	if l == (resource.RejectLimit{}) {
		return nil
	}
	return &configv1.RejectLimit{Percent: l.Percent, Of: l.Of}
}

func ofRejectLimit(l *configv1.RejectLimit) resource.RejectLimit {
	return resource.RejectLimit{Percent: l.GetPercent(), Of: l.GetOf()}
}
