package testenv

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// PostgreSQL is a server of its own on loopback. What it has committed outlives a kill of the server.
type PostgreSQL struct {
	URL      string // of a superuser's database
	t        testing.TB
	bin, dir string
	port     int
	uid, gid int
	proc     *child // nil while it is down
}

// PostgresServer starts a PostgreSQL from binaries of this machine, which may be killed and started again; it ends with t.
func PostgresServer(t testing.TB) *PostgreSQL {
	t.Helper()
	bin, err := postgresPrograms()
	if err != nil {
		t.Fatalf("PostgreSQL's programs are needed: install PostgreSQL (%v)", err)
	}
	dir, err := os.MkdirTemp("", "millrace-postgres-") //nolint:usetesting // another account must reach it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &PostgreSQL{t: t, bin: bin, dir: dir}
	if p.uid, p.gid, err = initPostgres(bin, dir); err != nil {
		t.Fatal(err)
	}
	if p.port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	p.URL = postgresURL(p.port)
	p.Start()
	t.Cleanup(func() {
		if p.proc != nil {
			p.down(syscall.SIGINT)
		}
	})
	return p
}

// Database makes an empty database of that name and answers its URL.
func (p *PostgreSQL) Database(name string) string {
	p.t.Helper()
	adminExec(p.t, p.URL, "CREATE DATABASE "+name)
	u, err := url.Parse(p.URL)
	if err != nil {
		p.t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// Start starts the server again on its address and folder, and waits until it answers. Backends of a server that was
// killed see that a moment later; until then the next one does not start.
func (p *PostgreSQL) Start() {
	p.t.Helper()
	deadline := time.NewTimer(startLimit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.start()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			p.t.Fatalf("PostgreSQL: %v", err)
		}
	}
}

func (p *PostgreSQL) start() error {
	proc, err := spawn("", filepath.Join(p.dir, "log"), p.uid, p.gid, filepath.Join(p.bin, "postgres"), postgresArgs(p.dir, p.port)...)
	if err != nil {
		return err
	}
	if err := until(proc, func() error { return pingPostgres(p.URL) }); err != nil {
		return errors.Join(err, proc.kill())
	}
	p.proc = proc
	return nil
}

// Kill ends the server as kill -9 does.
func (p *PostgreSQL) Kill() { p.down(syscall.SIGKILL) }

func (p *PostgreSQL) down(sig syscall.Signal) {
	p.t.Helper()
	if err := p.proc.end(sig); err != nil {
		p.t.Fatal(err)
	}
	p.proc = nil
}
