package pebble

import (
	"io"

	"github.com/cockroachdb/pebble/v2"

	"millrace.dev/pkg/profile"
)

// merger folds contributions to profiles. Its name is stored: another way to fold is another name.
func merger() *pebble.Merger {
	return &pebble.Merger{
		Name: "millrace.profile.v1",
		Merge: func(_, value []byte) (pebble.ValueMerger, error) {
			return &folding{buf: append([]byte(nil), value...)}, nil
		},
	}
}

// folding is one merge: the operands one behind the other. Their order does not matter.
type folding struct {
	buf  []byte
	more bool
}

func (f *folding) MergeNewer(value []byte) error {
	f.buf, f.more = append(f.buf, value...), true
	return nil
}

func (f *folding) MergeOlder(value []byte) error { return f.MergeNewer(value) }

// Finish leaves a single operand as it is.
func (f *folding) Finish(bool) ([]byte, io.Closer, error) {
	if !f.more {
		return f.buf, nil, nil
	}
	return profile.Fold(f.buf), nil, nil
}
