package resourcepb

import (
	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
)

func toDatabricks(d resource.Databricks) *configv1.Databricks {
	return &configv1.Databricks{
		Host: d.Host, Port: int32(d.Port), Protocol: d.Protocol, HttpPath: d.HTTPPath, WarehouseId: d.WarehouseID, //nolint:gosec // Validate bounds ports
		Catalog: d.Catalog, Schema: d.Schema, ClientId: d.ClientID, ClientSecret: toSecret(d.ClientSecret), Token: toSecret(d.Token),
		StatementTimeout: resource.FormatDuration(d.StatementTimeout),
	}
}

func ofDatabricks(d *configv1.Databricks) *resource.Databricks {
	return &resource.Databricks{
		Host: d.GetHost(), Port: int(d.GetPort()), Protocol: d.GetProtocol(), HTTPPath: d.GetHttpPath(), WarehouseID: d.GetWarehouseId(),
		Catalog: d.GetCatalog(), Schema: d.GetSchema(), ClientID: d.GetClientId(), ClientSecret: ofSecret(d.GetClientSecret()), Token: ofSecret(d.GetToken()),
		StatementTimeout: ofDuration(d.GetStatementTimeout()),
	}
}
