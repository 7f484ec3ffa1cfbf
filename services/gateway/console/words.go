package console

import (
	"errors"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"millrace.dev/pkg/fault"
)

// words are the functions of templates.
func words(a assets) template.FuncMap {
	return template.FuncMap{
		"asset": a.path, "link": pathIn, "word": word, "say": say, "number": number, "bytes": byteSize, "span": span,
		"instant": instant, "percent": percent, "tone": tone, "short": short, "fields": fields, "schedule": scheduleText, "sentence": sentence,
	}
}

// fields makes a map of names and values, to pass several to a block.
func fields(pairs ...any) (map[string]any, error) {
	out := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "fields takes names and values")
		}
		out[name] = pairs[i+1]
	}
	if len(pairs)%2 != 0 {
		return nil, errors.New("fields takes pairs")
	}
	return out, nil
}

// word answers an enum's value as the API says it: partially_succeeded. Empty where it is unspecified.
func word(e protoreflect.Enum) string {
	d := e.Descriptor()
	v := d.Values().ByNumber(e.Number())
	if v == nil || e.Number() == 0 {
		return ""
	}
	first := string(d.Values().ByNumber(0).Name())
	return strings.ToLower(strings.TrimPrefix(string(v.Name()), strings.TrimSuffix(first, "UNSPECIFIED")))
}

// say answers a word for people: partially succeeded.
func say(v any) string {
	if e, ok := v.(protoreflect.Enum); ok {
		v = word(e)
	}
	return strings.ReplaceAll(fmt.Sprint(v), "_", " ")
}

// tone answers the colour of a state: good, bad, warn, busy or idle.
func tone(v any) string {
	if e, ok := v.(protoreflect.Enum); ok {
		v = word(e)
	}
	switch v {
	case "succeeded", "ok", "active", "healthy", "complete", "passed":
		return "good"
	case "failed", "faulted", "error":
		return "bad"
	case "held", "partially_succeeded", "resync_required", "warning", "warn", "late":
		return "warn"
	case "queued", "planning", "running", "leased", "extracted":
		return "busy"
	default:
		return "idle"
	}
}

// number groups the digits of an integer by thin spaces.
func number(n any) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return sign + s
}

// byteSize answers bytes in the unit that suits them.
func byteSize(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return strconv.FormatInt(n, 10) + " B"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i]
}

// span answers a duration as people say it: 1 h 5 min, 4.2 s, 18 ms.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	}
}

// moment is an instant as a page shows it; scripts keep the distance from now current.
type moment struct{ UTC, Machine string }

// instant answers a time for the block "time"; nil where there is none.
func instant(t *timestamppb.Timestamp) *moment {
	if t == nil || !t.IsValid() || t.AsTime().IsZero() {
		return nil
	}
	u := t.AsTime()
	return &moment{UTC: u.Format("2006-01-02 15:04:05") + " UTC", Machine: u.Format(time.RFC3339Nano)}
}

// percent answers the share of part in all, 0 to 100.
func percent(part, all int64) float64 {
	if all <= 0 {
		return 0
	}
	return min(100, 100*float64(part)/float64(all))
}

// short cuts a text to so many characters, and says so by an ellipsis.
func short(n int, s string) string {
	count := 0
	for i := range s {
		if count == n {
			return s[:i] + "…"
		}
		count++
	}
	return s
}
