package trace

import (
	"path/filepath"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
)

// Settings are the service's own. The zero value of a field is its default.
type Settings struct {
	Database    string        `placeholder:"URL" help:"Where traces are kept: sqlite:PATH or postgres://… (sqlite: traces.db in the data folder). Not the control tables, so that neither waits for the other."`
	Keep        time.Duration `default:"24h" help:"How long a trace is kept after its end."`
	MaxBytes    int64         `default:"1073741824" help:"Bytes of spans that are kept at most; beyond it the oldest traces go."`
	MaxSpans    int           `default:"1000" help:"Spans of one trace that are kept."`
	QueueSpans  int           `default:"16384" help:"Received spans that may wait to be written; what does not fit is refused and counted."`
	MaxRequest  int64         `default:"8388608" help:"Bytes of one OTLP request that are taken."`
	MaxConfigs  int           `default:"100" help:"Trace configurations that a workspace may have."`
	Settle      time.Duration `default:"30s" help:"How long after its last span a complete trace is judged by the configurations."`
	SettleLimit time.Duration `default:"1h" help:"How long after its last span a trace that is not complete is judged."`
}

// complete fills in what was left out, as the tags say.
func (s Settings) complete(data string) Settings {
	if s.Database == "" {
		s.Database = "sqlite:" + filepath.Join(data, "traces.db")
	}
	fill(&s.Keep, 24*time.Hour)
	fill(&s.MaxBytes, 1<<30)
	fill(&s.MaxSpans, 1000)
	fill(&s.QueueSpans, 16384)
	fill(&s.MaxRequest, 8<<20)
	fill(&s.MaxConfigs, 100)
	fill(&s.Settle, 30*time.Second)
	fill(&s.SettleLimit, time.Hour)
	return s
}

func fill[N ~int | ~int64](v *N, d N) {
	if *v <= 0 {
		*v = d
	}
}

// check reports what can not be used.
func (s Settings) check() error {
	if !strings.HasPrefix(s.Database, "sqlite:") && !strings.HasPrefix(s.Database, "postgres://") && !strings.HasPrefix(s.Database, "postgresql://") {
		return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the address of the traces has neither the form sqlite:PATH nor postgres://…; correct --trace-database")
	}
	return nil
}
