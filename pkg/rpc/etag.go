package rpc

import (
	"strconv"

	"millrace.dev/pkg/fault"
)

// Etag answers the etag of a version of a resource.
func Etag(version int64) string { return "v" + strconv.FormatInt(version, 10) }

// CheckEtag says whether a request that was made against the etag `given` may change a resource whose etag is `current`:
// INVALID_ARGUMENT where it has none, Conflict STALE_ETAG where it is another.
func CheckEtag(given, current string) error {
	switch given {
	case "":
		return invalid("etag", "is missing", "send the etag of the resource as it was read")
	case current:
		return nil
	default:
		return fault.New(fault.Conflict, fault.ReasonStaleEtag, "the resource has changed since it was read; read it again and repeat the change")
	}
}
