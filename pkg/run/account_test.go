package run_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/run"
)

func TestAccounts(t *testing.T) {
	a, err := txtar.ParseFile("testdata/account.txtar")
	require.NoError(t, err)
	for _, f := range a.Files {
		t.Run(f.Name, func(t *testing.T) {
			var (
				n       uint32
				rows    int64
				batches []run.Batch
				want    []string
			)
			for line := range strings.Lines(string(f.Data)) {
				line = strings.TrimSpace(line)
				switch {
				case strings.HasPrefix(line, "batches:"):
					_, err := fmt.Sscanf(line, "batches: %d of %d rows", &n, &rows)
					require.NoError(t, err)
				case strings.HasPrefix(line, "want:"):
					want = append(want, strings.TrimSpace(strings.TrimPrefix(line, "want:")))
				default:
					batches = append(batches, readBatch(t, line))
				}
			}
			require.Equal(t, want, verdict(run.ClosePart(n, rows, batches)))
		})
	}
}

func verdict(p run.PartAccount) []string {
	var out []string
	for _, m := range p.Missing {
		out = append(out, fmt.Sprintf("%d %s", m.Seq, m.Why))
	}
	out = append(out, p.Faults...)
	if p.Closes() {
		out = append(out, fmt.Sprintf("closes, %d rows, digest %d", p.Rows, p.Read.Lo))
	}
	return out
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	require.NoError(t, err)
	return n
}

func hash(n int64) row.Hash { return row.Hash{Lo: uint64(n)} }

func readBatch(t *testing.T, line string) run.Batch {
	t.Helper()
	w := strings.Fields(line)
	b := run.Batch{Seq: uint32(number(t, w[0]))}
	if w[1] != "-" {
		b, _ = b.Publish(number(t, w[1]), 0, hash(number(t, w[2])))
	}
	var fs []run.Fragment
	for _, text := range w[3:] {
		at, digest, _ := strings.Cut(text, ":")
		first, rows, _ := strings.Cut(at, "+")
		rows, last := strings.CutSuffix(rows, "!")
		n := number(t, rows)
		fs = append(fs, run.Fragment{
			FirstRow: number(t, first), Rows: n, Last: last, Digest: hash(number(t, digest)),
			Counts: record.Counts{Read: n, Mapped: n, Created: n},
		})
	}
	index(fs)
	for _, f := range fs {
		b, _ = b.Ingest(f)
	}
	return b
}

// index numbers fragments as the mapper does: in the order of their rows.
func index(fs []run.Fragment) {
	for i := range fs {
		for _, o := range fs {
			if o.FirstRow < fs[i].FirstRow {
				fs[i].Index++
			}
		}
	}
}

func TestAnAccountIsTheSameForAnyOrderOfReports(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fs []run.Fragment
		var total run.Tally
		n := rapid.IntRange(1, 6).Draw(t, "fragments")
		for i := range n {
			rows := rapid.Int64Range(0, 5).Draw(t, "rows")
			rejected := rapid.Int64Range(0, rows).Draw(t, "rejected")
			f := run.Fragment{
				Index: uint32(i), FirstRow: total.Rows, Rows: rows, Last: i == n-1,
				Counts: record.Counts{Read: rows, Rejected: rejected, Mapped: rows - rejected, Created: rows - rejected},
				Digest: row.Hash{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")},
			}
			fs, total = append(fs, f), total.Add(f)
		}
		mixed := rapid.Permutation(append(fs, rapid.SliceOfN(rapid.SampledFrom(fs), 0, 4).Draw(t, "repeats")...)).Draw(t, "order")
		b, fresh := run.Batch{}.Publish(total.Rows, 1, total.Digest)
		require.True(t, fresh)
		seen := map[uint32]bool{}
		for _, f := range mixed {
			b, fresh = b.Ingest(f)
			require.Equal(t, !seen[f.Index], fresh, "a repeated report adds nothing")
			seen[f.Index] = true
			require.Equal(t, len(seen) == n, b.Settled(), "whole only when the last of the fragments has come")
		}
		require.Equal(t, total, b.Ingested)
		p := run.ClosePart(1, total.Rows, []run.Batch{b})
		require.True(t, p.Closes())
		want := run.Balanced
		if total.Counts.Rejected > 0 {
			want = run.BalancedPartly
		}
		require.Equal(t, want, p.Outcome())
	})
}

func TestCertificates(t *testing.T) {
	a := run.Account{Rows: 2, Read: hash(3), Accounted: hash(3), Counts: record.Counts{Read: 2, Mapped: 2, Created: 2}}
	c := run.Certify(run.Succeeded, a, run.Source{Snapshot: "s1"})
	require.Equal(t, run.Certificate{RowsDigest: hash(3).String(), AccountedDigest: hash(3).String(), Snapshots: []string{"s1"}, Balanced: true}, c)
	require.False(t, run.Certify(run.Running, a, run.Source{}).Balanced, "an open run has no balanced account")
	a.Accounted = hash(4)
	require.False(t, run.Certify(run.Succeeded, a, run.Source{}).Balanced)
}
