package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
)

// Merges answers the log of a family: the entries that the profile is in, and those of what is merged into it, each once.
// Pages are bounded by limit.
func (f Family) Merges(ctx context.Context, r Reader, s profile.Scope, after string, limit int) ([]profile.Merge, string, error) {
	all := append([]id.Profile{f.Profile}, slices.Sorted(slices.Values(f.Members))...)
	at, token, err := readPlace(after)
	if err != nil {
		return nil, "", err
	}
	var out []profile.Merge
	for ; at < len(all); at++ {
		for {
			page, next, err := r.Merges(ctx, s, all[at], token, limit-len(out))
			if err != nil {
				return nil, "", fmt.Errorf("list merges: %w", err)
			}
			for _, m := range page {
				if !slices.ContainsFunc(all[:at], m.Has) {
					out = append(out, m)
				}
			}
			token = next
			if next == "" || len(out) >= limit {
				break
			}
		}
		if token != "" {
			return out, writePlace(at, token), nil
		}
		if len(out) >= limit && at+1 < len(all) {
			return out, writePlace(at+1, ""), nil
		}
	}
	return out, "", nil
}

// readPlace reads what writePlace wrote: which member of a family, and the page of that.
func readPlace(after string) (at int, token string, err error) {
	if after == "" {
		return 0, "", nil
	}
	number, token, ok := strings.Cut(after, " ")
	at, err = strconv.Atoi(number)
	if !ok || err != nil || at < 0 {
		return 0, "", &fault.Error{
			Class: fault.Invalid, Reason: fault.ReasonInvalidArgument, Field: "page_token",
			Message: "the page token is not one that this list answered; ask from the start",
		}
	}
	return at, token, nil
}

func writePlace(at int, token string) string { return strconv.Itoa(at) + " " + token }
