//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresServer is a PostgreSQL server with its own defaults, fsync included, over a folder of its own.
type postgresServer struct {
	cmd  *exec.Cmd
	addr string
}

var errNoPostgres = errors.New("install PostgreSQL (Debian: apt-get install postgresql)")

// startPostgres starts a server. As root it runs as user postgres, because PostgreSQL refuses root.
func startPostgres(ctx context.Context, dir string) (*postgresServer, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		path, err := exec.LookPath("initdb")
		if err != nil {
			return nil, errNoPostgres
		}
		found = []string{path}
	}
	bin := filepath.Dir(found[len(found)-1])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder: %w", err)
	}
	who, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "millrace", "-A", "trust", "-E", "UTF8", "--locale=C")
	initdb.Dir, initdb.SysProcAttr = "/", who
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	addr, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("a free port: %w", err)
	}
	s := &postgresServer{addr: addr}
	s.cmd = exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "-D", data, "-h", "127.0.0.1", "-p", port, "-c", "unix_socket_directories=",
		"-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB")
	s.cmd.Dir, s.cmd.SysProcAttr = "/", who
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return s, s.ready(ctx)
}

// unprivileged answers how to run as user postgres where we are root, and gives that user the folder.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, errNoPostgres
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, errNoPostgres
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, errNoPostgres
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o711); err != nil { //nolint:gosec // the server must get to its folder
			return nil, fmt.Errorf("open the folder: %w", err)
		}
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, fmt.Errorf("give the folder away: %w", err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, nil
}

func (s *postgresServer) url(database string) string {
	return fmt.Sprintf("postgres://millrace@%s/%s?sslmode=disable", s.addr, database)
}

// ready waits until the server answers.
func (s *postgresServer) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-tick.C:
		}
	}
}

// database makes an empty database and answers its URL.
func (s *postgresServer) database(ctx context.Context, name string) (_ string, err error) {
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("make the database %s: %w", name, err)
	}
	return s.url(name), nil
}

func (s *postgresServer) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil { // fast shutdown
		return fmt.Errorf("stop postgres: %w", err)
	}
	_ = s.cmd.Wait() // its exit code says how it was stopped
	return nil
}
