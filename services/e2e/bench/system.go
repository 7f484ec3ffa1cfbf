//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
)

// system is Millrace at work: one process with every service, as `millrace up` starts it.
type system struct {
	cmd       *exec.Cmd
	data, log string
	http      string
	conn      *grpc.ClientConn
	config    configv1.ConfigServiceClient
	scheduler schedulerv1.SchedulerServiceClient
	ingestion ingestionv1.IngestionServiceClient
}

// start starts the program over a data folder of its own; what it says goes to a file.
func start(ctx context.Context, bin, data, log string, flags ...string) (*system, error) {
	grpcAddr, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &system{data: data, log: log}
	if s.http, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	out, err := os.Create(log) //nolint:gosec // a folder of our own
	if err != nil {
		return nil, fmt.Errorf("make the log: %w", err)
	}
	defer out.Close()
	args := append([]string{"up", "--data", data, "--grpc", grpcAddr, "--http", s.http}, flags...)
	s.cmd = exec.CommandContext(ctx, bin, args...) //nolint:gosec // the program to measure
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", bin, err)
	}
	if s.conn, err = grpc.NewClient(grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	s.config = configv1.NewConfigServiceClient(s.conn)
	s.scheduler = schedulerv1.NewSchedulerServiceClient(s.conn)
	s.ingestion = ingestionv1.NewIngestionServiceClient(s.conn)
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := healthv1.NewHealthClient(s.conn).Check(wait, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		return nil, fmt.Errorf("%s does not serve (see %s): %w", bin, log, err)
	}
	return s, nil
}

// stop ends the process in order.
func (s *system) stop() error {
	_ = s.conn.Close()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the process ended badly (see %s): %w", s.log, err)
	}
	return nil
}

func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// apply applies documents.
func (s *system) apply(ctx context.Context, documents string) error {
	_, err := s.config.Apply(ctx, &configv1.ApplyRequest{Documents: []*configv1.Document{{File: "bench.yaml", Content: documents}}})
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	return nil
}

// sync runs a sync to its end and answers the run with how long it took from the trigger on.
func (s *system) sync(ctx context.Context, name string) (*schedulerv1.Run, time.Duration, error) {
	began := time.Now()
	res, err := s.scheduler.TriggerRun(ctx, &schedulerv1.TriggerRunRequest{Sync: name})
	if err != nil {
		return nil, 0, fmt.Errorf("trigger: %w", err)
	}
	stream, err := s.scheduler.WatchRun(ctx, &schedulerv1.WatchRunRequest{Id: res.GetRun().GetId()})
	if err != nil {
		return nil, 0, fmt.Errorf("watch: %w", err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil, 0, fmt.Errorf("watch: %w", err)
		}
		switch r := m.GetRun(); r.GetState() {
		case schedulerv1.RunState_RUN_STATE_QUEUED, schedulerv1.RunState_RUN_STATE_PLANNING, schedulerv1.RunState_RUN_STATE_RUNNING:
		case schedulerv1.RunState_RUN_STATE_SUCCEEDED:
			return r, time.Since(began), nil
		default:
			return nil, 0, fmt.Errorf("the run ended %s: %s", r.GetState(), r.GetError().GetMessage())
		}
	}
}

// digest answers the digest of the whole store.
func (s *system) digest(ctx context.Context) (*ingestionv1.GetStoreDigestResponse, error) {
	d, err := s.ingestion.GetStoreDigest(ctx, &ingestionv1.GetStoreDigestRequest{})
	if err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	return d, nil
}
