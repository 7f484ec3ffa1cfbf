package console

import (
	"fmt"
	"math"
	"slices"
	"time"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// Bounds of what is read for the months of usage.
const (
	usageMonths = 12
	usagePages  = 20
)

// usage is what a sync's runs did by months of UTC, newest first.
type usage struct {
	Months []usageMonth
	Chart  usageChart
	// Since is set where older runs were not read: the months up to it lack them.
	Since *moment
	Costs bool // the warehouse says what queries cost
}

// usageMonth sums the runs that were made in a month.
type usageMonth struct {
	Month                                                       string // 2026-11
	Runs, Failed                                                int64
	Read, Created, Updated, Deleted, Unchanged, Rejected, Bytes int64
	Scanned, Billed                                             int64 // bytes
}

// Changed are the rows that changed something: what vendors bill by.
func (m usageMonth) Changed() int64 { return m.Created + m.Updated + m.Deleted }

// usageOf sums runs, newest first, by months. A run that another one retries is in the account of that one, but for what its
// queries cost; dry runs cost and change nothing.
func usageOf(runs []*schedulerv1.Run, older bool) usage {
	retried := map[string]bool{}
	for _, r := range runs {
		if r.GetRetryOf() != "" {
			retried[r.GetRetryOf()] = true
		}
	}
	var u usage
	at := map[string]int{}
	for _, r := range runs {
		month := r.GetCreateTime().AsTime().Format("2006-01")
		i, ok := at[month]
		if !ok {
			if len(u.Months) == usageMonths {
				older = false
				break
			}
			i, at[month] = len(u.Months), len(u.Months)
			u.Months = append(u.Months, usageMonth{Month: month})
		}
		m := &u.Months[i]
		m.count(r, retried[r.GetId()])
		u.Costs = u.Costs || r.GetCost() != nil
	}
	if older && len(runs) > 0 {
		u.Since = instant(runs[len(runs)-1].GetCreateTime())
	}
	u.Chart = usageChartOf(u.Months)
	return u
}

func (m *usageMonth) count(r *schedulerv1.Run, retried bool) {
	m.Runs++
	if r.GetState() == schedulerv1.RunState_RUN_STATE_FAILED {
		m.Failed++
	}
	m.Scanned += r.GetCost().GetBytesScanned()
	m.Billed += r.GetCost().GetBytesBilled()
	if retried || r.GetDryRun() || r.GetDry() {
		return
	}
	n := r.GetCounts()
	m.Read += n.GetRead()
	m.Created += n.GetCreated()
	m.Updated += n.GetUpdated()
	m.Deleted += n.GetDeleted()
	m.Unchanged += n.GetUnchanged()
	m.Rejected += n.GetRejected() + n.GetRefused()
	m.Bytes += r.GetBytesRead()
}

// usageChart is months as bars: what each created, updated and deleted, one on the other. It is 1160 by 160.
type usageChart struct {
	Bars  []monthBar // oldest first
	Lines []gridLine
}

// monthBar is a month in the chart.
type monthBar struct {
	Month  usageMonth
	Label  string // Nov 26
	X      float64
	Middle float64
	Pieces []barPiece
}

// barPiece is a part of a bar.
type barPiece struct {
	Class     string
	Y, Height float64
}

// gridLine is a line of the scale with what it stands for.
type gridLine struct {
	Y    float64
	Rows int64
}

func usageChartOf(months []usageMonth) usageChart {
	const floor, top, step, width = 130.0, 16.0, 96.0, 56.0
	var most int64
	for _, m := range months {
		most = max(most, m.Changed())
	}
	scale := scaleOf(most)
	height := func(rows int64) float64 { return math.Round((floor - top) * float64(rows) / float64(scale)) }
	var out usageChart
	for _, rows := range []int64{0, scale / 2, scale} {
		out.Lines = append(out.Lines, gridLine{Y: floor - height(rows), Rows: rows})
	}
	for i, m := range slices.Backward(months) {
		x := float64(len(months)-1-i) * step
		b := monthBar{Month: m, Label: monthName(m.Month), X: x + (step-width)/2, Middle: x + step/2}
		y := floor
		for _, part := range []struct {
			class string
			rows  int64
		}{{"created", m.Created}, {"updated", m.Updated}, {"deleted", m.Deleted}} {
			y -= height(part.rows)
			b.Pieces = append(b.Pieces, barPiece{Class: part.class, Y: y, Height: height(part.rows)})
		}
		out.Bars = append(out.Bars, b)
	}
	return out
}

// scaleOf answers the next of 2, 4, 10, 20, 40, 100 … that is not below n: it has a half.
func scaleOf(n int64) int64 {
	for unit := int64(1); ; unit *= 10 {
		for _, s := range []int64{2, 4, 10} {
			if top := s * unit; top >= n || top > math.MaxInt64/100 {
				return top
			}
		}
	}
}

func monthName(month string) string {
	t, err := time.Parse("2006-01", month)
	if err != nil {
		return month
	}
	return t.Format("Jan 06")
}

// Title says a month's figures for who points at its bar.
func (b monthBar) Title() string {
	return fmt.Sprintf("%s: %s created, %s updated, %s deleted", b.Label, number(b.Month.Created), number(b.Month.Updated), number(b.Month.Deleted))
}

// usagePage is the usage of a year.
type usagePage struct {
	Workspace string
	ID, Name  string
	Usage     usage
}

func (c *Console) showUsage(r *request) (view, error) {
	ctx := r.Context()
	s, err := c.sync(ctx, r.workspace, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	since := time.Now().UTC().AddDate(0, -usageMonths, 0)
	var runs []*schedulerv1.Run
	token := ""
	for range usagePages {
		res, err := c.scheduler.ListRuns(ctx, &schedulerv1.ListRunsRequest{Workspace: r.workspace, Sync: s.GetMeta().GetId(), PageSize: recentRuns, PageToken: token})
		if err != nil {
			return nil, err //nolint:wrapcheck // classified
		}
		runs, token = append(runs, res.GetRuns()...), res.GetNextPageToken()
		if token == "" || len(runs) > 0 && runs[len(runs)-1].GetCreateTime().AsTime().Before(since) {
			break
		}
	}
	p := usagePage{Workspace: r.workspace, ID: s.GetMeta().GetId(), Name: s.GetMeta().GetDisplayName(), Usage: usageOf(runs, token != "")}
	return page{name: "sync_usage", title: "Usage of " + p.Name, section: "syncs", data: p}, nil
}
