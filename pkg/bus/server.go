package bus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"millrace.dev/pkg/fault"
)

// serverMaxPayload is the largest message that the embedded server takes.
const serverMaxPayload = 2 << 20

// embedded is a nats-server in the process, without a listener.
type embedded struct {
	srv  *server.Server
	lock *os.File
}

// startEmbedded starts the server on s.Dir, which no other process may use, with room for `store` bytes of streams.
func startEmbedded(ctx context.Context, s Settings, log *slog.Logger, store int64) (*embedded, error) {
	lock, err := lockDir(s.Dir)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(&server.Options{
		ServerName:         "millrace",
		DontListen:         true,
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           filepath.Join(s.Dir, "store"),
		MaxPayload:         serverMaxPayload,
		SyncAlways:         !s.LazySync,
		JetStreamMaxStore:  2 * store, // streams of an earlier, larger configuration must still open
		JetStreamMaxMemory: 64 << 20,
	})
	if err != nil {
		_ = lock.Close()
		return nil, unavailable("start the embedded broker in "+s.Dir, err)
	}
	srv.SetLoggerV2(serverLog{log}, false, false, false)
	e := &embedded{srv: srv, lock: lock}
	srv.Start()
	if err := e.ready(ctx); err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

// ready waits until the server takes connections and has recovered its streams.
func (e *embedded) ready(ctx context.Context) error {
	for !e.srv.ReadyForConnections(100 * time.Millisecond) {
		if ctx.Err() != nil {
			return unavailable("start the embedded broker", context.Cause(ctx))
		}
	}
	if !e.srv.JetStreamEnabled() {
		return unavailable("start the embedded broker", fmt.Errorf("JetStream can not use its folder")) //nolint:err113,perfsprint // the log of the server has the cause
	}
	return nil
}

// InProcessConn makes the embedded server one that nats.Connect can reach.
func (e *embedded) InProcessConn() (net.Conn, error) {
	return e.srv.InProcessConn() //nolint:wrapcheck // a plain hand-over
}

func (e *embedded) stop() {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
	_ = e.lock.Close() // ends the lock
}

// lockDir makes dir and takes its lock for this process.
func lockDir(dir string) (*os.File, error) {
	if dir == "" {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the embedded broker needs a folder; set data")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Precondition, fault.ReasonPathForbidden, "the broker's folder can not be made; mend its permissions or set data to another folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the folder
	if err != nil {
		return nil, fault.New(fault.Precondition, fault.ReasonPathForbidden, "the broker's folder can not be written; mend its permissions or set data to another folder: %w", err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, fault.New(fault.Precondition, fault.ReasonInUse, "another process uses %s; stop it, or set data to another folder", dir)
	}
	return f, nil
}

// serverLog hands what the server has to say to slog: warnings and errors only.
type serverLog struct{ log *slog.Logger }

func (serverLog) Noticef(string, ...any) {}
func (serverLog) Debugf(string, ...any)  {}
func (serverLog) Tracef(string, ...any)  {}

func (l serverLog) Warnf(format string, v ...any) {
	l.log.Warn("embedded broker", "message", fmt.Sprintf(format, v...))
}

func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error("embedded broker", "message", fmt.Sprintf(format, v...))
}

func (l serverLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }
