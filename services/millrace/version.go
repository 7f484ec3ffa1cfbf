package millrace

import (
	"fmt"
	"io"
	"runtime/debug"
)

type versionCmd struct{}

// build is what a binary knows of itself.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Time    string `json:"time,omitempty"`
	Go      string `json:"go"`
	Tags    string `json:"tags,omitempty"`
}

func (*versionCmd) Run(s *session) error {
	b := buildOf(debug.ReadBuildInfo())
	return s.say(b, func(w io.Writer) error {
		text := "millrace " + b.Version
		if b.Commit != "" {
			text += " " + b.Commit
		}
		_, err := fmt.Fprintf(w, "%s, %s\n", text, b.Go)
		return written(err)
	})
}

func buildOf(info *debug.BuildInfo, ok bool) build {
	if !ok {
		return build{Version: "unknown"}
	}
	b := build{Version: info.Main.Version, Go: info.GoVersion}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "-tags":
			b.Tags = s.Value
		}
	}
	return b
}
