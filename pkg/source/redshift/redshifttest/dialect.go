package redshifttest

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// bytea is the number of PostgreSQL's type that VARBYTE is.
const bytea = 17

// numbers answers Redshift's numbers of the types that stand for its own.
func numbers() map[uint32]uint32 {
	return map[uint32]uint32{
		3802: 4000, 114: 4000, // jsonb, json: SUPER
		bytea: 6551, // VARBYTE
		600:   3000, // point: GEOMETRY
		604:   3001, // polygon: GEOGRAPHY
		3614:  2935, // tsvector: HLLSKETCH
		1186:  1190, // INTERVAL DAY TO SECOND
	}
}

// dialect is what PostgreSQL lacks of Redshift.
const dialect = `CREATE SCHEMA redshift;
CREATE DOMAIN redshift.super AS jsonb;
CREATE DOMAIN redshift.varbyte AS bytea;
CREATE DOMAIN redshift.geometry AS point;
CREATE DOMAIN redshift.geography AS polygon;
CREATE DOMAIN redshift.hllsketch AS tsvector;
CREATE FUNCTION redshift.json_parse(text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT $1::jsonb';
CREATE FUNCTION redshift.getdate() RETURNS timestamp LANGUAGE sql STABLE AS 'SELECT date_trunc(''second'', transaction_timestamp()) AT TIME ZONE ''UTC''';
CREATE FUNCTION redshift.st_astext(point) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''POINT('' || $1[0] || '' '' || $1[1] || '')''';
CREATE FUNCTION redshift.fnv_hash(text, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT hashtextextended($1, $2)';
CREATE FUNCTION redshift.from_varbyte(bytea, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT encode($1, $2)';
CREATE FUNCTION redshift.json_serialize(jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT COALESCE($1::text, ''null'')';
CREATE FUNCTION redshift.json_serialize(json) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT COALESCE($1::text, ''null'')';
CREATE FUNCTION redshift.to_varbyte(text, text) RETURNS bytea LANGUAGE sql IMMUTABLE AS 'SELECT decode($1, $2)';
CREATE VIEW redshift.svv_all_columns AS SELECT table_catalog::text AS database_name, table_schema::text AS schema_name, table_name::text, column_name::text,
  ordinal_position::int, is_nullable::text, data_type::text FROM information_schema.columns WHERE table_schema <> 'redshift';
`

// install gives a database what it lacks.
func (p *Peer) install(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) //nolint:forbidigo // nobody calls a server
	defer cancel()
	c, err := pgx.Connect(ctx, p.url)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(ctx)) }()
	sql := dialect + `DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) || ' SET search_path = public, redshift';
EXECUTE 'REVOKE TEMPORARY ON DATABASE ' || quote_ident(current_database()) || ' FROM PUBLIC'; END $$;`
	require.NoError(t, c.PgConn().Exec(ctx, sql+p.roleSQL()).Close())
}

// roleSQL makes the role that all of the driver's users are: it may read everything, and make tables in the schema of
// states alone, where there is one. So PostgreSQL refuses whatever else would be written.
func (p *Peer) roleSQL() string {
	role := p.Role()
	sql := "CREATE ROLE " + role + "; GRANT pg_read_all_data, pg_read_all_stats TO " + role + "; REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
	if p.options.StateSchema != "" {
		schema := pgx.Identifier{p.options.StateSchema}.Sanitize()
		sql += "CREATE SCHEMA " + schema + "; GRANT USAGE, CREATE ON SCHEMA " + schema + " TO " + role + ";"
	}
	return sql
}

// dropRole takes the role away, and what it made.
func (p *Peer) dropRole(t testing.TB) {
	t.Helper()
	p.Exec(t, "DROP OWNED BY "+p.Role()+"; DROP ROLE "+p.Role())
}

//nolint:gochecknoglobals // compiled once, never changed
var (
	// lacking is what PostgreSQL has and Redshift does not.
	lacking  = regexp.MustCompile(`(?i)\b(IS\s+(NOT\s+)?DISTINCT\s+FROM|DISTINCT\s+ON|UNLOGGED|lock_timeout)\b`)
	created  = regexp.MustCompile(`^(CREATE TABLE "[^"]+"\."[^"]+") BACKUP NO DISTKEY \(("[^"]+")\) SORTKEY \(("[^"]+")\) AS `)
	collated = regexp.MustCompile(`COLLATE\((q\."(?:[^"]|"")*"), 'case_sensitive'\)`)
)

// said answers a statement of the driver's in PostgreSQL's dialect; what the warehouse would not understand stays so.
func said(sql string, count int64) string {
	if lacking.MatchString(sql) {
		return "Redshift lacks " + lacking.FindString(sql)
	}
	return translate(sql, count)
}

// translate answers a statement of Redshift in PostgreSQL's dialect. count is what pg_last_unload_count answers.
func translate(sql string, count int64) string {
	switch {
	case strings.HasPrefix(sql, "SET query_group TO"):
		return strings.Replace(sql, "query_group", "redshift.query_group", 1)
	case sql == "BEGIN READ ONLY", sql == "BEGIN READ WRITE":
		return strings.Replace(sql, "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", 1)
	}
	sql = collated.ReplaceAllString(created.ReplaceAllString(sql, "$1 AS "), `($1 COLLATE "C")`)
	return strings.NewReplacer(
		"pg_last_unload_count()", "CAST("+strconv.FormatInt(count, 10)+" AS BIGINT)",
		" ARRAY(", " jsonb_build_array(",
		"JSON_SERIALIZE(", "redshift.json_serialize(", // a word of the grammar in newer ones
	).Replace(sql)
}
