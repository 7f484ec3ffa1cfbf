package ingestion

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"sync"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/secret"
	"millrace.dev/pkg/store"
)

const (
	// tagsPage is how many tags of a hash list are read at once.
	tagsPage = 10_000
	// maxTags bounds the tags that are held of one hash list. Beyond, every identity is looked up.
	maxTags = 4 << 20
)

// hashLists says which identities are in the hash lists of erased people. The identities of a batch are compared with
// short tags in memory, and those few that have a tag of the list are looked up. A list that is empty costs nothing. Safe
// for concurrent use.
type hashLists struct {
	store store.Store
	keys  *secret.Keyring

	mu    sync.Mutex
	salts map[id.Workspace][profile.HashKeyLen]byte
	lists map[profile.Scope]*tagList
}

func newHashLists(st store.Store, keys *secret.Keyring) *hashLists {
	return &hashLists{store: st, keys: keys, salts: map[id.Workspace][profile.HashKeyLen]byte{}, lists: map[profile.Scope]*tagList{}}
}

// tagList is the tags of one hash list, as far as it was read.
type tagList struct {
	mu   sync.RWMutex
	n    int64
	tags map[uint32]struct{} // nil: there are too many
}

// hasher answers what makes the hashes of a workspace, nil where it has no key yet and none is to be made.
func (l *hashLists) hasher(ctx context.Context, w id.Workspace, create bool) (*profile.Hasher, error) {
	l.mu.Lock()
	key, known := l.salts[w]
	l.mu.Unlock()
	if known {
		return profile.NewHasher(key), nil
	}
	sealed, err := l.store.Salt(ctx, w, nil)
	if err == nil && len(sealed) == 0 && create {
		_, _ = rand.Read(key[:]) //nolint:errcheck // it never fails
		if sealed, err = l.keys.Seal(key[:], saltOf(w)); err != nil {
			return nil, fmt.Errorf("seal the key of a hash list: %w", err)
		}
		sealed, err = l.store.Salt(ctx, w, sealed)
	}
	if err != nil || len(sealed) == 0 {
		return nil, wrap("read the key of the hash list", err)
	}
	plain, err := l.keys.Unseal(sealed, saltOf(w))
	if err != nil || len(plain) != len(key) {
		return nil, fault.New(fault.Precondition, fault.ReasonSecretUnreadable,
			"the hash list of erased people of workspace %s was made with another key set; start ingestion with the key set of then: %w", w, err)
	}
	copy(key[:], plain)
	l.mu.Lock()
	l.salts[w] = key
	l.mu.Unlock()
	return profile.NewHasher(key), nil
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// saltOf is the additional data under which the key of a workspace's hash lists is sealed.
func saltOf(w id.Workspace) string { return "erasures/" + string(w) }

// wholeList stands for as many hashes as a list has by now.
const wholeList = math.MaxInt64

// tagsOf answers the tags of a list that has n hashes, or more.
func (l *hashLists) tagsOf(ctx context.Context, s profile.Scope, n int64) (*tagList, error) {
	l.mu.Lock()
	t := l.lists[s]
	if t == nil {
		t = &tagList{tags: map[uint32]struct{}{}}
		l.lists[s] = t
	}
	l.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.n < n && t.tags != nil {
		page, err := l.store.Tags(ctx, s, t.n, tagsPage)
		if err != nil {
			return nil, fmt.Errorf("read the hash list of erased people: %w", err)
		}
		if len(page) == 0 && n == wholeList {
			break
		}
		if len(page) == 0 {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "the hash list of erased people is shorter than it says; restore the store from a backup")
		}
		for _, tag := range page {
			t.tags[tag] = struct{}{}
		}
		if t.n += int64(len(page)); t.n > maxTags {
			t.tags = nil
		}
	}
	return t, nil
}

// naming is an identity that something names, and what that is.
type naming struct {
	at int
	profile.Identity
}

// blocked calls found for each thing that names somebody in the hash list of a scope, which has n hashes.
func (l *hashLists) blocked(ctx context.Context, s profile.Scope, n int64, all func(yield func(naming) bool), found func(at int)) error {
	if n == 0 {
		return nil
	}
	h, err := l.hasher(ctx, s.Workspace, false)
	if err != nil {
		return err
	}
	if h == nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "the key of the hash list of erased people is missing; restore the store from a backup")
	}
	t, err := l.tagsOf(ctx, s, n)
	if err != nil {
		return err
	}
	var hashes []profile.Hash
	var at []int
	t.mu.RLock()
	for x := range all {
		if _, has := t.tags[h.Tag(x.Type, x.Value)]; has || t.tags == nil {
			hashes, at = append(hashes, h.Hash(x.Type, x.Value)), append(at, x.at)
		}
	}
	t.mu.RUnlock()
	if len(hashes) == 0 {
		return nil
	}
	is, err := l.store.Blocked(ctx, s, hashes)
	if err != nil {
		return fmt.Errorf("look the hash list of erased people up: %w", err)
	}
	for i, yes := range is {
		if yes {
			found(at[i])
		}
	}
	return nil
}

// mark sets State.Erased of a state that was looked up. Where the list can not be read the batch waits: nobody who was
// erased comes in again.
func (l *hashLists) mark(ctx context.Context, k profile.Keys, st *profile.State) error {
	if st.Blocked == 0 || k.Scope.Space != "" {
		return nil
	}
	err := l.blocked(ctx, k.Scope, st.Blocked, func(yield func(naming) bool) {
		for _, col := range k.Identities {
			for i := range col.Values.Len() {
				if col.Values.IsValid(i) && !yield(naming{i, profile.Identity{Type: col.Type, Value: col.Values.Value(i)}}) {
					return
				}
			}
		}
	}, func(at int) {
		if st.Erased == nil {
			st.Erased = make([]bool, k.Len())
		}
		st.Erased[at] = true
	})
	if fault.ReasonOf(err) == fault.ReasonSecretUnreadable {
		return fault.New(fault.Unavailable, fault.ReasonSecretUnreadable, "the batch waits: %w", err)
	}
	return err
}
