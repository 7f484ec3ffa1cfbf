package resource

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Redshift is a database of a cluster or of a serverless workgroup.
type Redshift struct {
	Host     string
	Port     int
	Database string
	User     string
	Password Secret
	// Temporary credentials in the place of Password: of a cluster, or of a workgroup.
	Cluster   string
	Workgroup string

	Region     string // of AWS, such as eu-central-1
	RoleARN    string // assumed by the extractor before it asks AWS for anything
	ExternalID string // what that role's trust policy asks for

	UnloadBucket string // where results are unloaded to; empty: they are read through a cursor
	UnloadPrefix string // what the keys of unloaded files begin with
	UnloadRole   string // assumed by the warehouse; a chain is joined by commas

	SSLMode          string // disable, require, verify-ca, verify-full (default)
	CA               string // PEM
	StatementTimeout time.Duration
	StateSchema      string // where mirrors by diff keep their snapshots; empty: DefaultStateSchema
	// URLs in the place of AWS's: of the Redshift API, of STS and of S3. Empty: AWS's.
	Endpoint    string
	STSEndpoint string
	S3Endpoint  string
}

const (
	redshiftPort = 5439
	// maxRoles is how many roles a chain may have.
	maxRoles = 10
	// maxExternalID is how long an external id may be.
	maxExternalID = 1224
	// maxRedshiftName is how many bytes Redshift keeps of a name.
	maxRedshiftName = 127
)

//nolint:gochecknoglobals // compiled once, never changed
var (
	awsRegion   = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	awsRole     = regexp.MustCompile(`^arn:(aws[a-z-]*):iam::[0-9]{12}:role/([\x21-\x7e]{1,510}/)?[\w+=,.@-]{1,64}$`)
	awsExternal = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
	awsName     = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)
	s3Bucket    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	s3Prefix    = regexp.MustCompile(`^[\w!.*()/=-]{0,512}$`)
)

func (r *Redshift) normalize() {
	if r.Port == 0 {
		r.Port = redshiftPort
	}
	if r.SSLMode == "" {
		r.SSLMode = verifyFull
	}
	if r.StatementTimeout == 0 {
		r.StatementTimeout = defaultTimeout
	}
}

// ByIAM says whether r is got into by temporary credentials.
func (r *Redshift) ByIAM() bool { return r.Cluster != "" || r.Workgroup != "" }

// Unloads says whether results are read from S3.
func (r *Redshift) Unloads() bool { return r.UnloadBucket != "" }

func (r *Redshift) validate(f *faults) {
	f.text("redshift.host", r.Host, true)
	if r.Host != "" && !hostName.MatchString(r.Host) {
		f.add("redshift.host", "write the name alone, without scheme, port and database", "%q is no host name", clip(r.Host))
	}
	if r.Port < 1 || r.Port > maxPort {
		f.add("redshift.port", fmt.Sprintf("use 1 to %d", maxPort), "%d is no port", r.Port)
	}
	f.text("redshift.database", r.Database, true)
	f.oneOf("redshift.sslmode", r.SSLMode, true, "disable", "require", "verify-ca", verifyFull)
	f.certificates("redshift.ca", r.CA)
	f.duration("redshift.statement_timeout", r.StatementTimeout)
	f.endpoint("redshift.endpoint", r.Endpoint)
	f.endpoint("redshift.sts_endpoint", r.STSEndpoint)
	f.endpoint("redshift.s3_endpoint", r.S3Endpoint)
	r.validateCredentials(f)
	r.validateUnload(f)
	r.validateAWS(f)
	r.validateStateSchema(f)
}

// validateStateSchema wants a name that the warehouse keeps as it is written.
func (r *Redshift) validateStateSchema(f *faults) {
	const field = "redshift.state_schema"
	f.text(field, r.StateSchema, false)
	switch {
	case len(r.StateSchema) > maxRedshiftName:
		f.add(field, "choose a shorter name", "is longer than the %d bytes that Redshift keeps of a name", maxRedshiftName)
	case strings.ToLower(r.StateSchema) != r.StateSchema:
		f.add(field, "write it in lower case", "has capitals, which Redshift does not keep")
	case strings.HasPrefix(r.StateSchema, "pg_"):
		f.add(field, "choose another name", "begins as the warehouse's own schemas do")
	}
}

// validateCredentials wants exactly one way in.
func (r *Redshift) validateCredentials(f *faults) {
	f.secret("redshift.password", r.Password)
	f.text("redshift.user", r.User, r.Cluster == "" && r.Workgroup == "")
	for _, n := range []struct{ field, value string }{{"redshift.cluster", r.Cluster}, {"redshift.workgroup", r.Workgroup}} {
		if n.value != "" && !awsName.MatchString(n.value) {
			f.add(n.field, "write its name alone: lower-case letters, digits and -", "%q can be none", clip(n.value))
		}
	}
	switch {
	case r.Cluster != "" && r.Workgroup != "":
		f.add("redshift.workgroup", "keep one", "stands beside cluster")
	case r.ByIAM() && !r.Password.IsZero():
		f.add("redshift.password", "keep it, or cluster or workgroup", "stands beside temporary credentials of IAM")
	case !r.ByIAM() && r.Password.IsZero():
		f.add("redshift.password", "add it, or cluster or workgroup for temporary credentials of IAM", "is missing")
	}
	if r.Workgroup != "" && r.User != "" {
		f.add("redshift.user", "leave it out", "is chosen by IAM where workgroup is named")
	}
}

func (r *Redshift) validateUnload(f *faults) {
	switch {
	case r.UnloadBucket != "" && r.UnloadRole == "":
		f.add("redshift.unload_role", "add the role that the warehouse writes to the bucket with", "is missing")
	case r.UnloadBucket == "" && r.UnloadRole != "":
		f.add("redshift.unload_bucket", "add the bucket that the role may write to", "is missing")
	}
	if r.UnloadBucket != "" && !s3Bucket.MatchString(r.UnloadBucket) {
		f.add("redshift.unload_bucket", "write its name alone, without s3:// and prefix", "%q cannot be a bucket", clip(r.UnloadBucket))
	}
	if !s3Prefix.MatchString(r.UnloadPrefix) {
		f.add("redshift.unload_prefix", "use letters, digits and _-./", "%q cannot begin keys", clip(r.UnloadPrefix))
	}
	if r.UnloadBucket == "" && r.UnloadPrefix != "" {
		f.add("redshift.unload_prefix", "leave it out, or add unload_bucket", "stands without unload_bucket")
	}
}

// validateAWS checks the names that AWS is told.
func (r *Redshift) validateAWS(f *faults) {
	switch {
	case r.Region == "" && (r.ByIAM() || r.Unloads()):
		f.add("redshift.region", "add the region of the warehouse, such as eu-central-1", "is missing")
	case r.Region != "" && !awsRegion.MatchString(r.Region):
		f.add("redshift.region", "write one such as eu-central-1", "%q is no region", clip(r.Region))
	}
	r.validateRole(f, "redshift.role_arn", r.RoleARN)
	if r.UnloadRole != "" {
		chain := strings.Split(r.UnloadRole, ",")
		if len(chain) > maxRoles {
			f.add("redshift.unload_role", "shorten the chain", "has %d roles, more than %d", len(chain), maxRoles)
		} else {
			for _, role := range chain {
				r.validateRole(f, "redshift.unload_role", role)
			}
		}
	}
	if r.ExternalID != "" {
		if r.RoleARN == "" {
			f.add("redshift.external_id", "add role_arn, or leave it out", "stands without the role that asks for it")
		}
		if !awsExternal.MatchString(r.ExternalID) || len(r.ExternalID) > maxExternalID {
			f.add("redshift.external_id", "use 2 to 1224 letters, digits and _+=,.@:/-", "cannot be an external id")
		}
	}
}

// validateRole checks the name of a role; an empty one is none.
func (r *Redshift) validateRole(f *faults, field, role string) {
	if role == "" && field == "redshift.role_arn" {
		return
	}
	m := awsRole.FindStringSubmatch(role)
	switch {
	case m == nil:
		f.add(field, "write one such as arn:aws:iam::123456789012:role/name", "%q is no role", clip(role))
	case r.Region != "" && m[1] != partition(r.Region):
		f.add(field, "name a role of the partition "+partition(r.Region), "is a role of the partition %s, and %s is in another", m[1], clip(r.Region))
	}
}

// partition answers the part of AWS that a region is in.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.Contains(region, "-iso"):
		return "aws-" + strings.Split(region, "-")[1]
	}
	return "aws"
}
