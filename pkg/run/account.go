package run

import (
	"cmp"
	"fmt"
	"slices"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// Fragment is what ingestion said of a fragment: which rows of its batch it covers, and what became of them.
type Fragment struct {
	Index    uint32
	FirstRow int64
	Rows     int64
	Last     bool
	Counts   record.Counts
	Digest   row.Hash // over records, rejects and filtered rows
}

// Tally is the sum of fragments.
type Tally struct {
	Rows   int64
	Counts record.Counts
	Digest row.Hash
}

// Add answers t with one more fragment.
func (t Tally) Add(f Fragment) Tally {
	return Tally{Rows: t.Rows + f.Rows, Counts: t.Counts.Add(f.Counts), Digest: t.Digest.Add(f.Digest)}
}

// Coverage is which fragments of a batch are known, as spans of fragments that follow one another without a gap, in
// ascending order. The zero value covers nothing. It stays small when fragments come about in order.
type Coverage []Span

// Span is fragments First to Last, which cover the rows from FirstRow up to EndRow, EndRow excluded.
type Span struct {
	First, Last      uint32
	FirstRow, EndRow int64
	End              bool // Last is the last fragment of the batch
}

// Add answers c with one more fragment, and false where c has a fragment of that number already.
func (c Coverage) Add(f Fragment) (Coverage, bool) {
	i, _ := slices.BinarySearchFunc(c, f.Index, func(s Span, n uint32) int { return cmp.Compare(s.Last, n) })
	if i < len(c) && c[i].First <= f.Index {
		return c, false
	}
	out := slices.Insert(slices.Clone(c), i, Span{
		First: f.Index, Last: f.Index, FirstRow: f.FirstRow, EndRow: f.FirstRow + f.Rows, End: f.Last,
	})
	if i+1 < len(out) && out[i].meets(out[i+1]) {
		out = join(out, i)
	}
	if i > 0 && out[i-1].meets(out[i]) {
		out = join(out, i-1)
	}
	return out, true
}

func (s Span) meets(next Span) bool {
	return s.Last+1 == next.First && s.EndRow == next.FirstRow && !s.End
}

// join makes one of the spans i and i + 1.
func join(c Coverage, i int) Coverage {
	c[i].Last, c[i].EndRow, c[i].End = c[i+1].Last, c[i+1].EndRow, c[i+1].End
	return slices.Delete(c, i+1, i+2)
}

// Whole says whether the fragments are all of a batch: numbered 0, 1, … to the one marked last, each starting at the
// row where the one before ends.
func (c Coverage) Whole() bool {
	return len(c) == 1 && c[0].First == 0 && c[0].FirstRow == 0 && c[0].End
}

// Batch is what is known of one batch of a part's epoch. Reports come in any order: a batch may be ingested before it
// is known to be published.
type Batch struct {
	Seq       uint32
	Published bool
	Rows      int64 // as published, like Bytes and Digest
	Bytes     int64
	Digest    row.Hash
	Ingested  Tally
	Coverage  Coverage // of the fragments in Ingested
}

// Publish answers b as the extractor reported it, and false where it had been reported before.
func (b Batch) Publish(rows, bytes int64, digest row.Hash) (Batch, bool) {
	if b.Published {
		return b, false
	}
	b.Published, b.Rows, b.Bytes, b.Digest = true, rows, bytes, digest
	return b, true
}

// Ingest answers b with one more fragment, and false where that fragment had been reported before.
func (b Batch) Ingest(f Fragment) (Batch, bool) {
	c, fresh := b.Coverage.Add(f)
	if fresh {
		b.Coverage, b.Ingested = c, b.Ingested.Add(f)
	}
	return b, fresh
}

// Settled says whether nothing more is to come for b.
func (b Batch) Settled() bool { return b.Published && b.Coverage.Whole() }

// Account answers what b adds to its part's account so far.
func (b Batch) Account() Account {
	a := Account{Accounted: b.Ingested.Digest, Ingested: b.Ingested.Rows, Counts: b.Ingested.Counts}
	if b.Published {
		a.Batches, a.Rows, a.Bytes, a.Read = 1, b.Rows, b.Bytes, b.Digest
	}
	return a
}

// Account is the tally of a part's batches, or of a run's parts. The zero value is the account of nothing and closes.
type Account struct {
	Batches   int64
	Rows      int64 // as the extractor published them
	Bytes     int64
	Read      row.Hash // sum of the hashes of the rows that the extractor read
	Accounted row.Hash // the same sum over what ingestion holds
	Ingested  int64    // rows that ingestion holds as records, rejects or filtered rows
	Counts    record.Counts
}

// Add answers the sum of both.
func (a Account) Add(o Account) Account {
	return Account{
		Batches: a.Batches + o.Batches, Rows: a.Rows + o.Rows, Bytes: a.Bytes + o.Bytes,
		Read: a.Read.Add(o.Read), Accounted: a.Accounted.Add(o.Accounted),
		Ingested: a.Ingested + o.Ingested, Counts: a.Counts.Add(o.Counts),
	}
}

// Gaps answers why a does not close, nil where it does: both sums of the counts close, the rows read are the rows
// counted, and the digests are equal.
func (a Account) Gaps() []string {
	var out []string
	c := a.Counts
	if got := c.Filtered + c.Rejected + c.Mapped; c.Read != got {
		out = append(out, fmt.Sprintf("read %d rows, but filtered + rejected + mapped is %d", c.Read, got))
	}
	if got := c.Created + c.Updated + c.Unchanged + c.Deleted + c.Protected + c.Refused; c.Mapped+c.Absent != got {
		out = append(out, fmt.Sprintf("mapped + absent is %d, but the effects add up to %d", c.Mapped+c.Absent, got))
	}
	if c.Read+c.Absent != a.Rows {
		out = append(out, fmt.Sprintf("%d rows were published, but %d are accounted for", a.Rows, c.Read+c.Absent))
	}
	if a.Read != a.Accounted {
		out = append(out, fmt.Sprintf("the digest of the rows read is %s, that of the rows accounted for is %s", a.Read, a.Accounted))
	}
	return out
}

// Balanced says whether a closes.
func (a Account) Balanced() bool { return len(a.Gaps()) == 0 }

// Outcome answers what a run becomes whose parts are all complete: BalancedPartly where rows were rejected or refused.
func (a Account) Outcome() Event {
	if a.Counts.Rejected > 0 || a.Counts.Refused > 0 {
		return BalancedPartly
	}
	return Balanced
}

// PartAccount is a part's account and what it lacks.
type PartAccount struct {
	Account
	Missing []Missing // batches not settled, ascending; the account lacks what they would add
	Faults  []string  // why the account can not close although nothing is missing
}

// Closes says whether the part is complete.
func (p PartAccount) Closes() bool { return len(p.Missing) == 0 && len(p.Faults) == 0 }

// Missing is a batch that is not settled.
type Missing struct {
	Seq uint32
	Why Lack
}

// Lack says what is missing of a batch.
type Lack string

// The lacks.
const (
	NotPublished Lack = "not reported as published"
	NotIngested  Lack = "not ingested"
	PartIngested Lack = "ingested in part"
)

// ClosePart adds up the batches of the epoch that read a part to its end: n batches, seq 0 to n − 1, with rows rows
// in all. Batches from n on are none of the part's: the worker never completed them, and they are a fault.
func ClosePart(n uint32, rows int64, batches []Batch) PartAccount {
	var out PartAccount
	known := make(map[uint32]Batch, len(batches))
	for _, b := range batches {
		known[b.Seq] = b
		if b.Seq >= n {
			out.Faults = append(out.Faults, fmt.Sprintf("batch %d is beyond the %d batches of the part", b.Seq, n))
		}
	}
	for seq := range n {
		b, ok := known[seq]
		if why := lack(b, ok); why != "" {
			out.Missing = append(out.Missing, Missing{Seq: seq, Why: why})
		}
		if !b.Published {
			continue
		}
		out.Account = out.Add(b.Account())
	}
	if len(out.Missing) > 0 {
		return out
	}
	out.Faults = append(out.Faults, out.Gaps()...)
	if out.Rows != rows {
		out.Faults = append(out.Faults, fmt.Sprintf("the worker read %d rows and published %d", rows, out.Rows))
	}
	return out
}

func lack(b Batch, known bool) Lack {
	switch {
	case !known || !b.Published:
		return NotPublished
	case b.Coverage.Whole():
		return ""
	case len(b.Coverage) > 0:
		return PartIngested
	default:
		return NotIngested
	}
}

// Certificate is a run's account as it is handed out: what was read equals what is accounted for.
type Certificate struct {
	RowsDigest      string // hexadecimal
	AccountedDigest string
	Snapshots       []string // that were read
	Balanced        bool
	SourceRows      *int64 // that there were to read, where the warehouse counted them in the one snapshot read
}

// Certify answers the certificate of a run: balanced where it is done, or a dry run is, and its account closes.
func Certify(s State, a Account, source Source) Certificate {
	return Certificate{
		RowsDigest: a.Read.String(), AccountedDigest: a.Accounted.String(), Snapshots: source.Read(), SourceRows: source.Rows(),
		Balanced: (s.Done() || s == Rehearsed) && a.Balanced() && len(source.Gaps(a.Counts.Read)) == 0,
	}
}
