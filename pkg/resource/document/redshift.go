package document

import (
	"strconv"

	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/resource"
)

// redshift is the block of a Redshift connection.
func (r *reader) redshift(c *resource.Connection) field {
	return field{name: "redshift", read: func(n *yaml.Node, path string) {
		d := &resource.Redshift{}
		c.Redshift = d
		r.object(n, path,
			text(r, "host", &d.Host), integer(r, "port", &d.Port), text(r, "database", &d.Database), text(r, "user", &d.User),
			r.secret("password", &d.Password), text(r, "cluster", &d.Cluster), text(r, "workgroup", &d.Workgroup), text(r, "region", &d.Region),
			text(r, "role_arn", &d.RoleARN), text(r, "external_id", &d.ExternalID), text(r, "unload_bucket", &d.UnloadBucket),
			text(r, "unload_prefix", &d.UnloadPrefix), text(r, "unload_role", &d.UnloadRole), text(r, "sslmode", &d.SSLMode), r.textOrReference("ca", &d.CA),
			duration(r, "statement_timeout", &d.StatementTimeout), text(r, "state_schema", &d.StateSchema), text(r, "endpoint", &d.Endpoint),
			text(r, "sts_endpoint", &d.STSEndpoint), text(r, "s3_endpoint", &d.S3Endpoint),
		)
	}}
}

func (w *writer) redshift(d *resource.Redshift) {
	w.object("redshift", false, func(w *writer) {
		w.text("host", d.Host)
		if d.Port != 0 {
			w.put("port", scalarNode(strconv.Itoa(d.Port)))
		}
		w.text("database", d.Database)
		w.text("user", d.User)
		w.secret("password", d.Password)
		w.text("cluster", d.Cluster)
		w.text("workgroup", d.Workgroup)
		w.text("region", d.Region)
		w.text("role_arn", d.RoleARN)
		w.text("external_id", d.ExternalID)
		w.text("unload_bucket", d.UnloadBucket)
		w.text("unload_prefix", d.UnloadPrefix)
		w.text("unload_role", d.UnloadRole)
		w.text("sslmode", d.SSLMode)
		w.text("ca", d.CA)
		w.text("statement_timeout", resource.FormatDuration(d.StatementTimeout))
		w.text("state_schema", d.StateSchema)
		w.text("endpoint", d.Endpoint)
		w.text("sts_endpoint", d.STSEndpoint)
		w.text("s3_endpoint", d.S3Endpoint)
	})
}
