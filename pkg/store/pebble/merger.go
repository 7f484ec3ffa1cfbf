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
func (f *folding) Finish(base bool) ([]byte, io.Closer, error) {
	v, _, closer, err := f.DeletableFinish(base)
	return v, closer, err
}

// DeletableFinish takes away what is withdrawn once all operands are there; a profile with nothing left goes.
func (f *folding) DeletableFinish(base bool) (value []byte, gone bool, closer io.Closer, err error) {
	switch {
	case base && profile.Withdraws(f.buf):
		v := profile.Settle(f.buf)
		return v, v == nil, nil, nil
	case f.more:
		return profile.Fold(f.buf), false, nil, nil
	}
	return f.buf, false, nil, nil
}
