package testenv

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
	"go.uber.org/goleak"
)

// Images of the servers in Docker.
const (
	postgresImage = "postgres:17-alpine"
	redisImage    = "redis:7-alpine"
)

// docker says whether a Docker engine answers.
var docker = sync.OnceValue(func() bool { //nolint:gochecknoglobals // asked once
	if _, err := os.Stat("/var/run/docker.sock"); err != nil && os.Getenv("DOCKER_HOST") == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	p, err := testcontainers.NewDockerProvider()
	if err != nil {
		return false
	}
	defer func() { _ = p.Close() }() // only asked
	return p.Health(ctx) == nil
})

// Leaks answers what goleak has to ignore of servers in Docker, which end with the test process.
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/testcontainers/testcontainers-go.(*Reaper).connect.func1"),
		goleak.IgnoreAnyFunction("github.com/testcontainers/testcontainers-go.(*Reaper).Connect.func1"),
	}
}

func dockerPostgres() (string, error) {
	addr, err := runContainer(postgresImage, "5432/tcp", map[string]string{
		"POSTGRES_USER": "millrace", "POSTGRES_DB": "postgres", "POSTGRES_HOST_AUTH_METHOD": "trust",
	}, "postgres", "-c", "fsync=off", "-c", "max_connections=300", "-c", "max_prepared_transactions=10", "-c", "wal_level=logical")
	if err != nil {
		return "", err
	}
	u := "postgres://millrace@" + addr + "/postgres?sslmode=disable"
	return u, pingPostgres(u)
}

func dockerRedis() (string, error) {
	addr, err := runContainer(redisImage, "6379/tcp", nil)
	if err != nil {
		return "", err
	}
	u := "redis://" + addr + "/0"
	return u, pingRedis(u)
}

// runContainer runs an image, which testcontainers' reaper ends with this process, and answers where its port is.
func runContainer(image, port string, env map[string]string, cmd ...string) (string, error) {
	say("starting %s in Docker", image)
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	opts := []testcontainers.ContainerCustomizer{
		testcontainers.WithExposedPorts(port), testcontainers.WithEnv(env), testcontainers.WithWaitStrategy(wait.ForListeningPort(port)),
	}
	if len(cmd) > 0 {
		opts = append(opts, testcontainers.WithCmd(cmd...))
	}
	c, err := testcontainers.Run(ctx, image, opts...)
	if err != nil {
		return "", fmt.Errorf("run %s: %w", image, err)
	}
	return c.PortEndpoint(ctx, port, "") //nolint:wrapcheck // tests see it whole
}
