package databricks

import (
	"context"
	"fmt"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

const writesSQL = `SELECT count(*) AS n FROM information_schema.table_privileges
WHERE grantee = current_user() AND privilege_type IN ('MODIFY', 'ALL PRIVILEGES', 'OWN')`

// Check names the steps up to a query, and warns where the principal was granted more than reading.
func (s *Source) Check(ctx context.Context) []source.CheckStep {
	x, err := s.session(ctx, "millrace")
	steps := s.steps(err)
	if err != nil {
		return steps
	}
	defer x.close()
	_, err = x.texts(ctx, "DESCRIBE SCHEMA "+quote(s.address.Catalog)+"."+quote(s.address.Schema))
	if err != nil {
		return append(steps, source.CheckStep{Name: "schema", Message: fault.As(err).Message + "; mend databricks.catalog and schema, or grant USE CATALOG and USE SCHEMA"})
	}
	steps = append(steps, source.CheckStep{Name: "schema", OK: true})
	if _, err = x.number(ctx, "SELECT 1 AS one"); err != nil {
		return append(steps, source.CheckStep{Name: "run query", Message: fault.As(err).Message})
	}
	steps = append(steps, source.CheckStep{Name: "run query", OK: true})
	switch n, err := x.number(ctx, writesSQL); {
	case err != nil:
		steps = append(steps, source.CheckStep{Name: "privileges", OK: true, Warning: true, Message: "whether the principal could write cannot be told: the catalog has no information schema"})
	case n > 0:
		steps = append(steps, source.CheckStep{Name: "privileges", OK: true, Warning: true,
			Message: "the principal could write; give Millrace one that can only read (millrace connections setup prints how)"})
	}
	return steps
}

// steps answers the steps to a session, of which err is the end.
func (s *Source) steps(err error) []source.CheckStep {
	failed := ""
	if err != nil {
		f := fault.As(err)
		failed = f.Metadata[stepKey]
		switch {
		case failed != "":
		case f.Class == fault.Denied:
			failed = "authenticate"
		default:
			failed = "warehouse"
		}
	}
	var steps []source.CheckStep
	for _, name := range []string{"resolve", "connect", "tls", "authenticate", "warehouse"} {
		if name == failed {
			return append(steps, source.CheckStep{Name: name, Message: fault.As(err).Message})
		}
		step := source.CheckStep{Name: name, OK: true}
		if name == "tls" && s.address.Protocol == "http" {
			step.Warning, step.Message = true, "not encrypted, for protocol is http"
		}
		steps = append(steps, step)
	}
	return steps
}

// Setup answers the SQL that lets a principal read and no more, with the connection's names filled in.
func (*Driver) Setup(c resource.Connection) (string, error) {
	if c.Databricks == nil {
		return "", invalid("the connection has no databricks block")
	}
	c = c.Clone()
	c.Normalize()
	b := *c.Databricks
	who, note := b.ClientID, "-- The principal's application id and OAuth secret are databricks.client_id and client_secret."
	if who == "" {
		who, note = "<application id of the service principal>", "-- A personal access token of the principal is databricks.token; client_id and client_secret are better."
	}
	catalog, principal := quote(b.Catalog), quote(who)
	return fmt.Sprintf(`-- 1. In the workspace's settings, Identity and access: add a service principal and generate an OAuth secret for it.
%[5]s
-- 2. In SQL Warehouses, Permissions of %[4]s: give the principal CAN USE, and nothing more.
-- 3. Run as the owner of the catalog. Repeat the lines with a schema for each schema to be read.
GRANT USE CATALOG ON CATALOG %[1]s TO %[2]s;
GRANT USE SCHEMA ON SCHEMA %[1]s.%[3]s TO %[2]s;
GRANT SELECT ON SCHEMA %[1]s.%[3]s TO %[2]s;
-- 4. Let the extractor connect to %[6]s, and to the workspace's cloud storage on port 443, where large results
--    lie for minutes: *.amazonaws.com, *.blob.core.windows.net or storage.googleapis.com. Where the workspace has an IP
--    access list, allow the extractor's address in it.
-- 5. For mirrors with mirror_engine: native, run as the owner of each table that they read:
--    ALTER TABLE %[1]s.%[3]s.<table> SET TBLPROPERTIES (delta.enableChangeDataFeed = true);
`, catalog, principal, quote(b.Schema), pathOf(b), note, hostPort(b)), nil
}
