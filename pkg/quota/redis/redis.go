// Package redis counts in a Redis, by its clock, for all processes that use it.
package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/quota"
)

// prefix starts every key.
const prefix = "millrace:quota:"

// take keeps the takes of a key in a sorted set by microseconds of Redis's clock. It answers {1, 0}, or {0, microseconds
// to wait}.
//
//nolint:gochecknoglobals // compiled once, never changed
var take = redis.NewScript(`
local limit, per = tonumber(ARGV[1]), tonumber(ARGV[2])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - per))
local n = redis.call('ZCARD', KEYS[1])
if n < limit then
	redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
	redis.call('PEXPIRE', KEYS[1], math.ceil(per / 1000))
	return {1, 0}
end
local first = redis.call('ZRANGE', KEYS[1], n - limit, n - limit, 'WITHSCORES')
return {0, tonumber(first[2]) + per - now}
`)

// Limiter is a quota.Limiter in Redis.
type Limiter struct{ client *redis.Client }

var _ quota.Limiter = (*Limiter)(nil)

// Open answers a limiter on the Redis of a URL, redis://… or rediss://… It does not dial.
func Open(url string) (*Limiter, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the setting quota is no URL of a Redis; write redis://[user:password@]host:port/number")
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 2*time.Second, 2*time.Second, 2*time.Second
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1 // a take whose answer was lost must not be taken twice
	return &Limiter{client: redis.NewClient(o)}, nil
}

// Take is quota.Limiter's.
func (l *Limiter) Take(ctx context.Context, key string, limit int, per time.Duration) (bool, time.Duration, error) {
	if err := quota.Check(limit, per); err != nil {
		return false, 0, err //nolint:wrapcheck // classified
	}
	out, err := take.Run(ctx, l.client, []string{prefix + key}, limit, per.Microseconds(), rand.Text()).Int64Slice()
	switch {
	case err != nil && ctx.Err() != nil:
		return false, 0, ctx.Err() //nolint:wrapcheck // the caller's own
	case err != nil:
		return false, 0, fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "the counters in Redis can not be reached; look after it or the setting quota: %w", err)
	case len(out) != 2:
		return false, 0, fault.New(fault.Internal, fault.ReasonInternal, "Redis answers %d numbers to a take: %w", len(out), errors.ErrUnsupported)
	}
	return out[0] == 1, time.Duration(out[1]) * time.Microsecond, nil
}

// Close is quota.Limiter's.
func (l *Limiter) Close() error {
	if err := l.client.Close(); err != nil {
		return fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "close the counters in Redis: %w", err)
	}
	return nil
}
