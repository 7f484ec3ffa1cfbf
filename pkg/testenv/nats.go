package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	URL   string
	t     testing.TB
	bin   string
	dir   string
	store string // folder of its streams
	host  string
	port  int
	more  string   // further lines of its configuration
	under []string // what it is started by, if anything
	proc  *child   // nil while it is down
}

// NATSOption changes what NATSServer starts.
type NATSOption func(*NATS)

// NATSStore lets the server keep its streams in dir, a file system of the test's own for example.
func NATSStore(dir string) NATSOption { return func(n *NATS) { n.store = dir } }

// NATSHost lets the server listen on another address than loopback's: one of a network that the test has made.
func NATSHost(host string) NATSOption { return func(n *NATS) { n.host = host } }

var natsBinary shared //nolint:gochecknoglobals // built once by this test process

// NATSNamespace lets the server stand in a network namespace that the test has made, on an address of it.
func NATSNamespace(name, host string) NATSOption {
	return func(n *NATS) { n.host, n.under = host, []string{"ip", "netns", "exec", name} }
}

// NATSServer starts the nats-server that go.mod pins; it ends with t. The binary is the one that MILLRACE_TEST_NATS_SERVER
// names, else it is built from its Go module and kept in the user's cache.
func NATSServer(t testing.TB, opts ...NATSOption) *NATS {
	t.Helper()
	n := newNATS(t, opts...)
	n.Start()
	return n
}

// NATSCluster starts `size` servers that are one cluster, each with JetStream on disk; they end with t. Option, if not nil,
// answers what is special about a server.
func NATSCluster(t testing.TB, size int, option func(i int) NATSOption) []*NATS {
	t.Helper()
	servers := make([]*NATS, size)
	routes := make([]string, size)
	for i := range servers {
		servers[i] = newNATS(t, func(n *NATS) {
			if option != nil {
				option(i)(n)
			}
		})
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		routes[i] = net.JoinHostPort(servers[i].host, strconv.Itoa(port))
	}
	for i, n := range servers {
		n.more = fmt.Sprintf("server_name: n%d\ncluster { name: test, listen: %q, routes: [\"nats://%s\"] }\n",
			i, routes[i], strings.Join(routes, `", "nats://`))
		n.Launch()
	}
	for _, n := range servers {
		n.Wait()
	}
	return servers
}

// newNATS prepares a server and ends it with t.
func newNATS(t testing.TB, opts ...NATSOption) *NATS {
	t.Helper()
	bin := natsBinary.get(t, "nats-server "+server.VERSION+" is needed: set "+EnvNATSServer+" to its path, or run the tests where go can build it", buildNATS)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	n := &NATS{t: t, bin: bin, dir: t.TempDir(), host: "127.0.0.1", port: port}
	n.store = filepath.Join(n.dir, "store")
	for _, o := range opts {
		o(n)
	}
	n.URL = "nats://" + n.Addr()
	t.Cleanup(func() {
		if n.proc != nil {
			n.Resume()
			n.Stop()
		}
		if text := n.Log(); t.Failed() {
			t.Logf("the last words of nats-server:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return n
}

// Addr answers host and port of the server.
func (n *NATS) Addr() string { return net.JoinHostPort(n.host, strconv.Itoa(n.port)) }

// Store answers the folder of the server's streams. What is in it may be changed while the server is down.
func (n *NATS) Store() string { return n.store }

// Start starts the server again on its address and folder, and waits until it answers.
func (n *NATS) Start() {
	n.t.Helper()
	n.Launch()
	n.Wait()
}

// Launch starts the server and does not wait: one of a cluster answers only when most of them are up.
func (n *NATS) Launch() {
	n.t.Helper()
	conf := filepath.Join(n.dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\nmax_payload: 2MB\njetstream { store_dir: %q, sync_interval: always, max_memory_store: 64MB, max_file_store: 64GB }\n%s",
		n.Addr(), n.store, n.more)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	line := append(slices.Clone(n.under), n.bin, "-c", conf)
	proc, err := spawn("", n.log(), -1, -1, line[0], line[1:]...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.proc = proc
}

// Wait waits until the server answers.
func (n *NATS) Wait() {
	n.t.Helper()
	if err := until(n.proc, n.ping); err != nil {
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

// Pause stops the server where it stands, as a machine that hangs does; nobody is told.
func (n *NATS) Pause() { n.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (n *NATS) Resume() { n.signal(syscall.SIGCONT) }

func (n *NATS) signal(sig syscall.Signal) {
	n.t.Helper()
	if err := n.proc.cmd.Process.Signal(sig); err != nil {
		n.t.Fatal(err)
	}
}

func (n *NATS) down(sig syscall.Signal) {
	n.t.Helper()
	if err := n.proc.end(sig); err != nil {
		n.t.Fatal(err)
	}
	n.proc = nil
}

// Log answers what the server has written so far.
func (n *NATS) Log() string {
	b, _ := os.ReadFile(n.log())
	return string(b)
}

func (n *NATS) log() string { return filepath.Join(n.dir, "log") }

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
