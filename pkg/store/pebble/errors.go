package pebble

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"

	"millrace.dev/pkg/fault"
)

// unavailable classifies an error of the database. Its text may hold keys, so that it goes to logs only.
func unavailable(what string, err error) *fault.Error {
	var own *fault.Error
	if errors.As(err, &own) {
		return own
	}
	e := &fault.Error{
		Class: fault.Unavailable, Reason: fault.ReasonStoreUnavailable, Err: err,
		Message: "store: " + what + ": the database's files can not be read or written; see the log for the cause",
	}
	if noSpace(err) {
		e.Message = full(what)
	}
	return e
}

func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func full(what string) string {
	return "store: " + what + ": the disk is full; free space, the work goes on by itself"
}

// roomy answers Unavailable when the disk has less free space than the store keeps in hand for its own work.
func (s *Store) roomy(what string) error {
	// A file system that does not know has room.
	if u, err := s.fs.GetDiskUsage(s.dir); err != nil || u.AvailBytes >= s.free {
		return nil //nolint:nilerr // as said
	}
	return &fault.Error{Class: fault.Unavailable, Reason: fault.ReasonStoreUnavailable, Message: full(what)}
}

// breakDown makes every later call answer that the store must be opened again: what it has in memory may not be on disk.
func (s *Store) breakDown(what string, err error) *fault.Error {
	why := "its log can not be written"
	if noSpace(err) {
		why = "the disk is full"
	}
	s.broken.CompareAndSwap(nil, &fault.Error{
		Class: fault.Unavailable, Reason: fault.ReasonStoreUnavailable, Err: err,
		Message: "store: " + what + ": " + why + "; mend that and start this process again, what was answered is safe",
	})
	return s.broken.Load()
}

// logger leads what Pebble says to slog, at level debug: it may hold keys.
type logger struct{ log *slog.Logger }

func (l logger) Infof(format string, args ...any) {
	l.log.Debug("pebble", "message", fmt.Sprintf(format, args...))
}

func (l logger) Errorf(format string, args ...any) {
	l.log.Debug("pebble", "message", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble calls it where going on would harm the files. What is committed is safe in them.
func (l logger) Fatalf(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	l.log.Error("pebble can not go on", "message", msg)
	panic("store: pebble can not go on: " + msg) //nolint:forbidigo // Pebble's contract; ending is the safe thing
}
