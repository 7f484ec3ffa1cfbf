package redshift

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/redshift"
	"github.com/aws/aws-sdk-go-v2/service/redshiftserverless"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

const (
	// awsTries is how often a call to AWS is made before the part is given up.
	awsTries = 3
	// awsBackoff bounds the wait between two of them.
	awsBackoff = 2 * time.Second
	// loginLasts is for how long a temporary password is asked for.
	loginLasts = 15 * time.Minute
	// roleSession names the sessions of an assumed role in the account's records.
	roleSession = "millrace"
)

// account is AWS as one connection has it: as the identity of the process's environment or shared configuration, or as
// the role that the connection names. Credentials are taken when they are first needed and anew before they end.
type account struct {
	address   resource.Redshift
	settings  Settings
	transport *http.Transport

	mu     sync.Mutex
	loaded *aws.Config
	last   *login
}

// login is a database user with a temporary password.
type login struct {
	user, password string
	ends           time.Time
}

func transportOf(s Settings) *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: s.ConnectTimeout}).DialContext,
		TLSHandshakeTimeout:   s.ConnectTimeout,
		ResponseHeaderTimeout: s.ReplyTimeout,
		MaxIdleConnsPerHost:   s.LookAhead + 1,
		IdleConnTimeout:       time.Minute,
		ForceAttemptHTTP2:     true,
		Proxy:                 http.ProxyFromEnvironment,
	}
}

func newAccount(r resource.Redshift, s Settings, t *http.Transport) *account {
	return &account{address: r, settings: s, transport: t}
}

// config answers how AWS is called.
func (a *account) config(ctx context.Context) (aws.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loaded != nil {
		return *a.loaded, nil
	}
	c, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(a.address.Region), config.WithEC2IMDSClientEnableState(metadata()),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = awsTries, awsBackoff })
		}))
	if err != nil {
		return c, fault.New(fault.Precondition, fault.ReasonWarehouseDenied, "the shared configuration of AWS on the extractor's machine cannot be read; mend it")
	}
	if built, ok := c.HTTPClient.(*awshttp.BuildableClient); ok { // has the authorities that the environment names
		a.transport.TLSClientConfig = built.GetTransport().TLSClientConfig
	}
	c.HTTPClient = &http.Client{Transport: a.transport, Timeout: a.settings.ReplyTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if a.address.RoleARN != "" {
		if err := a.assume(ctx, &c); err != nil {
			return c, err
		}
	}
	a.loaded = &c
	return c, nil
}

// metadata says whether the machine's metadata service is asked for credentials: only where the environment says so.
func metadata() imds.ClientEnableState {
	if strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "false") {
		return imds.ClientEnabled
	}
	return imds.ClientDisabled
}

// assume makes c act as the connection's role. A role of another account wants an external id, without which whoever
// learns its name could have it read for them.
func (a *account) assume(ctx context.Context, c *aws.Config) error {
	client := sts.NewFromConfig(*c, func(o *sts.Options) { o.BaseEndpoint = endpoint(a.address.STSEndpoint) })
	if a.address.ExternalID == "" {
		who, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return awsFault(ctx, err, "STS", "be who it is")
		}
		if aws.ToString(who.Account) != accountOf(a.address.RoleARN) {
			return fault.New(fault.Precondition, fault.ReasonWarehouseDenied, "redshift.role_arn is a role of another AWS account and there is no external id; add redshift.external_id, and ask for it in the role's trust policy")
		}
	}
	c.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(client, a.address.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = roleSession
		if a.address.ExternalID != "" {
			o.ExternalID = aws.String(a.address.ExternalID)
		}
	}), func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = a.settings.Renew })
	return nil
}

// accountOf answers the account that a role is of.
func accountOf(arn string) string {
	const at = 4
	if parts := strings.Split(arn, ":"); len(parts) > at {
		return parts[at]
	}
	return ""
}

// endpoint answers the URL in the place of AWS's, nil for AWS's own.
func endpoint(url string) *string {
	if url == "" {
		return nil
	}
	return aws.String(url)
}

// login answers user and temporary password of the database, new ones where the last end soon.
func (a *account) login(ctx context.Context) (login, error) {
	c, err := a.config(ctx)
	if err != nil {
		return login{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last != nil && time.Until(a.last.ends) > a.settings.Renew {
		return *a.last, nil
	}
	fresh, err := a.fetchLogin(ctx, c)
	if err != nil {
		return login{}, awsFault(ctx, err, "the Redshift API", "get temporary credentials of the database")
	}
	if fresh.user == "" || fresh.password == "" {
		return login{}, unavailable("the Redshift API answered without credentials; try again")
	}
	a.last = &fresh
	return fresh, nil
}

func (a *account) fetchLogin(ctx context.Context, c aws.Config) (login, error) {
	r, lasts := a.address, aws.Int32(int32(loginLasts/time.Second))
	database := aws.String(r.Database)
	if r.Workgroup != "" {
		client := redshiftserverless.NewFromConfig(c, func(o *redshiftserverless.Options) { o.BaseEndpoint = endpoint(r.Endpoint) })
		out, err := client.GetCredentials(ctx, &redshiftserverless.GetCredentialsInput{WorkgroupName: aws.String(r.Workgroup), DbName: database, DurationSeconds: lasts})
		if err != nil {
			return login{}, err //nolint:wrapcheck // classified by the caller
		}
		return login{aws.ToString(out.DbUser), aws.ToString(out.DbPassword), aws.ToTime(out.Expiration)}, nil
	}
	client := redshift.NewFromConfig(c, func(o *redshift.Options) { o.BaseEndpoint = endpoint(r.Endpoint) })
	if r.User == "" {
		out, err := client.GetClusterCredentialsWithIAM(ctx, &redshift.GetClusterCredentialsWithIAMInput{ClusterIdentifier: aws.String(r.Cluster), DbName: database, DurationSeconds: lasts})
		if err != nil {
			return login{}, err //nolint:wrapcheck // classified by the caller
		}
		return login{aws.ToString(out.DbUser), aws.ToString(out.DbPassword), aws.ToTime(out.Expiration)}, nil
	}
	out, err := client.GetClusterCredentials(ctx, &redshift.GetClusterCredentialsInput{
		ClusterIdentifier: aws.String(r.Cluster), DbName: database, DbUser: aws.String(r.User), DurationSeconds: lasts, AutoCreate: aws.Bool(false),
	})
	if err != nil {
		return login{}, err //nolint:wrapcheck // classified by the caller
	}
	return login{aws.ToString(out.DbUser), aws.ToString(out.DbPassword), aws.ToTime(out.Expiration)}, nil
}

// bucket answers a client of S3.
func (a *account) bucket(ctx context.Context) (*s3.Client, error) {
	c, err := a.config(ctx)
	if err != nil {
		return nil, err
	}
	return s3.NewFromConfig(c, func(o *s3.Options) {
		o.BaseEndpoint = endpoint(a.address.S3Endpoint)
		o.UsePathStyle = a.address.S3Endpoint != ""
		o.DisableLogOutputChecksumValidationSkipped = true // a line to each file that UNLOAD wrote without one
	}), nil
}

// awsFault classifies why AWS did not do what it was asked for. Texts of AWS name accounts and requests: they are not shown.
func awsFault(ctx context.Context, err error, service, what string) error {
	var own *fault.Error
	var stated smithy.APIError
	var signing *smithy.OperationError
	switch {
	case ctx.Err() != nil:
		return fault.As(ctx.Err())
	case errors.As(err, &own):
		return own
	case errors.As(err, &stated):
		return statedByAWS(stated.ErrorCode(), service, what)
	case errors.As(err, &signing) && strings.Contains(err.Error(), "get identity"):
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the extractor has no credentials of AWS to %s; give them by its environment or shared configuration, or set AWS_EC2_METADATA_DISABLED=false where its machine has a role", what)
	}
	return unavailable("%s cannot be reached to %s; check region, endpoint and firewall", service, what)
}

func statedByAWS(code, service, what string) error {
	switch code {
	case "AccessDenied", "AccessDeniedException", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "UnrecognizedClientException", "Forbidden", "AllAccessDisabled":
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "%s denies the extractor's identity to %s (%s); grant it (millrace connections setup prints how)", service, what, code)
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired":
		return unavailable("the extractor's credentials of AWS ended before it could %s (%s); try again, and renew them if this stays", what, code)
	case "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "ServiceUnavailable":
		return fault.New(fault.Throttled, fault.ReasonWarehouseThrottled, "%s asks to slow down (%s)", service, code)
	case "ClusterNotFound", "ClusterNotFoundFault", "ResourceNotFoundException", "NoSuchBucket":
		return fault.New(fault.NotFound, fault.ReasonNotFound, "%s knows no such cluster, workgroup or bucket (%s); mend redshift.cluster, workgroup, unload_bucket or region", service, code)
	case "ValidationException", "ValidationError", "InvalidParameterValue", "PermanentRedirect", "AuthorizationHeaderMalformed":
		return fault.New(fault.Precondition, fault.ReasonInvalidArgument, "%s refuses to %s (%s); mend the connection's names and region", service, what, code)
	}
	return unavailable("%s could not %s (%s); try again", service, what, code)
}
