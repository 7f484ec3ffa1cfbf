package config

import "time"

// Settings are the service's own.
type Settings struct {
	MaxResources int64         `help:"Resources that a workspace may have." default:"10000"`
	CheckTimeout time.Duration `help:"Time that the check of one sync against its warehouse may take." default:"20s"`
}

const (
	defaultResources = 10_000
	defaultTimeout   = 20 * time.Second
)

// complete fills in what was left out.
func (s Settings) complete() Settings {
	if s.MaxResources == 0 {
		s.MaxResources = defaultResources
	}
	if s.CheckTimeout == 0 {
		s.CheckTimeout = defaultTimeout
	}
	return s
}
