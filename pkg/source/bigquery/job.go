package bigquery

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/google/uuid"
	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/api/googleapi"

	"millrace.dev/pkg/fault"
)

const (
	selectStatement = "SELECT"
	// poll is how long BigQuery may hold back the answer to whether a query is done.
	poll = 10 * time.Second
	// farewell bounds how long a query is being cancelled.
	farewell = 15 * time.Second
)

// request is one query.
type request struct {
	sql    string
	params []*bq.QueryParameter
	label  string
	// shift is how many lines stand before the model's; below 0 the statement is the driver's own.
	shift int
	// within refuses what the queries of the source are estimated to read together; nil: nothing is.
	within func(bytes int64) error
}

// result is what a query that ran to its end has left behind.
type result struct {
	table *bq.TableReference // temporary: BigQuery keeps it for a day
	rows  int64
	bytes int64 // that the query was estimated to read
	start time.Time
}

func (s *Source) configuration(r request, dry bool) *bq.JobConfiguration {
	no := false
	q := &bq.JobConfigurationQuery{
		Query: r.sql, UseLegacySql: &no, UseQueryCache: &no, MaximumBytesBilled: s.address.MaximumBytesBilled,
		ConnectionProperties: []*bq.ConnectionProperty{{Key: "time_zone", Value: "UTC"}},
	}
	if len(r.params) > 0 {
		q.ParameterMode, q.QueryParameters = "NAMED", r.params
	}
	if s.address.DatasetID != "" {
		q.DefaultDataset = &bq.DatasetReference{ProjectId: s.address.ProjectID, DatasetId: s.address.DatasetID}
	}
	return &bq.JobConfiguration{DryRun: dry, Labels: labels(r.label), Query: q, JobTimeoutMs: s.address.StatementTimeout.Milliseconds()}
}

// dryRun answers what BigQuery says of a statement without running it: its type, columns and bytes.
func (s *Source) dryRun(ctx context.Context, r request) (*bq.JobStatistics2, error) {
	job := &bq.Job{Configuration: s.configuration(r, true), JobReference: &bq.JobReference{ProjectId: s.address.ProjectID, Location: s.address.Location}}
	job.Configuration.Query.MaximumBytesBilled = 0 // the estimate is wanted, whatever it is
	got, err := call(ctx, s.client, func(ctx context.Context) (*bq.Job, error) {
		return s.client.rest.Jobs.Insert(s.address.ProjectID, job).Context(ctx).Do()
	})
	if err != nil {
		return nil, classify(ctx, err, checking, r.shift)
	}
	if got.Statistics == nil || got.Statistics.Query == nil {
		return nil, unreadable("a dry run")
	}
	if e := errorOf(got); e != nil {
		return nil, stated(0, e.Reason, e.Message, checking, r.shift)
	}
	return got.Statistics.Query, nil
}

func errorOf(j *bq.Job) *bq.ErrorProto {
	if j.Status == nil {
		return nil
	}
	return j.Status.ErrorResult
}

func unreadable(what string) error {
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "BigQuery's answer to %s lacks what it must have; check that the endpoint is BigQuery's", what)
}

// run runs a SELECT to its end and answers where its result stands. It is estimated first, and refused where it would be
// billed for too much. When ctx ends, the query is cancelled.
func (s *Source) run(ctx context.Context, r request) (*result, error) {
	out, err := s.runAny(ctx, r)
	if err == nil && out.table == nil {
		err = unreadable("a query")
	}
	return out, err
}

// runAny is run of a statement that need not have a result.
func (s *Source) runAny(ctx context.Context, r request) (*result, error) {
	out := &result{}
	var err error
	if out.bytes, err = s.estimate(ctx, r); err != nil {
		return nil, err
	}
	err = s.finish(ctx, r, 0, func(page *bq.GetQueryResultsResponse) error {
		if page.TotalRows > math.MaxInt64 {
			return unreadable("a query")
		}
		out.rows = int64(page.TotalRows)
		return nil
	}, func(j *bq.Job) {
		if j.Configuration != nil && j.Configuration.Query != nil {
			out.table = j.Configuration.Query.DestinationTable
		}
		if j.Statistics != nil {
			out.start = time.UnixMilli(j.Statistics.StartTime).UTC()
		}
	})
	return out, err
}

// texts answers the rows of a small result, NULLs as "". The statement selects texts.
func (s *Source) texts(ctx context.Context, r request) ([][]string, error) {
	const page, most = 1000, 100_000
	var out [][]string
	if _, err := s.estimate(ctx, r); err != nil {
		return nil, err
	}
	err := s.finish(ctx, r, page, func(p *bq.GetQueryResultsResponse) error {
		for _, row := range p.Rows {
			if row == nil {
				return unreadable("a small query")
			}
			values := make([]string, len(row.F))
			for i, cell := range row.F {
				if cell != nil {
					values[i], _ = cell.V.(string)
				}
			}
			out = append(out, values)
		}
		if len(out) > most {
			return unreadable("a small query")
		}
		return nil
	}, func(*bq.Job) {})
	return out, err
}

// finish inserts a job, waits for its end and hands over the pages of its result, `size` rows each, and then the job.
func (s *Source) finish(ctx context.Context, r request, size int64, each func(*bq.GetQueryResultsResponse) error, done func(*bq.Job)) error {
	ref := &bq.JobReference{ProjectId: s.address.ProjectID, JobId: "millrace_" + uuid.NewString(), Location: s.address.Location}
	job := &bq.Job{Configuration: s.configuration(r, false), JobReference: ref}
	got, err := call(ctx, s.client, func(ctx context.Context) (*bq.Job, error) {
		return s.client.rest.Jobs.Insert(ref.ProjectId, job).Context(ctx).Do()
	})
	if err != nil && !conflicts(err) { // it was inserted by a try whose answer got lost
		s.cancel(ctx, ref, err)
		return classify(ctx, err, running, r.shift)
	}
	if err == nil && got.JobReference != nil && got.JobReference.Location != "" {
		ref.Location = got.JobReference.Location
	}
	if err := s.pages(ctx, ref, size, each); err != nil {
		s.cancel(ctx, ref, err)
		return classify(ctx, err, running, r.shift)
	}
	got, err = call(ctx, s.client, func(ctx context.Context) (*bq.Job, error) {
		return s.client.rest.Jobs.Get(ref.ProjectId, ref.JobId).Location(ref.Location).Context(ctx).Do()
	})
	if err != nil {
		return classify(ctx, err, running, -1)
	}
	if e := errorOf(got); e != nil {
		return failed(ctx, e, r.shift)
	}
	s.meter.ended(got.Statistics)
	done(got)
	return nil
}

func conflicts(err error) bool {
	var g *googleapi.Error
	return errors.As(err, &g) && g.Code == http.StatusConflict
}

// pages waits for the end of a job and hands over its pages.
func (s *Source) pages(ctx context.Context, ref *bq.JobReference, size int64, each func(*bq.GetQueryResultsResponse) error) error {
	token := ""
	for {
		page, err := call(ctx, s.client, func(ctx context.Context) (*bq.GetQueryResultsResponse, error) {
			c := s.client.rest.Jobs.GetQueryResults(ref.ProjectId, ref.JobId).Location(ref.Location).MaxResults(size).TimeoutMs(poll.Milliseconds())
			if token != "" {
				c = c.PageToken(token)
			}
			return c.Context(ctx).Do()
		})
		switch {
		case err != nil:
			return err
		case !page.JobComplete:
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("wait for a query: %w", err)
			}
			continue
		}
		if err := each(page); err != nil {
			return err
		}
		if token = page.PageToken; token == "" || size == 0 {
			return nil
		}
	}
}

// cancel ends a job that is no longer wanted, unless BigQuery has ended it.
func (s *Source) cancel(ctx context.Context, ref *bq.JobReference, why error) {
	var g *googleapi.Error
	if ctx.Err() == nil && errors.As(why, &g) && g.Code < http.StatusInternalServerError && g.Code != http.StatusTooManyRequests {
		return
	}
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer end()
	//nolint:errcheck // nothing more can be done; the job's own time-out ends it
	_, _ = call(ctx, s.client, func(ctx context.Context) (*bq.JobCancelResponse, error) {
		return s.client.rest.Jobs.Cancel(ref.ProjectId, ref.JobId).Location(ref.Location).Context(ctx).Do()
	})
}
