package document

import (
	"strconv"

	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/resource"
)

// bigquery is the block of a BigQuery connection.
func (r *reader) bigquery(c *resource.Connection) field {
	return field{name: "bigquery", read: func(n *yaml.Node, path string) {
		b := &resource.BigQuery{}
		c.BigQuery = b
		r.object(n, path,
			text(r, "project_id", &b.ProjectID), text(r, "dataset_id", &b.DatasetID), text(r, "location", &b.Location),
			long(r, "maximum_bytes_billed", &b.MaximumBytesBilled), text(r, "service_account_id", &b.ServiceAccountID),
			r.secret("service_account_key", &b.ServiceAccountKey), text(r, "credentials", &b.Credentials),
			duration(r, "statement_timeout", &b.StatementTimeout), text(r, "state_dataset", &b.StateDataset), text(r, "endpoint", &b.Endpoint),
			text(r, "storage_endpoint", &b.StorageEndpoint), text(r, "token_endpoint", &b.TokenEndpoint),
		)
	}}
}

func (w *writer) bigquery(b *resource.BigQuery) {
	w.object("bigquery", false, func(w *writer) {
		w.text("project_id", b.ProjectID)
		w.text("dataset_id", b.DatasetID)
		w.text("location", b.Location)
		if b.MaximumBytesBilled != 0 {
			w.put("maximum_bytes_billed", scalarNode(strconv.FormatInt(b.MaximumBytesBilled, 10)))
		}
		w.text("service_account_id", b.ServiceAccountID)
		w.secret("service_account_key", b.ServiceAccountKey)
		w.text("credentials", b.Credentials)
		w.text("statement_timeout", resource.FormatDuration(b.StatementTimeout))
		w.text("state_dataset", b.StateDataset)
		w.text("endpoint", b.Endpoint)
		w.text("storage_endpoint", b.StorageEndpoint)
		w.text("token_endpoint", b.TokenEndpoint)
	})
}
