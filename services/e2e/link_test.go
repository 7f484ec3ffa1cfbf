package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"millrace.dev/pkg/testenv"
)

// needRoot fails where what a fault needs can not be made.
func needRoot(t *testing.T, what string) {
	t.Helper()
	require.Zero(t, os.Geteuid(), "%s needs root; run the tests as root, or in a container that is privileged", what)
}

// newTmpfs mounts a file system of the given size in memory; it ends with t.
func newTmpfs(t *testing.T, size string) string {
	t.Helper()
	needRoot(t, "a file system of its own")
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// link is a wire between this machine and a network namespace of the test's own. What stands behind it reaches the rest
// by the address `here`, and is reached by the address `there`.
type link struct {
	t           *testing.T
	ns          string
	here, there string
}

// newLink makes a wire and the namespace behind it; they end with t.
func newLink(t *testing.T) *link {
	t.Helper()
	needRoot(t, "a network of its own")
	testenv.Program(t, "ip", "iproute2")
	testenv.Program(t, "nft", "nftables")
	n := rand.IntN(1 << 13) //nolint:gosec // a free network of 198.18.0.0/15, which is for tests
	l := &link{t: t, ns: fmt.Sprintf("millrace-%d", n), here: fmt.Sprintf("198.18.%d.%d", n>>5, n&31*8+1), there: fmt.Sprintf("198.18.%d.%d", n>>5, n&31*8+2)}
	outer := fmt.Sprintf("mr%da", n)
	l.do("ip", "netns", "add", l.ns)
	t.Cleanup(func() { l.do("ip", "netns", "del", l.ns) })
	l.do("ip", "link", "add", outer, "type", "veth", "peer", "name", "wire", "netns", l.ns)
	l.do("ip", "addr", "add", l.here+"/29", "dev", outer)
	l.do("ip", "link", "set", outer, "up")
	l.do("ip", "-n", l.ns, "addr", "add", l.there+"/29", "dev", "wire")
	l.do("ip", "-n", l.ns, "link", "set", "lo", "up")
	l.up()
	l.nft("add table inet fault")
	l.nft("add chain inet fault in { type filter hook input priority 0; }")
	l.nft("add chain inet fault out { type filter hook output priority 0; }")
	return l
}

func (l *link) do(name string, args ...string) {
	l.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:gosec,noctx // at once
	require.NoError(l.t, err, "%s %s: %s", name, strings.Join(args, " "), out)
}

func (l *link) nft(rule string) {
	l.t.Helper()
	l.do("ip", "netns", "exec", l.ns, "nft", rule)
}

// down cuts the wire.
func (l *link) down() { l.do("ip", "-n", l.ns, "link", "set", "wire", "down") }

// up mends the wire.
func (l *link) up() { l.do("ip", "-n", l.ns, "link", "set", "wire", "up") }

// drop loses packets between the namespace and an address here: `from` it, `to` it. When is a further condition.
func (l *link) drop(addr string, from, to bool, when string) {
	l.t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(l.t, err)
	if from {
		l.nft(fmt.Sprintf("add rule inet fault in ip saddr %s tcp sport %s %s drop", l.here, port, when))
	}
	if to {
		l.nft(fmt.Sprintf("add rule inet fault out ip daddr %s tcp dport %s %s drop", l.here, port, when))
	}
}

// heal lets every packet pass again.
func (l *link) heal() { l.nft("flush table inet fault") }

// move lets a process that has not been started stand behind the wire.
func (l *link) move(c *child) {
	_, port, err := net.SplitHostPort(c.addr)
	require.NoError(l.t, err)
	addr := net.JoinHostPort(l.there, port)
	for i, a := range c.args {
		if a == c.addr {
			c.args[i] = addr
		}
	}
	c.addr, c.under = addr, []string{"ip", "netns", "exec", l.ns}
}

// forward lets what stands behind the wire reach an address of loopback, and answers where.
func (l *link) forward(addr string) string {
	l.t.Helper()
	return newProxy(l.t, l.here+":0", addr).Listen
}
