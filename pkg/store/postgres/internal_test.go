package postgres

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
)

func TestAnEntryReadsAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash := func(name string) row.Hash {
			return row.Hash{Hi: rapid.Uint64().Draw(t, name), Lo: rapid.Uint64().Draw(t, name)}
		}
		e := profile.Entry{
			Found: true, Tombstone: rapid.Bool().Draw(t, "tombstone"), RecordHash: hash("record hash"),
			Version: profile.Version{Time: rapid.Int64().Draw(t, "time"), RunNo: rapid.Int64().Draw(t, "run"), RowHash: hash("row hash")},
			Part:    rapid.Uint32().Draw(t, "part"), Epoch: rapid.Uint32().Draw(t, "epoch"),
			Effect: profile.Effect(rapid.Uint8Max(127).Draw(t, "effect")), Flags: profile.EntryFlags(rapid.Uint8Max(127).Draw(t, "flags")),
			Repeats: rapid.Bool().Draw(t, "repeats"),
			Profile: id.Profile(rapid.Uint64().Draw(t, "profile")), EventTime: rapid.Int64().Draw(t, "event time"),
		}
		b := appendEntry(nil, &e)
		out, ok := readEntry(b)
		require.True(t, ok)
		require.Equal(t, e, out)
		_, ok = readEntry(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")])
		require.False(t, ok)
	})
}

func TestRankPutsKeysInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOf(rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 3))).Draw(t, "keys")
		want := make([]ranked, len(keys))
		for i, k := range keys {
			want[i] = ranked{k, int32(i)}
		}
		slices.SortStableFunc(want, func(a, b ranked) int {
			switch {
			case a.key < b.key:
				return -1
			case a.key > b.key:
				return 1
			}
			return 0
		})
		require.Equal(t, want, rank(len(keys), func(i int) uint64 { return keys[i] }))
	})
}

func TestIdentityKeysDifferInEveryPart(t *testing.T) {
	seen := map[[16]byte]bool{}
	for _, w := range []id.Workspace{"a", "ab"} {
		for _, e := range []resource.Environment{resource.Prod, resource.Dev} {
			people := profile.Scope{Workspace: w, Environment: e}
			for _, s := range []profile.Scope{people, people.Groups("email"), people.Groups("other")} {
				for _, typ := range []string{"email", "other"} {
					for _, v := range []string{"", "x", "\x00", "x\x00y"} {
						k, _ := identityKey(nil, s, typ, v)
						require.False(t, seen[k])
						seen[k] = true
					}
				}
			}
		}
	}
}

func TestEveryFailureHasItsClass(t *testing.T) {
	for code, want := range map[string]fault.Class{
		"23505": fault.Conflict, "40001": fault.Conflict, "40P01": fault.Conflict, "55P03": fault.Conflict,
		"53100": fault.Unavailable, "53300": fault.Unavailable, "57P01": fault.Unavailable, "57P03": fault.Unavailable,
		"08006": fault.Unavailable, "25006": fault.Unavailable, "28P01": fault.Unavailable, "3D000": fault.Unavailable,
		"42P01": fault.Internal, "22021": fault.Internal,
	} {
		err := classify(t.Context(), "commit", &pgconn.PgError{Code: code, Message: "Key (value)=(secret) exists"})
		require.Equal(t, want, fault.ClassOf(err), code)
		require.NotContains(t, err.Error(), "secret")
	}
	require.Equal(t, fault.Unavailable, fault.ClassOf(classify(t.Context(), "commit", io.ErrUnexpectedEOF)))
	require.Equal(t, fault.ReasonStoreUnavailable, fault.ReasonOf(classify(t.Context(), "commit", io.ErrUnexpectedEOF)))

	ended, end := context.WithCancel(t.Context())
	end()
	require.Equal(t, fault.Cancelled, fault.ClassOf(classify(ended, "commit", errors.New("cut off"))))
}
