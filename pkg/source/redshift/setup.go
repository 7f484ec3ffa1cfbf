package redshift

import (
	"cmp"
	"fmt"
	"strings"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/sqltext"
)

// Setup answers what an administrator runs to let Millrace read and no more: SQL, and the policies of AWS that the
// connection's settings need, with its names filled in.
func (*Driver) Setup(c resource.Connection) (string, error) {
	if c.Redshift == nil {
		return "", invalid("the connection has no redshift block")
	}
	c = c.Clone()
	c.Normalize()
	r := *c.Redshift
	return setupSQL(r) + setupIAM(r) + setupBucket(r), nil
}

func setupSQL(r resource.Redshift) string {
	user, password := r.User, "PASSWORD 'choose one and put it into the connection'"
	if r.ByIAM() {
		password = "PASSWORD DISABLE"
	}
	note := ""
	if user == "" {
		user = "IAMR:<name of the role>"
		note = "-- The user is named by IAM: IAMR: and the role's name, or IAM: and the user's.\n"
	}
	return fmt.Sprintf(`-- 1. Run in the database %[2]s as its owner. Repeat the lines with a schema for each schema to be read.
%[6]sCREATE USER %[1]s %[5]s;
GRANT USAGE ON SCHEMA public TO %[1]s;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO %[1]s;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO %[1]s;
-- Only for mirrors with mirror_engine: diff, which keep snapshots in a schema of their own:
--   CREATE SCHEMA IF NOT EXISTS %[7]s;
--   GRANT USAGE, CREATE ON SCHEMA %[7]s TO %[1]s;
-- 2. Let the extractor's address connect to %[3]s, port %[4]d: in the security group, or by a private link.
`, sqltext.Quote(user), sqltext.Quote(r.Database), r.Host, r.Port, password, note, sqltext.Quote(cmp.Or(r.StateSchema, resource.DefaultStateSchema)))
}

// partition answers the part of AWS that the connection's roles are in.
func partition(r resource.Redshift) string {
	for _, arn := range []string{r.RoleARN, r.UnloadRole} {
		if parts := strings.Split(arn, ":"); len(parts) > 1 {
			return parts[1]
		}
	}
	return "aws"
}

func setupIAM(r resource.Redshift) string {
	var out strings.Builder
	if r.RoleARN != "" {
		external := cmp.Or(r.ExternalID, "<a text that only this connection has: redshift.external_id>")
		_, _ = fmt.Fprintf(&out, `-- 3. Trust policy of the role %s, which the extractor assumes:
-- {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
--   "Principal": {"AWS": "<ARN of the extractor's identity>"},
--   "Condition": {"StringEquals": {"sts:ExternalId": %q}}}]}
`, r.RoleARN, external)
	}
	if !r.ByIAM() {
		return out.String()
	}
	action, where := "redshift:GetClusterCredentials", []string{fmt.Sprintf("arn:%s:redshift:%s:<account>:dbuser:%s/%s", partition(r), r.Region, r.Cluster, r.User),
		fmt.Sprintf("arn:%s:redshift:%s:<account>:dbname:%s/%s", partition(r), r.Region, r.Cluster, r.Database)}
	switch {
	case r.Workgroup != "":
		action, where = "redshift-serverless:GetCredentials", []string{fmt.Sprintf("arn:%s:redshift-serverless:%s:<account>:workgroup/<id of %s>", partition(r), r.Region, r.Workgroup)}
	case r.User == "":
		action, where = "redshift:GetClusterCredentialsWithIAM", where[1:]
	}
	_, _ = fmt.Fprintf(&out, `-- 4. Policy of the extractor's identity, or of that role, for temporary credentials of the database:
-- {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": %q,
--   "Resource": ["%s"]}]}
`, action, strings.Join(where, `", "`))
	return out.String()
}

func setupBucket(r resource.Redshift) string {
	if !r.Unloads() {
		return ""
	}
	bucket := "arn:" + partition(r) + ":s3:::" + r.UnloadBucket
	objects := bucket + "/" + strings.Trim(r.UnloadPrefix+"/*", "/")
	return fmt.Sprintf(`-- 5. Policy of the role %[1]s; associate it with the warehouse (its trust policy names the service redshift.amazonaws.com):
-- {"Version": "2012-10-17", "Statement": [
--   {"Effect": "Allow", "Action": ["s3:PutObject", "s3:AbortMultipartUpload"], "Resource": %[3]q},
--   {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": %[2]q}]}
-- 6. Policy of the extractor's identity (or of redshift.role_arn):
-- {"Version": "2012-10-17", "Statement": [
--   {"Effect": "Allow", "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": %[3]q},
--   {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": %[2]q}]}
-- 7. Files are removed when their run has been read. For what an extractor that was killed leaves behind, give the bucket a
--    lifecycle rule: {"Rules": [{"ID": "millrace", "Status": "Enabled", "Filter": {"Prefix": %[4]q}, "Expiration": {"Days": 3}}]}
`, r.UnloadRole, bucket, objects, r.UnloadPrefix)
}
