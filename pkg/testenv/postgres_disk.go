package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Copy answers a copy of the server's files, for Restore. The server is down meanwhile.
func (p *PostgreSQL) Copy() string {
	p.t.Helper()
	to := filepath.Join(p.dir, "copy")
	p.copy(filepath.Join(p.dir, "data"), to)
	return to
}

// Restore puts a copy in the place of the server's files. The server is down meanwhile.
func (p *PostgreSQL) Restore(from string) {
	p.t.Helper()
	p.copy(from, filepath.Join(p.dir, "data"))
}

func (p *PostgreSQL) copy(from, to string) {
	p.t.Helper()
	if p.proc != nil {
		p.t.Fatal("the server is to be down while its files are copied")
	}
	if err := os.RemoveAll(to); err != nil {
		p.t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil { //nolint:gosec,noctx // folders of the test
		p.t.Fatalf("cp: %v: %s", err, lastLine(out))
	}
}

// SmallDisk makes a tablespace of that name on a file system of so many MiB. It needs the rights of root.
func (p *PostgreSQL) SmallDisk(name string, mib int) {
	p.t.Helper()
	at := filepath.Join(p.dir, name)
	if err := os.Mkdir(at, 0o700); err != nil {
		p.t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm,mode=0700,uid=%d,gid=%d", mib, max(p.uid, 0), max(p.gid, 0)), name, at).CombinedOutput(); err != nil { //nolint:gosec,noctx // a folder of the test
		p.t.Fatalf("a small file system is needed, which root can mount: %v: %s", err, lastLine(out))
	}
	p.t.Cleanup(func() { _ = exec.Command("umount", "-l", at).Run() }) //nolint:gosec,noctx // what is left goes with the machine
	adminExec(p.t, p.URL, "CREATE TABLESPACE "+name+" LOCATION '"+at+"'")
}

// Log answers what the server has written so far.
func (p *PostgreSQL) Log() string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(b)
}
