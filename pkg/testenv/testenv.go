// Package testenv gives tests real servers: by URL from the environment, else from Docker, else from binaries of this
// machine, else from Debian packages where the tests run as root; and a browser in the same way. It is for tests only.
//
// A server is started at most once per test process and ends with it, however it ends.
package testenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Environment variables that name servers or binaries to be used.
const (
	EnvPostgres   = "MILLRACE_TEST_POSTGRES_URL"
	EnvRedis      = "MILLRACE_TEST_REDIS_URL"
	EnvNATSServer = "MILLRACE_TEST_NATS_SERVER" // the binary
	EnvChromium   = "MILLRACE_TEST_CHROMIUM"    // the binary
)

// startLimit bounds the start of a server, a download of its image included.
const startLimit = 5 * time.Minute

// shared is a server that the tests of one process share.
type shared struct {
	once sync.Once
	url  string
	err  error
}

// get answers the server's URL, or fails t with a line that says how to get one.
func (s *shared) get(t testing.TB, hint string, start func() (string, error)) string {
	t.Helper()
	s.once.Do(func() { s.url, s.err = start() })
	if s.err != nil {
		t.Fatalf("%s (%v)", hint, s.err)
	}
	return s.url
}

// say prints one line for the person who waits.
func say(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stderr, "testenv: "+format+"\n", args...)
}

// installDebian installs packages where that is possible; apt's own lock keeps parallel test processes apart.
func installDebian(packages ...string) error {
	if _, err := os.Stat("/etc/debian_version"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("no such binary, and packages can only be installed as root on Debian")
	}
	say("installing the Debian packages %s", strings.Join(packages, " "))
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for _, args := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", args[0], err, lastLine(out))
		}
	}
	return nil
}

// Program answers the path of a program that tests run, which stands in a Debian package where this machine lacks it.
func Program(t testing.TB, name, debian string) string {
	t.Helper()
	p, ok := find(name, "/usr/sbin", "/sbin")
	if ok {
		return p
	}
	if err := installDebian(debian); err != nil {
		t.Fatalf("%s is needed: install the package %s (%v)", name, debian, err)
	}
	if p, ok = find(name, "/usr/sbin", "/sbin"); !ok {
		t.Fatalf("%s is needed, and the package %s has none", name, debian)
	}
	return p
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// find answers the first of the patterns' newest matches that exists, or a program of the PATH.
func find(name string, patterns ...string) (string, bool) {
	if p, err := exec.LookPath(name); err == nil {
		return p, true
	}
	for _, pattern := range patterns {
		if m, _ := filepath.Glob(filepath.Join(pattern, name)); len(m) > 0 {
			return m[len(m)-1], true
		}
	}
	return "", false
}
