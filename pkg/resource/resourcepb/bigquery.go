package resourcepb

import (
	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
)

func toBigQuery(b *resource.BigQuery) *configv1.BigQuery {
	return &configv1.BigQuery{
		ProjectId: b.ProjectID, DatasetId: b.DatasetID, Location: b.Location, MaximumBytesBilled: b.MaximumBytesBilled,
		ServiceAccountId: b.ServiceAccountID, ServiceAccountKey: toSecret(b.ServiceAccountKey), Credentials: b.Credentials,
		StatementTimeout: resource.FormatDuration(b.StatementTimeout), StateDataset: b.StateDataset,
		Endpoint: b.Endpoint, StorageEndpoint: b.StorageEndpoint, TokenEndpoint: b.TokenEndpoint,
	}
}

func ofBigQuery(b *configv1.BigQuery) *resource.BigQuery {
	return &resource.BigQuery{
		ProjectID: b.GetProjectId(), DatasetID: b.GetDatasetId(), Location: b.GetLocation(), MaximumBytesBilled: b.GetMaximumBytesBilled(),
		ServiceAccountID: b.GetServiceAccountId(), ServiceAccountKey: ofSecret(b.GetServiceAccountKey()), Credentials: b.GetCredentials(),
		StatementTimeout: ofDuration(b.GetStatementTimeout()), StateDataset: b.GetStateDataset(),
		Endpoint: b.GetEndpoint(), StorageEndpoint: b.GetStorageEndpoint(), TokenEndpoint: b.GetTokenEndpoint(),
	}
}
