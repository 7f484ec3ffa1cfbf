package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const redisHint = "Redis is needed: set " + EnvRedis + " to its URL, or start Docker, or install redis-server"

var redisServer shared //nolint:gochecknoglobals // the server of this test process

// Redis answers the URL of a Redis that others may use at the same time: keys of a test need a prefix of their own. It
// fails t, never skips, where there is no Redis to be had.
func Redis(t testing.TB) string {
	t.Helper()
	return redisServer.get(t, redisHint, startRedis)
}

func startRedis() (string, error) {
	if u := os.Getenv(EnvRedis); u != "" {
		return u, pingRedis(u)
	}
	if docker() {
		return dockerRedis()
	}
	bin, ok := findRedis()
	if !ok {
		if err := installDebian("redis-server"); err != nil {
			return "", err
		}
		if bin, ok = findRedis(); !ok {
			return "", fmt.Errorf("redis-server is not found")
		}
	}
	dir, err := os.MkdirTemp("", "millrace-redis-")
	if err != nil {
		return "", err //nolint:wrapcheck // tests see it whole
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	c, err := spawn(dir, filepath.Join(dir, "log"), -1, -1, bin, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	if err != nil {
		return "", err
	}
	u := fmt.Sprintf("redis://127.0.0.1:%d/0", port)
	if err := until(c, func() error { return pingRedis(u) }); err != nil {
		return "", err
	}
	return u, nil
}

func findRedis() (string, bool) {
	if p, ok := find("redis-server", "/usr/local/bin", "/opt/homebrew/bin"); ok {
		return p, true
	}
	return find("valkey-server", "/usr/local/bin", "/opt/homebrew/bin")
}

func pingRedis(u string) error {
	o, err := redis.ParseURL(u)
	if err != nil {
		return fmt.Errorf("the URL can not be read")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }() // done with it
	return c.Ping(ctx).Err()         //nolint:wrapcheck // tests see it whole
}
