package testenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// NATS is a nats-server of its own, as a child process on loopback with JetStream on disk.
type NATS struct {
	URL  string
	t    testing.TB
	bin  string
	dir  string
	port int
	proc *child // nil while it is down
}

var natsBinary shared //nolint:gochecknoglobals // built once by this test process

// NATSServer starts the nats-server that go.mod pins; it ends with t. The binary is the one that MILLRACE_TEST_NATS_SERVER
// names, else it is built from its Go module and kept in the user's cache.
func NATSServer(t testing.TB) *NATS {
	t.Helper()
	bin := natsBinary.get(t, "nats-server "+server.VERSION+" is needed: set "+EnvNATSServer+" to its path, or run the tests where go can build it", buildNATS)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	n := &NATS{URL: "nats://127.0.0.1:" + strconv.Itoa(port), t: t, bin: bin, dir: t.TempDir(), port: port}
	n.Start()
	t.Cleanup(func() {
		if n.proc != nil {
			n.Stop()
		}
	})
	return n
}

// Start starts the server again on its address and folder, and waits until it answers.
func (n *NATS) Start() {
	n.t.Helper()
	conf := filepath.Join(n.dir, "nats.conf")
	text := fmt.Sprintf("listen: \"127.0.0.1:%d\"\nmax_payload: 2MB\njetstream { store_dir: %q, sync_interval: always, max_memory_store: 64MB, max_file_store: 64GB }\n",
		n.port, filepath.Join(n.dir, "store"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	proc, err := spawn("", filepath.Join(n.dir, "log"), -1, -1, n.bin, "-c", conf)
	if err != nil {
		n.t.Fatal(err)
	}
	n.proc = proc
	if err := until(proc, n.ping); err != nil {
		n.t.Fatalf("nats-server: %v", err)
	}
}

func (n *NATS) ping() error {
	nc, err := nats.Connect(n.URL, nats.NoReconnect(), nats.Timeout(time.Second))
	if err != nil {
		return err //nolint:wrapcheck // tests see it whole
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		return err //nolint:wrapcheck // tests see it whole
	}
	_, err = js.AccountInfo(nats.MaxWait(time.Second))
	return err //nolint:wrapcheck // tests see it whole
}

// Stop ends the server in good order.
func (n *NATS) Stop() { n.down(syscall.SIGTERM) }

// Kill ends the server as kill -9 does.
func (n *NATS) Kill() { n.down(syscall.SIGKILL) }

func (n *NATS) down(sig syscall.Signal) {
	n.t.Helper()
	if err := n.proc.end(sig); err != nil {
		n.t.Fatal(err)
	}
	n.proc = nil
}

// Log answers what the server has written so far.
func (n *NATS) Log() string {
	b, _ := os.ReadFile(filepath.Join(n.dir, "log"))
	return string(b)
}

// buildNATS answers the path of the pinned server.
func buildNATS() (string, error) {
	if p := os.Getenv(EnvNATSServer); p != "" {
		return p, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "millrace")
	bin := filepath.Join(dir, "nats-server-"+server.VERSION)
	if out, err := exec.Command(bin, "--version").Output(); err == nil && strings.Contains(string(out), server.VERSION) { //nolint:gosec,noctx // our own build
		return bin, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // holds programs
		return "", err //nolint:wrapcheck // tests see it whole
	}
	say("building nats-server %s", server.VERSION)
	ctx, cancel := context.WithTimeout(context.Background(), 2*startLimit)
	defer cancel()
	tmp := fmt.Sprintf("%s.%d", bin, os.Getpid())
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", tmp, "github.com/nats-io/nats-server/v2") //nolint:gosec // our own build
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, lastLine(out))
	}
	return bin, os.Rename(tmp, bin) //nolint:wrapcheck // tests see it whole
}
