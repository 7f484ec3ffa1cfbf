package pebble

import (
	"encoding/binary"
	"math/bits"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/id"
)

// bindings remembers what identities are bound to, as look-ups have found it: events come back to the same people again
// and again, and the database would search every sorted run for each. It takes a fixed amount of memory, outside of Go's
// heap; where its place is taken, an identity takes that of another. What is not remembered is looked up. Safe for
// concurrent use.
//
// An identity that is bound to nobody is not remembered, so that binding it changes nothing here. Whoever binds one anew
// or takes it away drops it, behind the database and before the number of that is seen: a look-up that has seen the
// number finds nothing older here, and one that reads the database meanwhile does not bring back what it has read.
type bindings struct {
	release func()

	mu      sync.RWMutex
	places  []byte // in buckets of a few
	dropped uint64 // how often something was dropped
	next    int    // which place of a full bucket is given up
}

// A place has the identity's hash, as the filter has it (0: the place is free), the numbers of its scope and type, its
// profile, and its value behind the value's length.
const (
	placeLen  = 64
	bucketLen = 4 * placeLen

	atOwner, atProfile, atValue = 8, 16, 24
	// longestValue is how many bytes a value may have that is remembered.
	longestValue = placeLen - atValue - 1
)

func newBindings(size int64) *bindings {
	b, release := allocate(max(int(size)/bucketLen, 1) * bucketLen)
	return &bindings{places: b, release: release}
}

func (b *bindings) free() {
	b.places = nil
	b.release()
}

// owner names an identity type of a scope.
func owner(scope, typ uint32) uint64 { return uint64(scope)<<32 | uint64(typ) }

func (b *bindings) bucket(h uint64) []byte {
	i, _ := bits.Mul64(h, uint64(len(b.places)/bucketLen))
	return b.places[i*bucketLen:][:bucketLen]
}

// find answers the profile that an identity, given also by its hash, is remembered with, 0 where it is not. Called with
// mu held, for reading at least.
func (b *bindings) find(h, of uint64, value string) id.Profile {
	for p := b.bucket(h); len(p) > 0; p = p[placeLen:] {
		if binary.LittleEndian.Uint64(p) == h && isOf(p, of, value) {
			return id.Profile(binary.LittleEndian.Uint64(p[atProfile:]))
		}
	}
	return 0
}

func isOf(p []byte, of uint64, value string) bool {
	return binary.LittleEndian.Uint64(p[atOwner:]) == of && int(p[atValue]) == len(value) && string(p[atValue+1:][:len(value)]) == value
}

// known sets, in found, the profiles of identities that are remembered, and calls ask for the positions in hs of the
// others; 0 is none. It answers what learn must be told of when they were asked for.
func (l *looking) known(of uint64, values *array.String, found []id.Profile, ask func(i int)) (before uint64) {
	b := l.bindings
	b.mu.RLock()
	defer b.mu.RUnlock()
	l.filter.present(l.hs, func(i int) {
		if found[i] = b.find(l.hs[i], of, values.Value(i)); found[i] == 0 {
			ask(i)
		}
	})
	return b.dropped
}

// learn remembers what the database has answered, unless something was dropped since `before`.
func (l *looking) learn(of uint64, values *array.String, found []id.Profile, before uint64) {
	b := l.bindings
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped != before {
		return
	}
	for _, w := range l.ord.todo {
		if p := found[w.at]; p != 0 {
			b.put(l.hs[w.at], of, values.Value(int(w.at)), p)
		}
	}
}

// put remembers an identity. Called with mu held.
func (b *bindings) put(h, of uint64, value string, profile id.Profile) {
	if len(value) > longestValue {
		return
	}
	bucket := b.bucket(h)
	var place []byte
	for p := bucket; len(p) > 0; p = p[placeLen:] {
		switch is := binary.LittleEndian.Uint64(p); {
		case is == h && isOf(p, of, value):
			return
		case is == 0 && place == nil:
			place = p
		}
	}
	if place == nil {
		b.next = (b.next + placeLen) % bucketLen
		place = bucket[b.next:]
	}
	binary.LittleEndian.PutUint64(place, h)
	binary.LittleEndian.PutUint64(place[atOwner:], of)
	binary.LittleEndian.PutUint64(place[atProfile:], uint64(profile))
	place[atValue] = byte(len(value))
	copy(place[atValue+1:], value)
}

// drop forgets identities, given by their hashes.
func (b *bindings) drop(hs []uint64) {
	if len(hs) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped++
	for _, h := range hs {
		for p := b.bucket(h); len(p) > 0; p = p[placeLen:] {
			if binary.LittleEndian.Uint64(p) == h {
				clear(p[:placeLen])
			}
		}
	}
}
