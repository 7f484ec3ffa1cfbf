//go:build cgo && duckdb_arrow

package main

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
	data      string
	http      string
	conn      *grpc.ClientConn
	config    configv1.ConfigServiceClient
	scheduler schedulerv1.SchedulerServiceClient
	ingestion ingestionv1.IngestionServiceClient
}

// start starts the program over a data folder of its own.
func start(ctx context.Context, bin, data string, flags ...string) (*system, error) {
	grpcAddr, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &system{data: data}
	if s.http, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	log, err := os.Create(data + ".log") //nolint:gosec // a folder of our own
	if err != nil {
		return nil, fmt.Errorf("make the log: %w", err)
	}
	defer log.Close()
	args := append([]string{"up", "--data", data, "--grpc", grpcAddr, "--http", s.http}, flags...)
	s.cmd = exec.CommandContext(ctx, bin, args...) //nolint:gosec // the program to measure
	s.cmd.Stdout, s.cmd.Stderr = log, log
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
		return nil, fmt.Errorf("%s does not serve (see %s.log): %w", bin, data, err)
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
		return fmt.Errorf("the process ended badly (see %s.log): %w", s.data, err)
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

// cpu answers the seconds that the process has computed.
func (s *system) cpu() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the process's times: %w", err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const user, system, ticks = 11, 12, 100
	var sum float64
	for _, at := range []int{user, system} {
		n, err := strconv.ParseFloat(f[at], 64)
		if err != nil {
			return 0, fmt.Errorf("read the process's times: %w", err)
		}
		sum += n / ticks
	}
	return sum, nil
}

// peakRSS answers the most memory that the process has held, in MiB.
func (s *system) peakRSS() (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the process's memory: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the process's memory: %w", err)
			}
			return n >> 10, nil
		}
	}
	return 0, fmt.Errorf("the system does not tell the process's memory") //nolint:err113 // for people
}

// disk answers the size of the data folder in MiB.
func (s *system) disk() (int64, error) {
	var sum int64
	err := filepath.WalkDir(s.data, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // files come and go under a live store
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure the data folder: %w", err)
	}
	return sum >> 20, nil
}

// busy answers, by stage, the seconds that it was at work so far: the sums of the histograms millrace_<service>_…_seconds.
func (s *system) busy(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer res.Body.Close()
	out := map[string]float64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "_seconds_sum")
		stage, isOurs := strings.CutPrefix(name, "millrace_")
		if !ok || !isOurs || strings.HasPrefix(stage, "scheduler_") {
			continue // runs as a whole are no stage
		}
		at := strings.LastIndexByte(value, ' ')
		n, err := strconv.ParseFloat(value[at+1:], 64)
		if err != nil {
			continue
		}
		out[stage] += n
	}
	return out, nil
}
