package scheduler

import (
	"time"

	"millrace.dev/pkg/run"
)

// Settings are what an operator sets. The zero value of a field is its default.
type Settings struct {
	Tick         time.Duration `default:"1s" help:"How often schedules and open runs are looked at."`
	Lease        time.Duration `default:"10s" help:"Silence of a worker after which its part is given to another."`
	LossWindow   time.Duration `default:"30s" help:"How long a published batch may stay unaccounted for while the streams are empty."`
	LossLimit    time.Duration `default:"15m" help:"How long a published batch may stay unaccounted for while the streams hold messages."`
	RetryBackoff time.Duration `default:"2s" help:"Wait before the second try of a failed part; doubled for each further one, up to a minute."`
	// BreakerAfter, BreakerCoolOff and BreakerMost say when a warehouse that does not answer is let alone, and for how long.
	BreakerAfter   int           `default:"5" help:"Attempts in a row, of any runs, that do not reach a warehouse until it is let alone for a while."`
	BreakerCoolOff time.Duration `default:"30s" help:"How long a warehouse that does not answer is let alone before one part probes it; doubled for each probe that fails."`
	BreakerMost    time.Duration `default:"5m" help:"How long a warehouse that does not answer is let alone at most between two probes."`
	KeepBatches    time.Duration `default:"720h" help:"How long the batches of a run are listed after its creation."`
	LeftoverTries  int           `default:"20" help:"How often it is tried to drop the snapshots that a mirror has left in its warehouse, ever longer apart, up to an hour."`

	AlertsBackoff time.Duration `default:"5s" help:"Wait before an alert that was not taken is sent again; doubled for each further try, up to an hour."`
	AlertsGiveUp  time.Duration `default:"24h" help:"How long an alert is tried to be sent."`
	AlertsPrivate bool          `help:"Let webhooks go to this machine and to private networks; link-local addresses are refused anyway."`
	ConsoleURL    string        `name:"console-url" placeholder:"URL" help:"Where people reach the console, such as https://millrace.example.com; alerts link to it."`

	SMTPAddr         string `name:"smtp-addr" placeholder:"HOST:PORT" help:"Mail server that alerts go out by."`
	SMTPFrom         string `name:"smtp-from" placeholder:"ADDRESS" help:"Whom mails of alerts come from."`
	SMTPUser         string `name:"smtp-user" placeholder:"NAME" help:"User of the mail server, if it asks for one."`
	SMTPPasswordFile string `name:"smtp-password-file" placeholder:"PATH" help:"File with the user's password; read for each mail."`
	SMTPTLS          string `name:"smtp-tls" default:"starttls" enum:"starttls,tls,none" help:"How the mail server is talked to: starttls, tls from the beginning, or none."`
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
	fill(&s.BreakerCoolOff, 30*time.Second)
	fill(&s.BreakerMost, 5*time.Minute)
	if s.BreakerAfter <= 0 {
		s.BreakerAfter = 5
	}
	if s.LeftoverTries <= 0 {
		s.LeftoverTries = 20
	}
	fill(&s.KeepBatches, 30*24*time.Hour)
	fill(&s.AlertsBackoff, 5*time.Second)
	fill(&s.AlertsGiveUp, 24*time.Hour)
	return s
}

// breaker answers the rule by which warehouses are let alone.
func (s Settings) breaker() run.BreakerRule {
	return run.BreakerRule{After: int64(s.BreakerAfter), CoolOff: s.BreakerCoolOff, Most: s.BreakerMost}
}
