package scheduler

import (
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/quota"
	"millrace.dev/pkg/quota/memory"
	"millrace.dev/pkg/quota/redis"
)

// openLimits answers the limiter that the shared setting names: memory (default) or redis://….
func openLimits(setting string) (quota.Limiter, error) {
	switch {
	case setting == "" || setting == "memory":
		return memory.New(), nil
	case strings.HasPrefix(setting, "redis://"), strings.HasPrefix(setting, "rediss://"):
		return redis.Open(setting)
	}
	return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the quota's address is neither memory nor redis://…; correct --quota")
}
