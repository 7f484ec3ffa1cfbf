package bigquery

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// Check names the steps up to reading a result, and warns where the account could make tables.
func (s *Source) Check(ctx context.Context) []source.CheckStep {
	var steps []source.CheckStep
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"resolve", s.resolve}, {"authenticate", s.authenticate}, {"project", s.findProject}, {"dataset", s.findDataset},
		{"run query", s.runOne},
	} {
		if err := step.do(ctx); err != nil {
			return append(steps, source.CheckStep{Name: step.name, Message: fault.As(err).Message})
		}
		steps = append(steps, source.CheckStep{Name: step.name, OK: true})
	}
	if s.writes(ctx) {
		steps = append(steps, source.CheckStep{Name: "privileges", OK: true, Warning: true,
			Message: "the account could make tables in the data set; give Millrace one that can only read (millrace connections setup prints how)"})
	}
	if s.address.StateDataset != "" {
		if steps = append(steps, s.checkStates(ctx)); !steps[len(steps)-1].OK {
			return steps
		}
	}
	if s.address.MaximumBytesBilled == 0 {
		steps = append(steps, source.CheckStep{Name: "cost", OK: true, Warning: true,
			Message: "no bound on what a query costs; set bigquery.maximum_bytes_billed"})
	}
	return steps
}

func (s *Source) resolve(ctx context.Context) error {
	if _, err := net.DefaultResolver.LookupHost(ctx, s.client.restURL.Hostname()); err != nil {
		return classify(ctx, err, looking, -1)
	}
	return nil
}

func (s *Source) authenticate(ctx context.Context) error {
	_, err := s.client.tokens.get(ctx)
	return classify(ctx, err, looking, -1)
}

func (s *Source) findProject(ctx context.Context) error {
	_, err := call(ctx, s.client, func(ctx context.Context) (*bq.DatasetList, error) {
		return s.client.rest.Datasets.List(s.address.ProjectID).MaxResults(1).Context(ctx).Do()
	})
	return classify(ctx, err, looking, -1)
}

func (s *Source) findDataset(ctx context.Context) error {
	if s.address.DatasetID == "" {
		return nil
	}
	got, err := call(ctx, s.client, func(ctx context.Context) (*bq.Dataset, error) {
		return s.client.rest.Datasets.Get(s.address.ProjectID, s.address.DatasetID).Fields("location").Context(ctx).Do()
	})
	if err != nil {
		return classify(ctx, err, looking, -1)
	}
	if l := s.address.Location; l != "" && got.Location != "" && !strings.EqualFold(l, got.Location) {
		return fault.New(fault.Precondition, fault.ReasonInvalidArgument, "the data set is at %s, and bigquery.location is %s; mend the location", got.Location, l)
	}
	return nil
}

// runOne reads the result of a query, for reading needs another role than running.
func (s *Source) runOne(ctx context.Context) error {
	rows := int64(0)
	err := s.read(ctx, source.Query{Model: resource.DataModel{SQL: "SELECT 1 AS one"}, Label: "millrace"}, func(b arrow.RecordBatch) bool {
		rows += b.NumRows()
		return true
	})
	if err == nil && rows != 1 {
		return unreadable("a read of rows")
	}
	return err
}

// writes says whether BigQuery would let the account make a table. It is asked by a dry run, which makes none.
func (s *Source) writes(ctx context.Context) bool {
	if s.address.DatasetID == "" {
		return false
	}
	_, err := s.dryRun(ctx, request{sql: "CREATE TABLE millrace_probe (one INT64)", label: "millrace", shift: -1})
	return err == nil
}

// checkStates says whether BigQuery would let the account keep snapshots. It is asked by a dry run, which makes none.
func (s *Source) checkStates(ctx context.Context) source.CheckStep {
	const name = "state data set writable"
	err := s.ensureStates(ctx)
	if err == nil {
		_, err = s.dryRun(ctx, request{sql: s.creating("millrace_probe") + "SELECT 1 AS " + partField, label: "millrace", shift: -1})
		err = s.stateFault(err)
	}
	if err != nil {
		return source.CheckStep{Name: name, Message: fault.As(err).Message}
	}
	return source.CheckStep{Name: name, OK: true, Message: "snapshots expire after 21 days: run mirrors by diff at least every two weeks"}
}

// Setup answers what an administrator runs to make a service account that can only read, with the connection's names
// filled in.
func (*Driver) Setup(c resource.Connection) (string, error) {
	b := c.BigQuery
	if b == nil {
		return "", fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the connection has no bigquery block")
	}
	account, dataset := b.ServiceAccountID, b.DatasetID
	if account == "" {
		account = "millrace-reader@" + b.ProjectID + ".iam.gserviceaccount.com"
	}
	if dataset == "" {
		dataset = "your_dataset"
	}
	name, _, _ := strings.Cut(account, "@")
	return fmt.Sprintf(`# In a shell, as an administrator of the project %[1]s. Leave out what there is already.
gcloud services enable bigquery.googleapis.com bigquerystorage.googleapis.com --project %[1]s
gcloud iam service-accounts create %[2]s --project %[1]s --display-name "Millrace, reads only"
# To run queries, and to read their results; neither shows any data.
gcloud projects add-iam-policy-binding %[1]s --member serviceAccount:%[3]s --role roles/bigquery.jobUser --condition None
gcloud projects add-iam-policy-binding %[1]s --member serviceAccount:%[3]s --role roles/bigquery.readSessionUser --condition None
# To read the data: once for each data set. In BigQuery:
#   GRANT `+"`roles/bigquery.dataViewer` ON SCHEMA `%[1]s`.`%[4]s`"+` TO "serviceAccount:%[3]s";
bq query --project_id %[1]s --use_legacy_sql=false 'GRANT `+"`roles/bigquery.dataViewer` ON SCHEMA `%[1]s`.`%[4]s`"+` TO "serviceAccount:%[3]s"'
# For mirrors by mirror_engine: diff alone: a data set of Millrace's own, in which it keeps the snapshots that it compares with.
bq --location=%[6]s mk --dataset %[1]s:%[5]s
bq query --project_id %[1]s --use_legacy_sql=false 'GRANT `+"`roles/bigquery.dataEditor` ON SCHEMA `%[1]s`.`%[5]s`"+` TO "serviceAccount:%[3]s"'
# For mirrors by mirror_engine: native alone: each table keeps the history of its changes. In BigQuery, as the table's owner:
#   ALTER TABLE `+"`%[1]s`.`%[4]s`.your_table"+` SET OPTIONS (enable_change_history = TRUE);
# A key, if the extractor runs outside Google Cloud: put the file into service_account_key and delete it here.
gcloud iam service-accounts keys create millrace-key.json --iam-account %[3]s
# The extractor calls these, port 443: bigquery.googleapis.com, bigquerystorage.googleapis.com, oauth2.googleapis.com.
`, b.ProjectID, name, account, dataset, stateDataset(*b), cmp.Or(b.Location, "US")), nil
}
