package config

import (
	"context"
	"fmt"
	"slices"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/sqldb"
)

// view is the resources of a workspace as they would be after some changes. Nothing is written before flush.
type view struct {
	tx        *sqldb.Tx
	workspace id.Workspace
	actor     string
	now       time.Time

	loaded    map[key]stored // as stored; nil resource where there is none
	changed   map[key]resource.Resource
	removed   map[key]bool
	order     []key        // changed and removed ones, in the order in which they were
	stateOnly map[key]bool // changed in nothing that a run goes by
}

type stored struct {
	resource.Resource
	revision int64
}

func newView(ctx context.Context, tx *sqldb.Tx, w id.Workspace, actor string) (*view, error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by sqldb
	}
	return &view{
		tx: tx, workspace: w, actor: actor, now: now, loaded: map[key]stored{},
		changed: map[key]resource.Resource{}, removed: map[key]bool{}, stateOnly: map[key]bool{},
	}, nil
}

// before answers a resource as stored, nil where there is none. It is not to be changed.
func (v *view) before(ctx context.Context, k key) (resource.Resource, error) {
	if s, ok := v.loaded[k]; ok {
		return s.Resource, nil
	}
	r, revision, err := load(ctx, v.tx, v.workspace, k)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", k, err)
	}
	v.loaded[k] = stored{r, revision}
	return r, nil
}

// get answers a resource as it would be, nil where there would be none. It is not to be changed.
func (v *view) get(ctx context.Context, k key) (resource.Resource, error) {
	if v.removed[k] {
		return nil, nil
	}
	if r, ok := v.changed[k]; ok {
		return r, nil
	}
	return v.before(ctx, k)
}

// must answers a resource as it would be, NotFound where there would be none.
func (v *view) must(ctx context.Context, k key) (resource.Resource, error) {
	r, err := v.get(ctx, k)
	if err == nil && r == nil {
		return nil, notFound(k)
	}
	return r, err
}

func notFound(k key) error {
	return fault.New(fault.NotFound, fault.ReasonNotFound, "there is no %s; list what there is, or create it", k)
}

// put changes a resource, or adds it. What the service gives is filled in: workspace, uid, etag, times and versions.
func (v *view) put(ctx context.Context, r resource.Resource) error {
	k := keyOf(r)
	old, err := v.before(ctx, k)
	if err != nil {
		return err
	}
	m := r.Head()
	m.Workspace, m.UpdateTime, m.UpdatedBy = v.workspace, v.now, v.actor
	if old == nil {
		m.UID, m.CreateTime, m.CreatedBy = id.NewSync().String(), v.now, v.actor
	} else {
		was := old.Head()
		m.UID, m.CreateTime, m.CreatedBy = was.UID, was.CreateTime, was.CreatedBy
	}
	m.Etag = etag(m.UID, v.revision(k)+1)
	switch r := r.(type) {
	case *resource.Mapping:
		r.Version = 1
		if was, ok := old.(*resource.Mapping); ok {
			r.Version = was.Version + 1
		}
	case *resource.Sync:
		if was, ok := old.(*resource.Sync); ok {
			r.Version = was.Version
		}
	}
	v.note(k)
	v.changed[k] = r
	delete(v.removed, k)
	return nil
}

// etag differs for every state of every resource that ever had an id.
func etag(uid string, revision int64) string { return fmt.Sprintf("%.8s-%d", uid, revision) }

func (v *view) revision(k key) int64 { return v.loaded[k].revision }

func (v *view) note(k key) {
	if !slices.Contains(v.order, k) {
		v.order = append(v.order, k)
	}
}

// putState is put for a sync whose state or status only has changed: no new version.
func (v *view) putState(ctx context.Context, s *resource.Sync) error {
	v.stateOnly[keyOf(s)] = true
	return v.put(ctx, s)
}

// remove takes a resource away.
func (v *view) remove(k key) {
	v.note(k)
	delete(v.changed, k)
	v.removed[k] = true
}

// users answers who would refer to a resource.
func (v *view) users(ctx context.Context, k key) ([]key, error) {
	was, err := usersOf(ctx, v.tx, v.workspace, k)
	if err != nil {
		return nil, fmt.Errorf("find the users of %s: %w", k, err)
	}
	var out []key
	for _, u := range was {
		if v.changed[u] == nil && !v.removed[u] {
			out = append(out, u)
		}
	}
	for _, u := range v.order {
		if r := v.changed[u]; r != nil && slices.Contains(references(r), k) {
			out = append(out, u)
		}
	}
	return out, nil
}

// affected answers the syncs that a run would find changed, those of changed parts included.
func (v *view) affected(ctx context.Context) ([]key, error) {
	var out []key
	add := func(k key) {
		if !slices.Contains(out, k) && !v.removed[k] {
			out = append(out, k)
		}
	}
	for _, k := range v.order {
		if k.kind == resource.KindSync {
			if !v.stateOnly[k] {
				add(k)
			}
			continue
		}
		users, err := v.users(ctx, k)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			if u.kind == resource.KindSync {
				add(u)
				continue
			}
			syncs, err := v.users(ctx, u)
			if err != nil {
				return nil, err
			}
			for _, s := range syncs {
				add(s)
			}
		}
	}
	return out, nil
}

// snapshot answers a sync with everything it would be made of; whole is false where a part is missing.
func (v *view) snapshot(ctx context.Context, k key) (s resource.Snapshot, whole bool, err error) {
	return assemble(ctx, k, v.get)
}

// assemble makes a sync's snapshot of resources that get answers.
func assemble(ctx context.Context, k key, get func(context.Context, key) (resource.Resource, error)) (s resource.Snapshot, whole bool, err error) {
	r, err := get(ctx, k)
	sync, ok := r.(*resource.Sync)
	if err != nil || !ok {
		return s, false, err
	}
	s.Sync, s.Version = *sync, sync.Version
	if r, err = get(ctx, key{resource.KindDataModel, sync.DataModel}); err != nil {
		return s, false, err
	}
	model, ok := r.(*resource.DataModel)
	if !ok {
		return s, false, nil
	}
	s.DataModel = *model
	if r, err = get(ctx, key{resource.KindConnection, model.Connection}); err != nil {
		return s, false, err
	}
	connection, ok := r.(*resource.Connection)
	if !ok {
		return s, false, nil
	}
	s.Connection = *connection
	if r, err = get(ctx, key{resource.KindFeed, sync.FeedID()}); err != nil {
		return s, false, err
	}
	switch feed, ok := r.(*resource.Feed); {
	case ok:
		s.Feed = *feed
	case sync.FeedID() == resource.DefaultFeed:
		s.Feed = resource.BuiltInFeed()
		s.Feed.Workspace = sync.Workspace
	default:
		return s, false, nil
	}
	if sync.Mapping == "" {
		return s, true, nil
	}
	if r, err = get(ctx, key{resource.KindMapping, sync.Mapping}); err != nil {
		return s, false, err
	}
	mapping, ok := r.(*resource.Mapping)
	if ok {
		m := *mapping
		s.Mapping = &m
	}
	return s, ok, nil
}

// flush writes the changes, and a new version of the snapshot of every sync that they affect.
func (v *view) flush(ctx context.Context, maxResources int64) error {
	affected, err := v.affected(ctx)
	if err != nil {
		return err
	}
	for _, k := range v.order {
		if v.removed[k] {
			if err := erase(ctx, v.tx, v.workspace, k); err != nil {
				return fmt.Errorf("delete %s: %w", k, err)
			}
			continue
		}
		if err := v.write(ctx, k); err != nil {
			return fmt.Errorf("write %s: %w", k, err)
		}
	}
	for _, k := range affected {
		if err := v.advance(ctx, k); err != nil {
			return fmt.Errorf("write the snapshot of %s: %w", k, err)
		}
	}
	return v.checkRoom(ctx, maxResources)
}

func (v *view) write(ctx context.Context, k key) error {
	r := v.changed[k]
	if err := save(ctx, v.tx, v.workspace, r, v.revision(k)+1); err != nil {
		return err
	}
	s, ok := r.(*resource.Sync)
	if !ok {
		return nil
	}
	var since time.Time
	if was, _ := v.loaded[k].Resource.(*resource.Sync); s.State == resource.Active && (was == nil || was.State != resource.Active) {
		since = v.now
	}
	return saveStatus(ctx, v.tx, v.workspace, s, since)
}

// advance gives a sync its next version.
func (v *view) advance(ctx context.Context, k key) error {
	s, whole, err := v.snapshot(ctx, k)
	if err != nil {
		return err
	}
	if !whole {
		return fault.New(fault.Internal, fault.ReasonInternal, "%s is not whole", k)
	}
	s.Version++
	s.Sync.Version = s.Version
	if err := saveSnapshot(ctx, v.tx, v.workspace, s, v.now); err != nil {
		return err
	}
	if r, ok := v.changed[k].(*resource.Sync); ok {
		r.Version = s.Version
	}
	return saveStatus(ctx, v.tx, v.workspace, &s.Sync, time.Time{})
}

// checkRoom refuses more resources than a workspace may have.
func (v *view) checkRoom(ctx context.Context, most int64) error {
	var n int64
	if err := v.tx.QueryRow(ctx, "SELECT COUNT(*) FROM config_resources WHERE workspace = ?", string(v.workspace)).Scan(&n); err != nil {
		return err //nolint:wrapcheck // classified by sqldb
	}
	if n > most {
		return fault.New(fault.Throttled, fault.ReasonLimitExceeded, "the workspace would have %d resources, and %d are allowed; delete some, or raise max_resources of config", n, most)
	}
	return nil
}
