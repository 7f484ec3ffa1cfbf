package ingestion

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
)

// GetLookupRow answers a row of a lookup table.
func (s *server) GetLookupRow(ctx context.Context, r *ingestionv1.GetLookupRowRequest) (*ingestionv1.GetLookupRowResponse, error) {
	switch {
	case r.GetDataModel() == "":
		return nil, missing("data_model", "name the table by the id of its data model")
	case len(r.GetKeyValues()) == 0:
		return nil, missing("key_values", "give the values of the key columns")
	}
	scope := scopeOf(r)
	tables, err := s.tablesOf(ctx, scope, r.GetDataModel())
	if err != nil {
		return nil, err
	}
	e, err := s.lookupRow(ctx, scope, tables, strings.Join(r.GetKeyValues(), record.KeySeparator))
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "the lookup table of data model %s has no row of this key in the %s data of workspace %s",
			r.GetDataModel(), scope.Environment, scope.Workspace)
	}
	return &ingestionv1.GetLookupRowResponse{Row: &ingestionv1.LookupRow{
		DataModel: r.GetDataModel(), KeyValues: keyValues(e.From.KeyValues), Row: toValue(e.Data).GetStructValue(), Provenance: toProvenance(e.From),
	}}, nil
}

// lookupTable is a lookup table as a sync fills it.
type lookupTable struct {
	sync       id.Sync
	generation int64 // that readers see
}

// tablesOf answers the tables that the syncs of a data model fill, less those that were never filled.
func (s *server) tablesOf(ctx context.Context, scope profile.Scope, model string) ([]lookupTable, error) {
	var out []lookupTable
	err := pages(func(token string) (string, error) {
		r, err := s.peers.config.ListSyncs(ctx, &configv1.ListSyncsRequest{Workspace: string(scope.Workspace), PageSize: 1000, PageToken: token})
		if err != nil {
			return "", fmt.Errorf("list the syncs of data model %s: %w", model, fault.FromStatus(err))
		}
		for _, x := range r.GetSyncs() {
			if x.GetDataModel() != model {
				continue
			}
			t, err := s.tableOf(ctx, scope.Workspace, x)
			if err != nil {
				return "", err
			}
			out = append(out, t)
		}
		return r.GetNextPageToken(), nil
	})
	return out, err
}

func (s *server) tableOf(ctx context.Context, w id.Workspace, x *configv1.Sync) (t lookupTable, err error) {
	if t.sync, err = id.ParseSync(x.GetMeta().GetUid()); err != nil {
		return t, fault.New(fault.Internal, fault.ReasonInternal, "sync %s: %w", x.GetMeta().GetId(), err)
	}
	if x.GetMode() == configv1.Mode_MODE_FULL {
		t.generation, err = s.peers.generation(ctx, w, x.GetMeta().GetId())
	}
	return t, err
}

// lookupRow answers the row of a key, of the first table that has it; nil where none does.
func (s *server) lookupRow(ctx context.Context, scope profile.Scope, tables []lookupTable, key string) (*profile.Event, error) {
	for _, t := range tables {
		in := scope.Lookup(t.sync)
		var found *profile.Event
		err := pages(func(token string) (string, error) {
			docs, next, err := s.store.ProfileEvents(ctx, in, profile.LookupKey(in, key), token, historyPage)
			if err != nil {
				return "", fmt.Errorf("read a lookup row: %w", err)
			}
			for _, d := range docs {
				if d.Key.Time != t.generation {
					continue
				}
				e, err := profile.DecodeEvent(d.Doc)
				if err != nil {
					return "", err //nolint:wrapcheck // classified by profile
				}
				if e.From.KeyValues == key {
					found = &e
					return "", nil
				}
			}
			return next, nil
		})
		if err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// enrich adds to events the lookup rows that their fields name.
func (s *server) enrich(ctx context.Context, scope profile.Scope, events []*ingestionv1.Event) error {
	if len(events) == 0 {
		return nil
	}
	d, err := s.peers.declared(ctx, scope.Workspace)
	if err != nil {
		return err
	}
	for _, m := range d.lookups {
		if len(m.GetEnrich()) == 0 {
			continue
		}
		if err := s.enrichBy(ctx, scope, m, events); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) enrichBy(ctx context.Context, scope profile.Scope, m *configv1.DataModel, events []*ingestionv1.Event) error {
	var tables []lookupTable
	rows := map[string]*structpb.Struct{}
	for _, e := range events {
		key := keyOf(e.GetData(), m.GetEnrich())
		if key == "" {
			continue
		}
		if tables == nil {
			var err error
			if tables, err = s.tablesOf(ctx, scope, m.GetMeta().GetId()); err != nil {
				return err
			}
		}
		row, known := rows[key]
		if !known {
			found, err := s.lookupRow(ctx, scope, tables, key)
			if err != nil {
				return err
			}
			if found != nil {
				row = toValue(found.Data).GetStructValue()
			}
			rows[key] = row
		}
		if row == nil {
			continue
		}
		if e.Lookups == nil {
			e.Lookups = map[string]*structpb.Struct{}
		}
		e.Lookups[m.GetMeta().GetId()] = row
	}
	return nil
}

// keyOf answers the text of the first of the fields that an event has a value in.
func keyOf(data *structpb.Struct, paths []string) string {
	for _, path := range paths {
		v := structpb.NewStructValue(data)
		for name := range strings.SplitSeq(strings.TrimPrefix(path, "data."), ".") {
			v = v.GetStructValue().GetFields()[name]
		}
		switch x := v.GetKind().(type) {
		case *structpb.Value_StringValue:
			return x.StringValue
		case *structpb.Value_NumberValue:
			return string(record.AppendFloat(nil, x.NumberValue))
		case *structpb.Value_BoolValue:
			return fmt.Sprint(x.BoolValue)
		}
	}
	return ""
}
