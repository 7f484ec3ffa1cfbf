// Package redis keeps the counters of package quota in Redis, for processes that share them. Instants are those of the
// Redis server.
package redis

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/quota"
)

// Limiter counts in Redis.
type Limiter struct {
	client *redis.Client
	take   *redis.Script
}

var _ quota.Limiter = (*Limiter)(nil)

// prefix keeps our keys apart from those of others.
const prefix = "millrace:quota:"

// take keeps the instants of what was taken in a sorted set. Answers the microseconds to wait, 0 when it has taken one.
const take = `
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local n, per = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - per))
local held = redis.call('ZCARD', KEYS[1])
if held < n then
	redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
	redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(per / 1000) + 1000))
	return 0
end
local first = redis.call('ZRANGE', KEYS[1], held - n, held - n, 'WITHSCORES')
return tonumber(first[2]) + per - now
`

// Open answers a limiter on the Redis of a redis:// or rediss:// URL. It connects at the first use.
func Open(url string) (*Limiter, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the quota's address is not of the form redis://[user:password@]host:port/db; correct --quota")
	}
	return &Limiter{client: redis.NewClient(o), take: redis.NewScript(take)}, nil
}

// Take implements quota.Limiter.
func (l *Limiter) Take(ctx context.Context, key string, n int, per time.Duration) (time.Duration, error) {
	micros, err := l.take.Run(ctx, l.client, []string{prefix + key}, n, per.Microseconds(), uuid.NewString()).Int64()
	if err != nil {
		return 0, fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "the Redis of the quota does not answer; see that it is reachable: %w", err)
	}
	return time.Duration(micros) * time.Microsecond, nil
}

// Close ends the connections.
func (l *Limiter) Close() error {
	if err := l.client.Close(); err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "close the quota's connections: %w", err)
	}
	return nil
}
