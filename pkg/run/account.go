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

// Covered says whether fragments, in any order, are all of a batch: numbered 0, 1, … to the one marked last, each
// starting where the one before ends. It answers the rows that they cover up to the first gap.
func Covered(fs []Fragment) (rows int64, whole bool) {
	fs = slices.Clone(fs)
	slices.SortFunc(fs, func(a, b Fragment) int { return cmp.Compare(a.Index, b.Index) })
	for i, f := range fs {
		if int(f.Index) != i || f.FirstRow != rows {
			return rows, false
		}
		rows += f.Rows
		if f.Last {
			return rows, i == len(fs)-1
		}
	}
	return rows, false
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
	Whole     bool // the fragments ingested are all of it
}

// Settled says whether nothing more is to come for b.
func (b Batch) Settled() bool { return b.Published && b.Whole }

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
	if c.Read != a.Rows {
		out = append(out, fmt.Sprintf("%d rows were published, but %d are accounted for", a.Rows, c.Read))
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
		out.Account = out.Add(Account{
			Batches: 1, Rows: b.Rows, Bytes: b.Bytes, Read: b.Digest,
			Accounted: b.Ingested.Digest, Ingested: b.Ingested.Rows, Counts: b.Ingested.Counts,
		})
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
	case b.Whole:
		return ""
	case b.Ingested.Rows > 0:
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
}

// Certify answers the certificate of a run: balanced where it is done and its account closes.
func Certify(s State, a Account, snapshots []string) Certificate {
	return Certificate{
		RowsDigest: a.Read.String(), AccountedDigest: a.Accounted.String(),
		Snapshots: slices.Compact(slices.DeleteFunc(slices.Clone(snapshots), func(t string) bool { return t == "" })),
		Balanced:  s.Done() && a.Balanced(),
	}
}
