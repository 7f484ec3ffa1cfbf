package sqltext

import (
	"fmt"
	"strconv"
	"strings"

	"millrace.dev/pkg/fault"
)

// MaxBuckets bounds how many slices a read is cut into by hash.
const MaxBuckets = 1 << 16

// Bucket is a slice of a read: the rows whose keys hash to Index of Of. Each row is in exactly one, whatever its keys.
type Bucket struct {
	Index, Of int    // from 0
	By        string // names the hash, so that no other one is taken for it
}

// String answers the text that a part's range carries, counted from 1.
func (b Bucket) String() string {
	return fmt.Sprintf("bucket %d of %d by %s", b.Index+1, b.Of, b.By)
}

// ParseBucket reads what String wrote. Another hash than `by` is SOURCE_CHANGED: the run is planned again.
func ParseBucket(unit, by string) (Bucket, error) {
	w := strings.SplitN(unit, " ", 6)
	if len(w) == 6 && w[0] == "bucket" && w[2] == "of" && w[4] == "by" && w[5] == by {
		i, err := strconv.Atoi(w[1])
		n, err2 := strconv.Atoi(w[3])
		if err == nil && err2 == nil && i >= 1 && i <= n && n <= MaxBuckets {
			return Bucket{Index: i - 1, Of: n, By: by}, nil
		}
	}
	return Bucket{}, fault.New(fault.Unavailable, fault.ReasonSourceChanged, "no part is read by that name any more; the run is planned again")
}
