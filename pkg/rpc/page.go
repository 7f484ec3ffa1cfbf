package rpc

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/zeebo/xxh3"

	"millrace.dev/pkg/fault"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// PageSize answers how many entries a page has where a request asks for n: 100 for 0, at most 1000.
func PageSize(n int32) int {
	if n <= 0 {
		return defaultPage
	}
	return min(int(n), maxPage)
}

// Page is what a list request asks for.
type Page struct {
	// Size is how many entries the page has at most.
	Size int
	// After is where the page before ended, as its Next was told; empty at first.
	After string
	bound uint64
}

// NewPage reads a request's page_size and page_token. The token is bound to `request`, which is everything else that the
// list depends on (workspace, filter, order_by, …): one from another request is refused (INVALID_ARGUMENT).
func NewPage(size int32, token string, request ...string) (Page, error) {
	p := Page{Size: PageSize(size), bound: bind(request)}
	if size < 0 {
		return Page{}, invalid("page_size", "is negative", "leave it out or ask for 1 to 1000")
	}
	if token == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 8 {
		return Page{}, invalid("page_token", "is none that this service gave", "pass next_page_token of the page before as it is")
	}
	if binary.BigEndian.Uint64(b) != p.bound {
		return Page{}, invalid("page_token", "belongs to another list, filter or order", "start again without a token")
	}
	p.After = string(b[8:])
	return p, nil
}

// Next answers the token of the page that follows the entry `after`; empty for an empty `after`, which is the end.
func (p Page) Next(after string) string {
	if after == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(binary.BigEndian.AppendUint64(nil, p.bound), after...))
}

// bind answers a hash of texts that tells ["a","b"] from ["ab"].
func bind(request []string) uint64 {
	h := xxh3.New()
	for _, r := range request {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(r))))
		_, _ = h.WriteString(r)
	}
	return h.Sum64()
}

func invalid(field, message, fix string) error {
	return fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: field, Message: message, Fix: fix}}) //nolint:wrapcheck // born here
}
