package resourcepb

import (
	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
)

func toSnowflake(s *resource.Snowflake) *configv1.Snowflake {
	return &configv1.Snowflake{
		Account: s.Account, Region: s.Region, Warehouse: s.Warehouse, Database: s.Database, Schema: s.Schema, Role: s.Role, User: s.User,
		PrivateKey: toSecret(s.PrivateKey), PrivateKey_2: toSecret(s.PrivateKey2),
		PrivateKeyPassphrase: toSecret(s.PrivateKeyPassphrase), PrivateKey_2Passphrase: toSecret(s.PrivateKey2Passphrase), StateSchema: s.StateSchema,
		OauthClientId: s.OAuthClientID, OauthClientSecret: toSecret(s.OAuthClientSecret), OauthTokenUrl: s.OAuthTokenURL, OauthScope: s.OAuthScope,
		Token: toSecret(s.Token), WorkloadIdentity: s.WorkloadIdentity, WorkloadIdentityToken: toSecret(s.WorkloadIdentityToken),
		Password: toSecret(s.Password), Host: s.Host, Port: int32(s.Port), Protocol: s.Protocol, Timestamps: s.Timestamps, //nolint:gosec // Validate bounds ports
		StatementTimeout: resource.FormatDuration(s.StatementTimeout),
	}
}

func ofSnowflake(s *configv1.Snowflake) *resource.Snowflake {
	return &resource.Snowflake{
		Account: s.GetAccount(), Region: s.GetRegion(), Warehouse: s.GetWarehouse(), Database: s.GetDatabase(), Schema: s.GetSchema(),
		Role: s.GetRole(), User: s.GetUser(), PrivateKey: ofSecret(s.GetPrivateKey()), PrivateKey2: ofSecret(s.GetPrivateKey_2()),
		PrivateKeyPassphrase: ofSecret(s.GetPrivateKeyPassphrase()), PrivateKey2Passphrase: ofSecret(s.GetPrivateKey_2Passphrase()), StateSchema: s.GetStateSchema(),
		OAuthClientID: s.GetOauthClientId(), OAuthClientSecret: ofSecret(s.GetOauthClientSecret()), OAuthTokenURL: s.GetOauthTokenUrl(), OAuthScope: s.GetOauthScope(),
		Token: ofSecret(s.GetToken()), WorkloadIdentity: s.GetWorkloadIdentity(), WorkloadIdentityToken: ofSecret(s.GetWorkloadIdentityToken()),
		Password: ofSecret(s.GetPassword()), Host: s.GetHost(), Port: int(s.GetPort()), Protocol: s.GetProtocol(), Timestamps: s.GetTimestamps(),
		StatementTimeout: ofDuration(s.GetStatementTimeout()),
	}
}
