package overlay

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"maps"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/store"
)

// Keep notes what a batch would do, with what its judge says of it, durably. Types are those that attributes would get.
// Conflict where another batch of the run was noted since Look; then look and decide again with a new overlay.
func (o *Overlay) Keep(ctx context.Context, e profile.Effects, types []profile.TypeWrite, said []byte) error {
	k := keeping{notes: make([]store.Note, 0, 2+len(e.Entries)+len(e.Identities)+len(e.Contributions))}
	if o.turn == 0 {
		k.json([]byte{noteOwner}, Owner{Workspace: o.origin.Workspace, Sync: o.origin.Sync, RunNo: o.origin.RunNo})
	}
	k.json(batchKey(e.Result.Batch), became{e.Result, said})
	for _, r := range e.EntriesGone {
		k.put(rowKey(r), appendEntry(profile.Entry{}))
	}
	for _, w := range e.Entries {
		k.put(rowKey(w.Row), appendEntry(w.Entry))
	}
	for _, w := range e.Unbound {
		k.put(bindingKey(w.Type, w.Value), writeProfile(0))
	}
	for _, w := range e.Identities {
		if w.Type != identity.MPID {
			k.put(bindingKey(w.Type, w.Value), writeProfile(w.Profile))
		}
	}
	if err := o.keepTypes(ctx, &k, types); err != nil {
		return err
	}
	if err := o.keepProfiles(ctx, &k, e); err != nil {
		return err
	}
	if k.err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "a note of a dry run can not be written: %w", k.err)
	}
	return o.Note(ctx, o.origin.Batch.Run, o.turn, k.once()) //nolint:wrapcheck // classified by the driver
}

// keeping gathers notes.
type keeping struct {
	notes []store.Note
	err   error
}

func (k *keeping) put(key, value []byte) {
	k.notes = append(k.notes, store.Note{Key: key, Value: value})
}

func (k *keeping) json(key []byte, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		k.err = err
	}
	k.put(key, b)
}

// once answers the last note of each key.
func (k *keeping) once() []store.Note {
	at := make(map[string]int, len(k.notes))
	out := k.notes[:0]
	for _, n := range k.notes {
		if i, there := at[string(n.Key)]; there {
			out[i] = n
			continue
		}
		at[string(n.Key)] = len(out)
		out = append(out, n)
	}
	return out
}

func (o *Overlay) keepTypes(ctx context.Context, k *keeping, types []profile.TypeWrite) error {
	if len(types) == 0 {
		return nil
	}
	mine, err := o.types(ctx)
	if err != nil {
		return err
	}
	all := make(map[string]profile.AttributeType, len(mine)+len(types))
	maps.Copy(all, mine)
	for _, w := range types {
		all[w.Name] = w.To
	}
	k.json([]byte{noteTypes}, all)
	return nil
}

// keepProfiles notes which profiles would come and go, and what they would hold where somebody reads it.
func (o *Overlay) keepProfiles(ctx context.Context, k *keeping, e profile.Effects) error {
	if o.lean {
		for _, p := range e.Born {
			k.put(profileKey(p), account{there: true}.bytes())
		}
		return nil
	}
	var order []id.Profile
	accounts := map[id.Profile]*account{}
	note := func(p id.Profile) {
		if accounts[p] == nil {
			accounts[p], order = &account{}, append(order, p)
		}
	}
	for _, p := range e.ProfilesGone {
		note(p)
	}
	for _, c := range e.Contributions {
		note(c.Profile)
	}
	keys := make([][]byte, len(order))
	for j, p := range order {
		keys[j] = profileKey(p)
	}
	values, err := o.noted(ctx, keys)
	if err != nil {
		return err
	}
	for j, p := range order {
		*accounts[p] = readAccount(values[j])
	}
	for _, p := range e.ProfilesGone {
		*accounts[p] = account{hidden: true}
	}
	for _, c := range e.Contributions {
		accounts[c.Profile].add(c.Doc)
	}
	for j, p := range order {
		k.put(keys[j], accounts[p].bytes())
	}
	return nil
}

func writeProfile(p id.Profile) []byte { return binary.BigEndian.AppendUint64(nil, uint64(p)) }

func readProfile(b []byte) (id.Profile, bool) {
	if len(b) != 8 {
		return 0, false
	}
	return id.Profile(binary.BigEndian.Uint64(b)), true
}
