package settings

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

// print writes every setting with its value and origin.
func (l *loader) print(ctx *kong.Context) {
	given := map[string]bool{}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			given[p.Flag.Name] = true
		}
	}
	w := tabwriter.NewWriter(l.in.Stdout, 0, 0, 2, ' ', 0)
	for _, f := range ctx.Model.Flags {
		if f.Name == "help" || f.Name == "print-settings" {
			continue
		}
		origin := l.origins[f.Name]
		switch {
		case given[f.Name]:
			origin = "flag"
		case origin == "":
			origin = "default"
		}
		_, _ = fmt.Fprintf(w, "%s:\t%s\t# %s\n", f.Name, Mask(fmt.Sprint(f.Target.Interface())), origin)
	}
	_ = w.Flush()
}

// secretParam matches parameters of URLs, and of key=value connection strings, that hold secrets.
var secretParam = regexp.MustCompile(`(?i)((?:password|passwd|passphrase|pass|secret|token|api_?key|sslkey|credential)[a-z_]*\s*[=]\s*)('[^']*'|[^&\s]+)`) //nolint:gochecknoglobals // compiled once, never changed

// Mask answers s with the secrets of the URLs or connection strings in it replaced by ***.
func Mask(s string) string {
	parts := strings.Split(s, ",")
	for i, p := range parts {
		parts[i] = maskOne(p)
	}
	return strings.Join(parts, ",")
}

func maskOne(s string) string {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
			user, _, has := strings.Cut(rest[:at], ":")
			switch {
			case has:
				rest = user + ":***" + rest[at:]
			case scheme == "nats" || scheme == "tls" || scheme == "ws" || scheme == "wss":
				rest = "***" + rest[at:] // a token
			}
		} else if _, err := url.Parse(s); err != nil && strings.Contains(rest, "@") {
			return scheme + "://***"
		}
		s = scheme + "://" + rest
	}
	return secretParam.ReplaceAllString(s, "${1}***")
}
