package resourcepb

import (
	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
)

func toRedshift(r *resource.Redshift) *configv1.Redshift {
	return &configv1.Redshift{
		Host: r.Host, Port: int32(r.Port), Database: r.Database, User: r.User, Password: toSecret(r.Password), //nolint:gosec // Validate bounds ports
		Cluster: r.Cluster, Workgroup: r.Workgroup, Region: r.Region, RoleArn: r.RoleARN, ExternalId: r.ExternalID,
		UnloadBucket: r.UnloadBucket, UnloadPrefix: r.UnloadPrefix, UnloadRole: r.UnloadRole, Sslmode: r.SSLMode, Ca: r.CA,
		StatementTimeout: resource.FormatDuration(r.StatementTimeout), StateSchema: r.StateSchema,
		Endpoint: r.Endpoint, StsEndpoint: r.STSEndpoint, S3Endpoint: r.S3Endpoint,
	}
}

func ofRedshift(r *configv1.Redshift) *resource.Redshift {
	return &resource.Redshift{
		Host: r.GetHost(), Port: int(r.GetPort()), Database: r.GetDatabase(), User: r.GetUser(), Password: ofSecret(r.GetPassword()),
		Cluster: r.GetCluster(), Workgroup: r.GetWorkgroup(), Region: r.GetRegion(), RoleARN: r.GetRoleArn(), ExternalID: r.GetExternalId(),
		UnloadBucket: r.GetUnloadBucket(), UnloadPrefix: r.GetUnloadPrefix(), UnloadRole: r.GetUnloadRole(), SSLMode: r.GetSslmode(), CA: r.GetCa(),
		StatementTimeout: ofDuration(r.GetStatementTimeout()), StateSchema: r.GetStateSchema(),
		Endpoint: r.GetEndpoint(), STSEndpoint: r.GetStsEndpoint(), S3Endpoint: r.GetS3Endpoint(),
	}
}
