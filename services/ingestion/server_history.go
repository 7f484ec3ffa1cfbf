package ingestion

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

// historyPage is how many versions are read at once.
const historyPage = 500

// asOf answers a profile as it is, or with a time, what its histories say of it then.
func (s *server) asOf(ctx context.Context, scope profile.Scope, f store.Family, at *timestamppb.Timestamp) (*ingestionv1.Profile, error) {
	now, err := toProfile(scope, f.Profile, f.Doc())
	if err != nil || at == nil {
		return now, err
	}
	versions, err := s.versions(ctx, scope, f)
	if err != nil {
		return nil, err
	}
	of, err := profile.AsOf(versions, at.AsTime().UnixMilli())
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by profile
	}
	then := emptyProfile(scope, now)
	for _, a := range of {
		then.UserAttributes.Fields[a.Name] = toValue(a.Value)
		then.Provenance[a.Name] = toProvenance(a.From)
	}
	return then, nil
}

// versions answers every version of every history of a profile, newest first.
func (s *server) versions(ctx context.Context, scope profile.Scope, f store.Family) ([]profile.EventWrite, error) {
	var out []profile.EventWrite
	err := pages(func(token string) (string, error) {
		docs, next, err := f.Events(ctx, s.store, scope.History(), token, historyPage)
		if err != nil {
			return "", fmt.Errorf("read the history of profile %s: %w", f.Profile, err)
		}
		for _, d := range docs {
			out = append(out, writeOf(d))
		}
		return next, nil
	})
	return out, err
}

func writeOf(d store.EventDoc) profile.EventWrite { return profile.EventWrite{Key: d.Key, Doc: d.Doc} }

func toProvenance(p profile.Provenance) *ingestionv1.Provenance {
	return &ingestionv1.Provenance{
		Sync: p.SyncID, Run: p.Batch.Run.String(), Batch: p.Batch.String(),
		KeyValues: keyValues(p.KeyValues), RowTime: toTime(p.RowTime()),
	}
}
