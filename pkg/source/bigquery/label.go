package bigquery

import "strings"

// maxLabel is how long BigQuery lets a label's value be.
const maxLabel = 63

// labels answers what a job is marked with: a query's label millrace:<workspace>/<sync>/<run> as the labels millrace,
// workspace, sync and run, in the characters that BigQuery takes. Ids of Millrace are of those characters.
func labels(label string) map[string]string {
	out := map[string]string{"millrace": "true"}
	rest, ok := strings.CutPrefix(label, "millrace:")
	if !ok {
		return out
	}
	for i, part := range strings.SplitN(rest, "/", 3) {
		if v := labelValue(part); v != "" {
			out[[]string{"millrace_workspace", "millrace_sync", "millrace_run"}[i]] = v
		}
	}
	return out
}

func labelValue(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '_'
	}, s)
	return s[:min(len(s), maxLabel)]
}
