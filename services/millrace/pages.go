package millrace

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"
)

// pageSize is how many items one call asks for.
const pageSize = 500

// limitFlag bounds a list.
type limitFlag struct {
	Limit int `help:"At most so many; 0 for all. By default 100 in a table and all in json and yaml." default:"-1" placeholder:"N"`
}

// of answers the bound in force; 0 is none.
func (f limitFlag) of(s *session) (int, error) {
	switch {
	case f.Limit < -1:
		return 0, usagef("give 0 for all", "--limit %d is below zero", f.Limit)
	case f.Limit >= 0:
		return f.Limit, nil
	case s.flags.Output == "table":
		return 100, nil
	}
	return 0, nil
}

// fetch answers one page: at most size items from token on, and the next token, empty at the end.
type fetch[T any] func(ctx context.Context, size int32, token string) (items []T, next string, err error)

// firstPage answers how many items the first page of a list is asked for.
func firstPage(limit int) int32 {
	if limit > 0 && limit < pageSize {
		return int32(limit)
	}
	return pageSize
}

// pages yields the items of all pages up to the limit, and notes on stderr where there are more.
func pages[T any](ctx context.Context, s *session, limit int, get fetch[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var (
			none  T
			n     int
			token string
		)
		for {
			ask := int32(pageSize)
			if limit > 0 && limit-n < pageSize {
				ask = int32(limit - n) //nolint:gosec // below pageSize
			}
			items, next, err := get(ctx, ask, token)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if limit > 0 && n == limit {
					break
				}
				n++
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			if limit > 0 && n >= limit {
				s.notef("%d shown; there are more: --limit 0 lists all", n)
				return
			}
			token = next
		}
	}
}

// show writes a paged list.
func show[M proto.Message](ctx context.Context, s *session, l list[M], f limitFlag, get fetch[M]) error {
	limit, err := f.of(s)
	if err != nil {
		return err
	}
	return l.write(s, pages(ctx, s, limit, get))
}
