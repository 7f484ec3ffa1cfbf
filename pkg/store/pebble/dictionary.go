package pebble

import (
	"encoding/binary"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/store"
)

// What the dictionary numbers.
const (
	wordScope = 's'
	wordSync  = 'y'
	wordType  = 't'
)

// maxTypes is how many identity types there may be: their numbers take two bytes.
const maxTypes = 1 << 16

// dictionary gives small numbers to names, for ever, and holds them all: there are as many as workspaces, syncs and
// identity types.
type dictionary struct {
	db *pebble.DB

	mu    sync.RWMutex
	known map[string]uint32
	names map[word]string
	next  map[byte]uint32
}

// word is a number of the dictionary.
type word struct {
	what   byte
	number uint32
}

func readDictionary(db *pebble.DB) (*dictionary, error) {
	d := &dictionary{db: db, known: map[string]uint32{}, names: map[word]string{}, next: map[byte]uint32{}}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindDictionary}, UpperBound: []byte{kindDictionary + 1}})
	if err != nil {
		return nil, unavailable("open", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		k, v := it.Key(), it.Value()
		if len(k) < 2 || len(v) != 4 {
			_ = it.Close() //nolint:errcheck // the damage is the thing to tell
			return nil, damaged("the dictionary")
		}
		d.learn(k[1], string(k[2:]), binary.BigEndian.Uint32(v))
	}
	if err := it.Close(); err != nil {
		return nil, unavailable("open", err)
	}
	return d, nil
}

// find answers the number of a name; false where it has none.
func (d *dictionary) find(what byte, name string) (uint32, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n, ok := d.known[string(what)+name]
	return n, ok
}

// number answers the number of a name, which is given one, durably, where it has none.
func (d *dictionary) number(what byte, name string) (uint32, error) {
	if n, ok := d.find(what, name); ok {
		return n, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	full := string(what) + name
	if n, ok := d.known[full]; ok {
		return n, nil
	}
	n := d.next[what]
	if what == wordType && n >= maxTypes {
		return 0, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "store: there are %d identity types already; map to one of those", maxTypes)
	}
	b := d.db.NewBatch()
	if err := b.Set(append([]byte{kindDictionary}, full...), binary.BigEndian.AppendUint32(nil, n), nil); err != nil {
		return 0, unavailable("commit", err)
	}
	if err := commitSynced(d.db, b); err != nil {
		return 0, unavailable("commit", err)
	}
	d.learn(what, name, n)
	return n, nil
}

func (d *dictionary) learn(what byte, name string, n uint32) {
	d.known[string(what)+name] = n
	d.names[word{what, n}] = name
	d.next[what] = max(d.next[what], n+1)
}

// name answers what has a number.
func (d *dictionary) name(what byte, n uint32) (string, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s, ok := d.names[word{what, n}]
	return s, ok
}

func scopeName(s profile.Scope) string {
	name := string(s.Workspace) + "\x00" + string(s.Environment)
	if s.Space != "" {
		name += "\x00" + s.Space
	}
	return name
}

// scope answers the scope of a number.
func (d *dictionary) scope(n uint32) (profile.Scope, bool) {
	s, ok := d.name(wordScope, n)
	w, e, cut := strings.Cut(s, "\x00")
	e, space, _ := strings.Cut(e, "\x00")
	return profile.Scope{Workspace: id.Workspace(w), Environment: resource.Environment(e), Space: space}, ok && cut
}

// readIdentity reads an identity as it is stored.
func (d *dictionary) readIdentity(k, v []byte) (i store.Item, ok bool) {
	if len(k) <= identityPrefixLen || len(v) != 8 {
		return i, false
	}
	typ, ok := d.name(wordType, uint32(binary.BigEndian.Uint16(k[5:])))
	if !ok {
		return i, false
	}
	i.Scope, ok = d.scope(binary.BigEndian.Uint32(k[1:]))
	i.Identity = &profile.IdentityWrite{
		Type: typ, Value: string(k[identityPrefixLen:]), Profile: id.Profile(binary.BigEndian.Uint64(v)),
	}
	return i, ok
}

func syncName(s id.Sync) string { return string(s[:]) }
