package scheduler

import (
	"context"
	"fmt"

	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// maxMissing bounds the spans of batches that a part is said to lack.
const maxMissing = 20

// missingOf says which batches the account of a part lacks that is read to its end: "batches 4 to 7 are not ingested".
// Nothing of other parts.
func missingOf(ctx context.Context, q sqldb.Querier, p partRow) ([]string, error) {
	if p.State != run.Extracted {
		return nil, nil
	}
	held, err := batches(ctx, q, "WHERE run_id = ? AND part = ? AND epoch = ? ORDER BY seq", p.Run.String(), int64(p.Part), int64(p.Epoch))
	if err != nil {
		return nil, err
	}
	all := make([]run.Batch, 0, len(held))
	for _, b := range held {
		all = append(all, b.Batch)
	}
	return told(run.ClosePart(p.ReadBatches, p.ReadRows, all).Missing), nil
}

// told joins batches that follow one another and lack the same.
func told(missing []run.Missing) []string {
	var out []string
	for i := 0; i < len(missing); {
		end := i
		for end+1 < len(missing) && missing[end+1].Seq == missing[end].Seq+1 && missing[end+1].Why == missing[i].Why {
			end++
		}
		if len(out) == maxMissing {
			return append(out, fmt.Sprintf("and %d more batches", len(missing)-i))
		}
		if end == i {
			out = append(out, fmt.Sprintf("batch %d is %s", missing[i].Seq, missing[i].Why))
		} else {
			out = append(out, fmt.Sprintf("batches %d to %d are %s", missing[i].Seq, missing[end].Seq, missing[i].Why))
		}
		i = end + 1
	}
	return out
}

// stuckShare is the share of the loss window after which a run is said to wait for batches.
const stuckShare = 6

// waitsForBatches says which parts of an open run lack batches that have not come for a while, and what is done about it.
func (s *Service) waitsForBatches(ctx context.Context, q sqldb.Querier, have []partRow) ([]string, error) {
	now, err := q.Now(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range have {
		if p.State != run.Extracted || now.Sub(p.Progress) < s.settings.LossWindow/stuckShare || len(out) == maxWaits {
			continue
		}
		missing, err := missingOf(ctx, q, p)
		if err != nil {
			return nil, err
		}
		if len(missing) == 0 {
			continue
		}
		what := missing[0]
		if n := len(missing) - 1; n > 0 {
			what += fmt.Sprintf(", and %d more spans", n)
		}
		out = append(out, fmt.Sprintf("part %d: %s; it is read again where nothing comes for %s while the streams are empty, or for %s and what they held before has been worked on",
			p.Part, what, s.settings.LossWindow, s.settings.LossLimit))
	}
	return out, nil
}
