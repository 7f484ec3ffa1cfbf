package sharing

import (
	"slices"

	"millrace.dev/pkg/row"
)

// fold holds what a feed of changes says of each key that it names. An image is what a row has in its key and the compared
// columns; of each one is held how many rows came less how many went, so that the order of changes is of no matter: what came
// and went within the range is nothing. Rows that the state has of the same keys are counted beside it, where they must be:
// what a key had before is what it has, less what came, and with what went.
//
// It holds at most room keys and as many images, about 75 bytes each.
type fold struct {
	room       int
	keyAt      map[row.Hash]int32
	imageAt    map[row.Hash]int32
	keys       []touched
	images     []image
	came, went int64 // rows of the feed
}

// touched is a key that a feed names.
type touched struct {
	net     int64 // rows that came less those that went
	rows    int64 // of the state
	plus    int64 // of them by image: the rows of images that more have than before
	minus   int64 // and of those that fewer have
	null    bool  // one of its values is NULL
	repeats bool  // more than one row has or had it
	told    bool  // that it is gone
	verdict verdict
}

// image is what rows of one key have in the compared columns.
type image struct {
	key  int32
	told bool  // a row of it was answered
	net  int64 // rows that came less those that went
	rows int64 // of the state; counted of keys that repeat
	last int64 // the version of the last one that came
}

// verdict is what has become of the rows of a key.
type verdict uint8

const (
	same    verdict = iota
	differs         // it has rows, and not the same as before
	gone            // it has none, and had
)

func newFold(room int) *fold {
	return &fold{room: room, keyAt: map[row.Hash]int32{}, imageAt: map[row.Hash]int32{}}
}

// add takes a row of the feed in; false where there is no room for it.
func (f *fold) add(key, of row.Hash, null bool, version int64, came bool) bool {
	k, ok := f.keyAt[key]
	if !ok {
		if len(f.keys) >= f.room {
			return false
		}
		k = int32(len(f.keys))
		f.keyAt[key] = k
		f.keys = append(f.keys, touched{null: null})
	}
	i, ok := f.imageAt[of]
	if !ok {
		if len(f.images) >= f.room {
			return false
		}
		i = int32(len(f.images))
		f.imageAt[of] = i
		f.images = append(f.images, image{key: k, last: -1})
	}
	if came {
		f.came++
		f.keys[k].net++
		f.images[i].net++
		f.images[i].last = max(f.images[i].last, version)
		return true
	}
	f.went++
	f.keys[k].net--
	f.images[i].net--
	return true
}

// key answers a key that the feed names, nil for any other; image the same of an image. They are good until add.
func (f *fold) key(h row.Hash) *touched {
	if k, ok := f.keyAt[h]; ok {
		return &f.keys[k]
	}
	return nil
}

func (f *fold) image(h row.Hash) *image {
	if i, ok := f.imageAt[h]; ok {
		return &f.images[i]
	}
	return nil
}

// sum adds up of each key the rows that are more and those that are fewer than before.
func (f *fold) sum() {
	for _, i := range f.images {
		k := &f.keys[i.key]
		k.plus, k.minus = k.plus+max(i.net, 0), k.minus+max(-i.net, 0)
	}
}

// once judges the keys as ones that one row has at most, by the feed alone.
func (f *fold) once() {
	f.sum()
	for i := range f.keys {
		switch k := &f.keys[i]; {
		case k.plus > 0:
			k.verdict, k.rows = differs, 1
		case k.minus > 0:
			k.verdict = gone
		}
	}
}

// repeating finds the keys that more than one row has or had, by the rows that were counted. It answers whether there are
// any; ok is false where the feed and the rows contradict each other.
func (f *fold) repeating() (any, ok bool) {
	f.sum()
	for i := range f.keys {
		k := &f.keys[i]
		before := k.rows - k.net
		k.repeats = k.rows > 1 || before > 1
		any = any || k.repeats
		if before < 0 || !k.repeats && (k.plus > 1 || k.minus > 1 || k.plus > k.rows) {
			return any, false
		}
	}
	return any, true
}

// judge judges all keys by the rows that were counted, those of images that repeat among them, and answers how many rows
// differ and how many keys are gone. ok is false where the feed and the rows contradict each other.
func (f *fold) judge() (rows, keys int64, ok bool) {
	for _, i := range f.images {
		k := &f.keys[i.key]
		had := i.rows - i.net
		switch {
		case !k.repeats:
			continue
		case had < 0:
			return 0, 0, false
		case (i.rows > 0) != (had > 0):
			k.verdict = differs
		}
	}
	for i := range f.keys {
		k := &f.keys[i]
		switch {
		case k.rows == 0 && k.net < 0:
			k.verdict = gone
		case !k.repeats && k.plus > 0:
			k.verdict = differs
		}
		switch {
		case k.verdict == differs:
			rows += k.rows
		case k.verdict == gone && !k.null:
			keys++
		}
	}
	return rows, keys, true
}

// versions answers the versions of the rows that keys which differ and do not repeat have now, and whether there are such
// as do repeat.
func (f *fold) versions() (last map[int64]bool, repeats bool) {
	last = map[int64]bool{}
	for _, i := range f.images {
		switch k := &f.keys[i.key]; {
		case k.verdict != differs:
		case k.repeats:
			repeats = true
		case i.net > 0:
			last[i.last] = true
		}
	}
	return last, repeats
}

// tell says whether a row that came in a version is what its key has now: once, where the key differs and does not repeat.
func (f *fold) tell(key, of row.Hash, version int64) bool {
	k, i := f.key(key), f.image(of)
	if k == nil || i == nil || k.repeats || k.verdict != differs || i.net <= 0 || i.last != version || i.told {
		return false
	}
	i.told = true
	return true
}

// hasGone says whether any key is gone.
func (f *fold) hasGone() bool {
	return slices.ContainsFunc(f.keys, func(k touched) bool { return k.verdict == gone })
}

// tellGone says whether a key without NULL is gone: once.
func (f *fold) tellGone(key row.Hash) bool {
	k := f.key(key)
	if k == nil || k.verdict != gone || k.null || k.told {
		return false
	}
	k.told = true
	return true
}
