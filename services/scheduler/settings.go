package scheduler

import "time"

// Settings are what an operator sets. The zero value of a field is its default.
type Settings struct {
	Tick         time.Duration `default:"1s" help:"How often schedules and open runs are looked at."`
	Lease        time.Duration `default:"10s" help:"Silence of a worker after which its part is given to another."`
	LossWindow   time.Duration `default:"30s" help:"How long a published batch may stay unaccounted for while the streams are empty."`
	LossLimit    time.Duration `default:"15m" help:"How long a published batch may stay unaccounted for while the streams hold messages."`
	RetryBackoff time.Duration `default:"2s" help:"Wait before the second try of a failed part; doubled for each further one, up to a minute."`
	KeepBatches  time.Duration `default:"720h" help:"How long the batches of a run are listed after its creation."`
}

// orDefaults fills what is not set, as the tags say.
func (s Settings) orDefaults() Settings {
	fill := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	fill(&s.Tick, time.Second)
	fill(&s.Lease, 10*time.Second)
	fill(&s.LossWindow, 30*time.Second)
	fill(&s.LossLimit, 15*time.Minute)
	fill(&s.RetryBackoff, 2*time.Second)
	fill(&s.KeepBatches, 30*24*time.Hour)
	return s
}
