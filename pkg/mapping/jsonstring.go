package mapping

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"millrace.dev/pkg/record"
)

// canonicalString answers a JSON string, quotes included, in canonical form; false: it is none.
func canonicalString(raw string) (string, bool) {
	if strings.IndexByte(raw, '\\') < 0 && utf8.ValidString(raw) {
		return raw, true
	}
	var s string
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return "", false
	}
	return string(record.AppendString(nil, s)), true
}

// unescape answers the text of a canonical JSON string.
func unescape(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	var s string
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return raw[1 : len(raw)-1]
	}
	return s
}
