package sharing

import (
	"context"
	"fmt"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// The steps of a connection test.
const (
	stepProfile      = "profile"
	stepExpiry       = "expiry"
	stepResolve      = "resolve"
	stepConnect      = "connect"
	stepTLS          = "tls"
	stepAuthenticate = "authenticate"
	stepShare        = "share"
	stepSchema       = "schema"
	stepTable        = "table"
	stepQuery        = "run query"
)

// Check names the steps from the profile to a table's columns. It warns two weeks before the profile expires, and of an
// endpoint that is not encrypted.
func (s *Source) Check(ctx context.Context) []source.CheckStep {
	p, err := s.profile()
	if err != nil {
		return stepsTo(fault.As(err).Metadata[stepKey], err, stepProfile, stepExpiry)
	}
	steps := []source.CheckStep{{Name: stepProfile, OK: true}, s.expiry(p)}
	err = s.decode(ctx, request{what: "share " + sqltext.Quote(s.address.Share), path: []string{"shares", s.address.Share}}, &struct{}{})
	steps = append(steps, s.dialled(p, err)...)
	if err != nil {
		return steps
	}
	schema := s.schemaStep(ctx)
	if steps = append(steps, schema); !schema.OK {
		return steps
	}
	first, table := s.firstTable(ctx)
	if steps = append(steps, table); !table.OK {
		return steps
	}
	return append(steps, s.probe(ctx, first))
}

// stepsTo answers the steps up to the one that failed.
func stepsTo(failed string, err error, names ...string) []source.CheckStep {
	var steps []source.CheckStep
	for _, name := range names {
		if name == failed {
			return append(steps, source.CheckStep{Name: name, Message: fault.As(err).Message})
		}
		steps = append(steps, source.CheckStep{Name: name, OK: true})
	}
	return steps
}

func (s *Source) expiry(p profile) source.CheckStep {
	step := source.CheckStep{Name: stepExpiry, OK: true}
	switch left := p.expires.Sub(s.settings.Now()); {
	case p.expires.IsZero():
		step.Message = "the profile does not expire"
	case left < warnAhead:
		step.Warning = true
		step.Message = fmt.Sprintf("the profile expires on %s, in %d days; have the provider rotate the recipient's token, and give delta_sharing.profile the new file", p.expires.Format(time.DateOnly), int(left/(24*time.Hour)))
	default:
		step.Message = "the profile expires on " + p.expires.Format(time.DateOnly)
	}
	return step
}

// dialled answers the steps of the first call, of which err is the end.
func (s *Source) dialled(p profile, err error) []source.CheckStep {
	names := []string{stepResolve, stepConnect, stepTLS, stepAuthenticate, stepShare}
	failed := ""
	if err != nil {
		if failed = fault.As(err).Metadata[stepKey]; failed == "" {
			failed = stepShare
		}
	}
	steps := stepsTo(failed, err, names...)
	for i := range steps {
		if steps[i].Name == stepTLS && steps[i].OK && p.endpoint.Scheme == "http" {
			steps[i].Warning, steps[i].Message = true, "not encrypted, for the profile's endpoint is http: whoever is between can read the token"
		}
	}
	return steps
}

// schemaStep looks for the connection's schema among those of the share.
func (s *Source) schemaStep(ctx context.Context) source.CheckStep {
	found := false
	err := s.list(ctx, request{what: "share " + sqltext.Quote(s.address.Share), path: []string{"shares", s.address.Share, "schemas"}}, func(it item) bool {
		found = strings.EqualFold(it.Name, s.address.Schema)
		return !found
	})
	switch {
	case err != nil:
		return source.CheckStep{Name: stepSchema, Message: fault.As(err).Message}
	case !found:
		return source.CheckStep{Name: stepSchema, Message: "the share has no schema of the name in delta_sharing.schema; mend it, or have the provider add the schema to the share"}
	}
	return source.CheckStep{Name: stepSchema, OK: true}
}

// firstTable answers the first table of the schema, "" where it has none.
func (s *Source) firstTable(ctx context.Context) (string, source.CheckStep) {
	first := ""
	err := s.list(ctx, request{what: "schema " + sqltext.Quote(s.address.Schema), path: []string{"shares", s.address.Share, "schemas", s.address.Schema, "tables"}}, func(it item) bool {
		first = it.Name
		return false
	})
	switch {
	case err != nil:
		return "", source.CheckStep{Name: stepTable, Message: fault.As(err).Message}
	case first == "":
		return "", source.CheckStep{Name: stepTable, OK: true, Warning: true, Message: "no table of the schema is shared yet"}
	}
	return first, source.CheckStep{Name: stepTable, OK: true}
}

// probe asks for a table's columns. One that this client does not read is a warning: others may be readable.
func (s *Source) probe(ctx context.Context, table string) source.CheckStep {
	if table == "" {
		return source.CheckStep{Name: stepQuery, OK: true}
	}
	l, err := s.metadata(ctx, ref{s.address.Schema, table}, "")
	if err == nil {
		_, err = model{table: ref{s.address.Schema, table}}.describe(l.meta)
	}
	switch {
	case err == nil:
		return source.CheckStep{Name: stepQuery, OK: true}
	case fault.ReasonOf(err) == fault.ReasonQueryInvalid:
		return source.CheckStep{Name: stepQuery, OK: true, Warning: true, Message: fault.As(err).Message}
	}
	return source.CheckStep{Name: stepQuery, Message: fault.As(err).Message}
}

// Setup answers what the provider of the share runs, with the connection's names filled in.
func (*Driver) Setup(c resource.Connection) (string, error) {
	if c.DeltaSharing == nil {
		return "", invalid("the connection has no delta_sharing block")
	}
	share, schema := backticked(c.DeltaSharing.Share), backticked(c.DeltaSharing.Schema)
	return fmt.Sprintf(`-- Run by the provider of the data, as a metastore admin or with CREATE SHARE and CREATE RECIPIENT.
-- 1. In the metastore's settings: allow Delta Sharing with parties outside of the organisation, and set the lifetime of
--    recipients' tokens.
-- 2. The share, and each table in it. WITH HISTORY lets runs read the version that they were planned in, whatever is written
--    meanwhile. Views cannot be shared.
CREATE SHARE IF NOT EXISTS %[1]s;
ALTER TABLE <catalog>.<schema>.<table> SET TBLPROPERTIES (delta.enableDeletionVectors = false);
ALTER SHARE %[1]s ADD TABLE <catalog>.<schema>.<table> AS %[2]s.<table> WITH HISTORY;
--    Only for mirrors with mirror_engine: native, of each table that they read; changes of earlier versions are not in the feed.
--    What VACUUM takes away is not in it either: keep at least twice the time from one run to the next.
--   ALTER TABLE <catalog>.<schema>.<table> SET TBLPROPERTIES (delta.enableChangeDataFeed = true, delta.deletedFileRetentionDuration = 'interval 7 days');
-- 3. The recipient, who may read the share and nothing else.
CREATE RECIPIENT IF NOT EXISTS millrace;
GRANT SELECT ON SHARE %[1]s TO RECIPIENT millrace;
DESCRIBE RECIPIENT millrace;
-- 4. Open the activation link of the last answer, once: it downloads the profile file. Its text is delta_sharing.profile.
--    Rotate it before it expires; millrace connections test warns two weeks ahead.
-- 5. Let the extractor connect to the profile's endpoint, and to the cloud storage of the tables, on port 443:
--    *.amazonaws.com, *.blob.core.windows.net, *.dfs.core.windows.net or storage.googleapis.com.
`, share, schema), nil
}

func backticked(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
