package testenv

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// child is a server as a child process. A watchdog ends it and removes its folder when this process ends, even by a kill.
type child struct {
	cmd  *exec.Cmd
	dog  *exec.Cmd
	line *os.File // to the watchdog
	log  string
}

// watch waits for "done"; the end of the line instead means that the parent is gone.
const watch = `read x
if [ "$x" != done ]; then
	kill -INT "$0" 2>/dev/null
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		kill -0 "$0" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$0" 2>/dev/null
fi
[ -z "$1" ] || rm -rf "$1"`

// kept are the children whose lines to their watchdogs must stay open until this process ends.
var kept struct { //nolint:gochecknoglobals // as long as the process
	sync.Mutex
	children []*child
}

// spawn starts a server as uid (a negative one: as this user) with its output in the file log. The watchdog removes dir
// at the end where one is named.
func spawn(dir, log string, uid, gid int, name string, args ...string) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // a file of the test
	if err != nil {
		return nil, err //nolint:wrapcheck // tests see it whole
	}
	defer func() { _ = out.Close() }()                      // the child has its own
	c := &child{cmd: exec.Command(name, args...), log: log} //nolint:gosec,noctx // a server of the test, which ends with it
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.Dir = out, out, "/"
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C of the terminal is for the tests
	if uid >= 0 {
		c.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)} //nolint:gosec // ids are small
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err //nolint:wrapcheck // tests see it whole
	}
	r, w, err := os.Pipe()
	if err != nil {
		_ = c.kill()
		return nil, err //nolint:wrapcheck // tests see it whole
	}
	defer func() { _ = r.Close() }()                                              // the watchdog has its own
	c.dog = exec.Command("sh", "-c", watch, strconv.Itoa(c.cmd.Process.Pid), dir) //nolint:gosec,noctx // ends with this process
	c.dog.Stdin, c.dog.Dir = r, "/"
	c.dog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.line = w
	if err := c.dog.Start(); err != nil {
		_ = c.kill()
		return nil, err //nolint:wrapcheck // tests see it whole
	}
	kept.Lock()
	defer kept.Unlock()
	kept.children = append(kept.children, c)
	return c, nil
}

// kill ends the server at once, as kill -9 does, and waits for its end.
func (c *child) kill() error { return c.end(syscall.SIGKILL) }

func (c *child) end(sig syscall.Signal) error {
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err //nolint:wrapcheck // tests see it whole
	}
	_ = c.cmd.Wait() // the signal is its exit
	if c.line != nil {
		_, _ = io.WriteString(c.line, "done\n")
		_ = c.line.Close()
		_ = c.dog.Wait()
		c.line = nil
	}
	return nil
}

// ended says whether the server has ended by itself. It reaps nothing.
func (c *child) ended() bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(c.cmd.Process.Pid)).Output() //nolint:gosec,noctx // at once
	return err != nil || len(out) > 0 && out[0] == 'Z'
}

// until polls for something outside of this process, which can not tell it by an event.
func until(c *child, ready func() error) error {
	deadline := time.NewTimer(startLimit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if c.ended() {
			out, _ := os.ReadFile(c.log)
			return fmt.Errorf("the server ended: %s", lastLine(out))
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("the server is not ready in time: %w", err)
		}
	}
}

// FreePort answers a port of loopback that nobody listens on now, for a server that may be down for a while: see freePort.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// ports are those that this process has handed out.
var ports sync.Map //nolint:gochecknoglobals // as wide as the process

// freePort answers a port of loopback that nobody listens on now, never the same twice, and none of those from 32768 on that
// Linux gives to whoever asks for any: a server that is down for a while finds it free again.
func freePort() (int, error) {
	var last error
	for range 200 {
		port := 12_000 + rand.IntN(20_000) //nolint:gosec // any will do
		if _, taken := ports.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // at once
		if err == nil {
			return port, l.Close() //nolint:wrapcheck // tests see it whole
		}
		last = err
	}
	return 0, fmt.Errorf("no port is free: %w", last)
}

// ordinary answers an account without privileges where this process is root, else negative numbers.
func ordinary(names ...string) (uid, gid int) {
	if os.Geteuid() != 0 {
		return -1, -1
	}
	for _, n := range names {
		u, err := user.Lookup(n)
		if err != nil {
			continue
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
		return uid, gid
	}
	return 65534, 65534 // nobody
}
