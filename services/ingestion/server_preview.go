package ingestion

import (
	"context"
	"fmt"
	"math"
	"time"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/wire"
)

// maxPreview bounds the records of a preview.
const maxPreview = 1000

// PreviewRecords answers what each record would do, and the profile that would come of it. Nothing is written.
func (s *server) PreviewRecords(ctx context.Context, r *ingestionv1.PreviewRecordsRequest) (*ingestionv1.PreviewRecordsResponse, error) {
	o, b, err := wire.DecodeRecords(r.GetRecords(), s.settings.MaxBatch)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by wire
	}
	if b.Record.NumRows() > maxPreview {
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{
			Field: "records", Message: fmt.Sprintf("has %d records", b.Record.NumRows()), Fix: fmt.Sprintf("preview at most %d", maxPreview),
		}})
	}
	o.Workspace = id.Workspace(r.GetWorkspace()).Or()
	snapshot := resourcepb.OfSnapshot(r.GetSnapshot())
	if err := asNextRun(&o, snapshot); err != nil {
		return nil, err
	}
	scope, rules, err := s.termsOf(ctx, o, snapshot)
	if err != nil {
		return nil, err
	}
	rules.Explain = b.Kind != record.Groups && b.Kind != record.Lookup
	if rules.Typing, err = s.typing(ctx, b, scope, true); err != nil {
		return nil, err
	}
	keys := profile.KeysOf(b, o, scope, rules)
	state, err := s.store.Look(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("look records up: %w", err)
	}
	if err := store.Consult(ctx, s.store, keys, &state, rules); err != nil {
		return nil, fmt.Errorf("look records up: %w", err)
	}
	if err := s.lists.mark(ctx, keys, &state); err != nil {
		return nil, err
	}
	if state.Applied != nil || state.Fenced {
		return nil, fault.New(fault.Precondition, fault.ReasonInvalidArgument,
			"batch %s is no preview: a run has used it; preview under a run id of its own", o.Batch)
	}
	p := &preview{server: s, explained: rules.Explain, kind: b.Kind, scope: scope, keys: keys, state: state, effects: profile.Decide(b, keys, state, rules)}
	return p.answer(ctx, b)
}

// asNextRun gives the origin of sample rows what a run of the sync would give it from now on: the sync, and a place after
// every run before. Without a sync in the snapshot the origin stays as it is.
func asNextRun(o *record.Origin, s resource.Snapshot) error {
	if s.Sync.UID == "" {
		return nil
	}
	uid, err := id.ParseSync(s.Sync.UID)
	if err != nil {
		return fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: "snapshot.sync.meta.uid", Message: err.Error()}})
	}
	o.Sync, o.SyncID, o.SyncVersion = uid, s.Sync.ID, s.Version
	o.Full, o.Mirror = s.Sync.Mode.ReadsAll(), s.Sync.Mode == resource.Mirror
	o.RunNo, o.SnapshotTime = math.MaxInt64, time.Now()
	return nil
}

// preview is a PreviewRecords under way.
type preview struct {
	*server
	kind      record.Kind
	explained bool // the records are about people
	scope     profile.Scope
	keys      profile.Keys
	state     profile.State
	effects   profile.Effects
}

func (p *preview) answer(ctx context.Context, b record.Batch) (*ingestionv1.PreviewRecordsResponse, error) {
	entries := make(map[id.Row]profile.Entry, len(p.effects.Entries))
	for _, e := range p.effects.Entries {
		entries[e.Row] = e.Entry
	}
	refused := map[id.Row]bool{}
	for _, r := range p.effects.Rejects[len(b.Rejects):] {
		refused[r.Key] = true
	}
	profiles := map[id.Profile]*ingestionv1.Profile{}
	outcomes := p.outcomes()
	out := &ingestionv1.PreviewRecordsResponse{}
	if p.explained {
		out.Figures = p.figures()
	}
	for i := range p.keys.Len() {
		key := id.Row(p.keys.Rows.Value(i))
		effect, to := p.judge(i, entries[key], refused[key])
		x := &ingestionv1.PreviewedRecord{Effect: effect, Identity: outcomes[i]}
		if survivor := p.merged(to); survivor != 0 {
			to = survivor
		}
		if to != 0 && p.kind != record.Lookup {
			if profiles[to] == nil {
				var err error
				if profiles[to], err = p.would(ctx, to); err != nil {
					return nil, err
				}
			}
			if x.Profile = profiles[to]; p.kind == record.Groups {
				x.Profile, x.Group = nil, toGroup(x.Profile)
			}
		}
		out.Records = append(out.Records, x)
	}
	return out, nil
}

// merged answers what a profile would be merged into, 0 where it would not.
func (p *preview) merged(q id.Profile) (survivor id.Profile) {
	for _, l := range p.effects.Links {
		if l.Profile == q {
			q, survivor = l.Survivor, l.Survivor
		}
	}
	return survivor
}

// judge answers the effect of the record at i, in the words of counts, and the profile that it goes to. A row without an
// entry to write is what it was, refused, or protected.
func (p *preview) judge(i int, e profile.Entry, refused bool) (effect string, to id.Profile) {
	switch {
	case e.Found:
		return effectWord(e.Effect), e.Profile
	case p.state.Erased != nil && p.state.Erased[i]:
		return effectWord(profile.Protected), 0
	case refused:
		return effectWord(profile.Refused), 0
	case p.state.Entries[i].Found && !p.state.Entries[i].Tombstone:
		return effectWord(profile.Unchanged), p.state.Entries[i].Profile
	}
	for c := range p.state.Profiles {
		if to = p.state.Profiles[c][i]; to != 0 {
			break
		}
	}
	return effectWord(profile.Protected), to
}

// effectWord answers an effect as counts name it.
func effectWord(e profile.Effect) string {
	switch e {
	case profile.Created:
		return "created"
	case profile.Updated:
		return "updated"
	case profile.Deleted:
		return "deleted"
	case profile.Protected:
		return "protected"
	case profile.Refused:
		return "refused"
	case profile.Unchanged, profile.NoEffect:
	}
	return "unchanged"
}
