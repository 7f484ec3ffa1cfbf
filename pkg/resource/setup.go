package resource

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Setup answers what an administrator runs so that Millrace may read the warehouse of c with no more rights than that,
// names filled in, and the addresses and ports to allow.
func (c *Connection) Setup() string {
	switch {
	case c.DuckDB != nil:
		return c.DuckDB.setup()
	case c.Postgres != nil:
		return c.Postgres.setup()
	default:
		return ""
	}
}

func (d *DuckDB) setup() string {
	return fmt.Sprintf(`# Run as the owner of the files, on the machine of the extractor. EXTRACTOR is the user that its process runs as.
# Reading needs the right to read the files and to pass the folders above them; nothing is written.
setfacl -R -m u:EXTRACTOR:rX -- %s

# A separate extractor process reads only below its setting files_roots; add the folder there.
# A database file that another process holds open for writing is locked; the run waits and tries again.
# No address or port is needed.
`, shellQuote(fixedFolder(d.Path)))
}

// fixedFolder answers a path, or the folder above the first wildcard of a glob.
func fixedFolder(path string) string {
	i := strings.IndexAny(path, "*?[")
	if i < 0 {
		return path
	}
	return filepath.Dir(path[:i] + "x")
}

func (p *Postgres) setup() string {
	database, user := quoteIdent(p.Database), quoteIdent(p.User)
	auth := "-- Choose a password, and give it to Millrace in the connection's postgres.password."
	login := "LOGIN PASSWORD 'CHOOSE-ONE'"
	if p.ClientCertificate != "" {
		auth = "-- The role logs in with the connection's client certificate: add a `cert` line for it to pg_hba.conf."
		login = "LOGIN"
	}
	return fmt.Sprintf(`-- Run in database %[1]s on %[3]s as its owner or a superuser. The role can read, and nothing else.
%[4]s
CREATE ROLE %[2]s %[5]s NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 16;
ALTER ROLE %[2]s SET default_transaction_read_only = on;
GRANT CONNECT ON DATABASE %[1]s TO %[2]s;

-- Once for each schema that is to be read:
GRANT USAGE ON SCHEMA public TO %[2]s;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO %[2]s;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO %[2]s;

-- Allow TCP from the extractor's addresses to %[3]s, port %[6]d%[7]s.
`, database, user, p.Host, auth, login, p.Port, tlsNote(p.SSLMode))
}

func tlsNote(mode string) string {
	if mode == "disable" {
		return ". sslmode is disable: rows and password travel unencrypted"
	}
	return ", with TLS (sslmode " + mode + ")"
}

// quoteIdent writes a name as SQL wants it.
func quoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// shellQuote writes a path as a POSIX shell wants it.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
