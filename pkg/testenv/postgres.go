package testenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const postgresHint = "PostgreSQL is needed: set " + EnvPostgres + " to the URL of a superuser's database, or start Docker, or install PostgreSQL"

var postgres shared //nolint:gochecknoglobals // the server of this test process

// Postgres answers the URL of a fresh, empty database that is dropped when t ends. The role may create databases and
// roles. It fails t, never skips, where there is no PostgreSQL to be had.
func Postgres(t testing.TB) string {
	t.Helper()
	admin := postgres.get(t, postgresHint, startPostgres)
	name := "t_" + strings.ToLower(rand.Text()[:16])
	adminExec(t, admin, "CREATE DATABASE "+name)
	t.Cleanup(func() { adminExec(t, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatalf("%s (the URL can not be read)", postgresHint)
	}
	u.Path = "/" + name
	return u.String()
}

func adminExec(t testing.TB, admin, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		t.Fatalf("%s (%v)", postgresHint, err)
	}
	defer func() { _ = conn.Close(ctx) }() // done with it
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func startPostgres() (string, error) {
	if u := os.Getenv(EnvPostgres); u != "" {
		return u, nil
	}
	if docker() {
		return dockerPostgres()
	}
	bin, err := postgresPrograms()
	if err != nil {
		return "", err
	}
	return localPostgres(bin)
}

// postgresPrograms answers the folder of PostgreSQL's programs, installed where there are none.
func postgresPrograms() (string, error) {
	bin, ok := postgresBin()
	if !ok {
		if err := installDebian("postgresql"); err != nil {
			return "", err
		}
		if bin, ok = postgresBin(); !ok {
			return "", fmt.Errorf("initdb is not found")
		}
	}
	return bin, nil
}

// postgresBin answers the folder of the newest PostgreSQL here.
func postgresBin() (string, bool) {
	p, ok := find("initdb", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin")
	if !ok {
		return "", false
	}
	if real, err := filepath.EvalSymlinks(p); err == nil {
		p = real
	}
	return filepath.Dir(p), true
}

func localPostgres(bin string) (string, error) {
	dir, err := os.MkdirTemp("", "millrace-postgres-")
	if err != nil {
		return "", err //nolint:wrapcheck // tests see it whole
	}
	uid, gid, err := initPostgres(bin, dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	c, err := spawn(dir, filepath.Join(dir, "log"), uid, gid, filepath.Join(bin, "postgres"), append(postgresArgs(dir, port),
		"-c", "synchronous_commit=off", "-c", "full_page_writes=off")...)
	if err != nil {
		return "", err
	}
	u := postgresURL(port)
	if err := until(c, func() error { return pingPostgres(u) }); err != nil {
		return "", err
	}
	return u, nil
}

// initPostgres makes an empty cluster below dir and answers the account that its server runs as.
func initPostgres(bin, dir string) (uid, gid int, err error) {
	uid, gid = ordinary("postgres", "nobody")
	if uid >= 0 {
		if err := os.Chown(dir, uid, gid); err != nil {
			return 0, 0, err //nolint:wrapcheck // tests see it whole
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "millrace", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync") //nolint:gosec,noctx // a server of the test
	initdb.Dir = dir
	if uid >= 0 {
		initdb.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}} //nolint:gosec // ids are small
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("initdb: %w: %s", err, lastLine(out))
	}
	return uid, gid, nil
}

// postgresArgs are what every server of a test is started with. No test takes the machine's power, so that nothing is
// synced to the disk.
func postgresArgs(dir string, port int) []string {
	return []string{
		"-D", filepath.Join(dir, "data"), "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-c", "unix_socket_directories=", "-c", "fsync=off",
		"-c", "max_connections=300", "-c", "max_prepared_transactions=10", "-c", "wal_level=logical",
	}
}

func postgresURL(port int) string {
	return fmt.Sprintf("postgres://millrace@127.0.0.1:%d/postgres?sslmode=disable", port)
}

func pingPostgres(u string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, u)
	if err != nil {
		return err //nolint:wrapcheck // tests see it whole
	}
	return conn.Close(ctx) //nolint:wrapcheck // tests see it whole
}
