package e2e_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"millrace.dev/pkg/testenv"
)

// child is a process of the mesh that can be killed and started again with the same arguments.
type child struct {
	name  string
	from  *build
	under []string // what the program is started by, if anything: a command and its arguments
	args  []string
	env   []string // beside this process's own
	addr  string
	log   string
	cmd   *exec.Cmd
	done  chan struct{}
}

// newChild prepares a process that serves gRPC on a free port of its own.
func newChild(t *testing.T, name string, args ...string) *child {
	t.Helper()
	c := &child{name: name, from: &released, addr: freeAddress(t)}
	if name != "millrace" { // which has a trace service of its own
		c.env = []string{"MILLRACE_TRACE_ADDR=none"}
	}
	c.args = append(args, "--grpc", c.addr, "--log-level", "info")
	c.log = filepath.Join(t.TempDir(), name+".log")
	t.Cleanup(func() {
		c.kill(t)
		if t.Failed() {
			text, err := os.ReadFile(c.log)
			require.NoError(t, err)
			t.Logf("the last words of %s:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
	return c
}

// freeAddress answers a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(testenv.FreePort(t)))
}

// start starts the process and waits until it answers that it serves.
func (c *child) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer func() { require.NoError(t, log.Close()) }()
	line := slices.Concat(c.under, []string{c.from.binary(t, c.name)}, c.args)
	c.cmd = exec.CommandContext(context.Background(), line[0], line[1:]...) //nolint:gosec // a program of the test
	c.cmd.Env = append(c.cmd.Environ(), c.env...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, c.cmd.Start())
	c.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // killed processes end with an error
		close(done)
	}(c.cmd, c.done)
}

// ready waits until the process says that it serves.
func (c *child) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn := dial(t, c.addr)
	for {
		res, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true))
		if err == nil && res.GetStatus() == healthv1.HealthCheckResponse_SERVING {
			return
		}
		select {
		case <-c.done:
			require.Fail(t, c.name+" has ended")
		default:
		}
		require.NoError(t, ctx.Err(), "%s does not serve", c.name)
		pause(ctx, 50*time.Millisecond)
	}
}

// kill ends the process at once, as a power cut would.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Kill() // it may have ended by itself
	<-c.done
	c.cmd = nil
}

// dial answers a connection that is closed at the test's end and outlives the process behind it.
func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: 5 * time.Second, // its default here is the first delay, which a busy machine takes to connect
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 2, MaxDelay: 500 * time.Millisecond},
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
