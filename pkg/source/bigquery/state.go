package bigquery

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/api/googleapi"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery/googlesql"
)

// lostExpired says why there is nothing to compare with: nobody but the expiration takes the base's table away.
const lostExpired = "the snapshot of the last run is gone: it expires after 21 days; run the sync at least every two weeks"

// creating begins a statement that makes a table of a state, which expires by itself.
func (s *Source) creating(table string) string {
	return "CREATE OR REPLACE TABLE " + s.stateName(table) + " PARTITION BY RANGE_BUCKET(" + partField + ", GENERATE_ARRAY(0, 64, 1))" +
		" OPTIONS(expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 21 DAY)) AS "
}

// stateDataset names the data set that snapshots of mirrors are kept in.
func stateDataset(b resource.BigQuery) string {
	if b.StateDataset != "" {
		return b.StateDataset
	}
	return resource.DefaultStateSchema
}

func (s *Source) stateRef(table string) *bq.TableReference {
	return &bq.TableReference{ProjectId: s.address.ProjectID, DatasetId: stateDataset(s.address), TableId: table}
}

func (s *Source) stateName(table string) string {
	return googlesql.Quote(s.address.ProjectID) + "." + googlesql.Quote(stateDataset(s.address)) + "." + googlesql.Quote(table)
}

// stateFault classifies what hinders a snapshot from being kept.
func (s *Source) stateFault(err error) error {
	if fault.ReasonOf(err) != fault.ReasonWarehouseDenied {
		return err
	}
	return fault.New(fault.Denied, fault.ReasonWarehouseDenied,
		"the account may not make tables in the data set %s, where mirror_engine diff keeps its snapshots, or may not run the query; millrace connections setup prints what to grant, or use mirror_engine: row_index",
		stateDataset(s.address))
}

func isStatus(err error, code int) bool {
	var g *googleapi.Error
	return errors.As(err, &g) && g.Code == code
}

// ensureStates makes the data set of states where it is not there, at the connection's location.
func (s *Source) ensureStates(ctx context.Context) error {
	name := stateDataset(s.address)
	_, err := call(ctx, s.client, func(ctx context.Context) (*bq.Dataset, error) {
		return s.client.rest.Datasets.Get(s.address.ProjectID, name).Fields("location").Context(ctx).Do()
	})
	if err == nil || !isStatus(err, http.StatusNotFound) {
		return s.stateFault(classify(ctx, err, looking, -1))
	}
	_, err = call(ctx, s.client, func(ctx context.Context) (*bq.Dataset, error) {
		return s.client.rest.Datasets.Insert(s.address.ProjectID, &bq.Dataset{
			DatasetReference: &bq.DatasetReference{ProjectId: s.address.ProjectID, DatasetId: name}, Location: s.address.Location,
			Description: "Snapshots of mirrors, by Millrace. They expire by themselves.",
		}).Context(ctx).Do()
	})
	if isStatus(err, http.StatusConflict) { // another made it meanwhile
		return nil
	}
	return s.stateFault(classify(ctx, err, looking, -1))
}

// dropEarlier drops what an owner's attempts up to one left, but for a base. Where there is no data set, there is nothing.
func (s *Source) dropEarlier(ctx context.Context, of string, last source.Attempt, base string) error {
	for token := ""; ; {
		page, err := call(ctx, s.client, func(ctx context.Context) (*bq.TableList, error) {
			return s.client.rest.Tables.List(s.address.ProjectID, stateDataset(s.address)).PageToken(token).MaxResults(1000).Context(ctx).Do()
		})
		if isStatus(err, http.StatusNotFound) {
			return nil
		}
		if err != nil {
			return classify(ctx, err, looking, -1)
		}
		for _, t := range page.Tables {
			if t == nil || t.TableReference == nil {
				continue
			}
			name := t.TableReference.TableId
			if name == base || !source.IsUpTo(name, of, last) {
				continue
			}
			if err := s.dropTable(ctx, name); err != nil {
				return err
			}
		}
		if token = page.NextPageToken; token == "" {
			return nil
		}
	}
}

func (s *Source) dropTable(ctx context.Context, name string) error {
	_, err := call(ctx, s.client, func(ctx context.Context) (*struct{}, error) {
		return &struct{}{}, s.client.rest.Tables.Delete(s.address.ProjectID, stateDataset(s.address), name).Context(ctx).Do()
	})
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return s.stateFault(classify(ctx, err, looking, -1))
}

// Drop drops the tables of a state.
func (d *Driver) Drop(ctx context.Context, c resource.Connection, st source.State) error {
	k, ok := source.ParseKept(st)
	if !ok || c.BigQuery == nil {
		return nil
	}
	return d.beside(ctx, *c.BigQuery, func(s *Source) error {
		for _, t := range []string{k.Changes(), k.Table()} {
			if err := s.dropTable(ctx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// Clear drops the tables of an owner up to an attempt. Readers do not hinder it.
func (d *Driver) Clear(ctx context.Context, c resource.Connection, owner string, last source.Attempt) error {
	if c.BigQuery == nil {
		return nil
	}
	return d.beside(ctx, *c.BigQuery, func(s *Source) error { return s.dropEarlier(ctx, owner, last, "") })
}

// Whereabouts names an owner's tables.
func (*Driver) Whereabouts(c resource.Connection, owner string) string {
	var b resource.BigQuery
	if c.BigQuery != nil {
		b = *c.BigQuery
	}
	return source.TablesOf(owner) + " in the data set " + stateDataset(b) + " of the project " + b.ProjectID
}

// beside calls f with a source that is opened for it.
func (d *Driver) beside(ctx context.Context, b resource.BigQuery, f func(s *Source) error) error {
	cl, err := newClient(ctx, b, d.settings)
	if err != nil {
		return err
	}
	s := &Source{settings: d.settings, address: b, client: cl}
	return errors.Join(f(s), s.Close())
}

// keptTable is what there is of a table of a state.
type keptTable struct {
	rows  int64
	types map[string]string // of its fields
}

// stateTable looks at a table of a state; nil where there is none.
func (s *Source) stateTable(ctx context.Context, name string) (*keptTable, error) {
	t, err := call(ctx, s.client, func(ctx context.Context) (*bq.Table, error) {
		return s.client.rest.Tables.Get(s.address.ProjectID, stateDataset(s.address), name).Fields("schema", "numRows").Context(ctx).Do()
	})
	if isStatus(err, http.StatusNotFound) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, s.stateFault(classify(ctx, err, looking, -1))
	}
	if t.Schema == nil || t.NumRows > 1<<62 {
		return nil, unreadable("a look at a table")
	}
	out := &keptTable{rows: int64(t.NumRows), types: map[string]string{}} //nolint:gosec // bounded above
	for _, f := range t.Schema.Fields {
		if f == nil {
			return nil, unreadable("a look at a table")
		}
		if c := columnOf(f); c.typ != nil && strings.HasPrefix(f.Name, "c_") {
			out.types[f.Name] = class(c.typ)
		}
	}
	return out, nil
}

// execute runs a statement that makes a table, and answers when it began. It is estimated first, as a query is.
func (s *Source) execute(ctx context.Context, r request) (start time.Time, err error) {
	got, err := s.runAny(ctx, r)
	if err != nil {
		return start, err
	}
	return got.start, nil
}

func stateGone() error {
	return fault.New(fault.Unavailable, fault.ReasonSourceChanged, "the snapshot of the mirror is gone; the run is planned again")
}
