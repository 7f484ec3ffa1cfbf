// Package identity knows who a record is about: which identity types there are, which come first, which values name
// anybody, and, by the workspace's strategy, which profile a row goes to and what becomes of its identities. It is pure.
// The case files in testdata say each rule, a story a file.
package identity

import (
	"regexp"
	"slices"
	"strings"

	"millrace.dev/pkg/fault"
)

// MPID is the identity type whose values are profile ids. Such a value names the profile that has the id and is never
// bound.
const MPID = "mpid"

// Types answers the known identity types of users, in the order of the default priority.
func Types() []string {
	return []string{
		"customer_id", "mobile_number", "phone_number_2", "phone_number_3", "email", "other", "other_id_2", "other_id_3",
		"other_id_4", "other_id_5", "other_id_6", "other_id_7", "other_id_8", "other_id_9", "other_id_10", "facebook",
		"facebook_custom_audience_id", "google", "twitter", "microsoft", "yahoo", "alias",
	}
}

// DeviceTypes answers the known identity types of devices, in the order of the default priority.
func DeviceTypes() []string {
	return []string{
		"ios_advertising_id", "ios_idfv", "android_advertising_id", "android_uuid", "roku_advertising_id",
		"roku_publisher_id", "microsoft_publisher_id", "microsoft_advertising_id", "fire_advertising_id", "amp_id",
		"push_token", "mp_deviceid",
	}
}

// DefaultPriority answers all known types, highest first: what a customer is known by, then devices, then MPID.
func DefaultPriority() []string {
	p := append([]string{"customer_id", "email"}, slices.DeleteFunc(Types(), func(t string) bool {
		return t == "customer_id" || t == "email"
	})...)
	return append(append(p, DeviceTypes()...), MPID)
}

// Order sorts types by priority, highest first; those not listed follow in alphabetical order, and MPID is the last
// unless it is listed. An empty priority is the default one.
func Order(types, priority []string) []string {
	if len(priority) == 0 {
		priority = DefaultPriority()
	}
	rank := func(t string) int {
		if i := slices.Index(priority, t); i >= 0 {
			return i
		}
		if t == MPID {
			return len(priority) + 1
		}
		return len(priority)
	}
	types = slices.Clone(types)
	slices.SortFunc(types, func(a, b string) int {
		if ra, rb := rank(a), rank(b); ra != rb {
			return ra - rb
		}
		return strings.Compare(a, b)
	})
	return types
}

// DefaultMaxLength is how many bytes an identity value may have, unless a setting says otherwise.
const DefaultMaxLength = 512

// DefaultBlocked answers the values that name nobody, unless a setting says otherwise. One that begins with ^ is a
// regular expression, the rest are compared without case.
func DefaultBlocked() []string {
	return []string{zeros, "-1", "null", "none", "anonymous", "undefined", "n/a"}
}

// zeros matches the empty text, dashes and zeros, such as an all-zero advertising id.
const zeros = "^[0-]*$"

// Policy says which values are usable. The zero value is the default policy. Safe for concurrent use.
type Policy struct {
	custom    bool
	zeros     bool
	blocked   []string // lower case
	patterns  []*regexp.Regexp
	maxLength int
}

// NewPolicy makes a policy of blocked values, as DefaultBlocked has them, and a greatest length in bytes (0:
// DefaultMaxLength). Invalid when a regular expression can not be read; every such one is listed.
func NewPolicy(blocked []string, maxLength int) (Policy, error) {
	p := Policy{custom: true, maxLength: maxLength}
	var bad []fault.Violation
	for _, b := range blocked {
		if !strings.HasPrefix(b, "^") {
			p.blocked = append(p.blocked, strings.ToLower(b))
			continue
		}
		if b == zeros {
			p.zeros = true
			continue
		}
		re, err := regexp.Compile(b)
		if err != nil {
			bad = append(bad, fault.Violation{
				Field: "blocked_identities", Message: "the regular expression " + b + " can not be read",
				Fix: "write it in RE2 syntax",
			})
			continue
		}
		p.patterns = append(p.patterns, re)
	}
	if maxLength < 0 {
		bad = append(bad, fault.Violation{
			Field: "identity_max_length", Message: "is negative", Fix: "use 0 for the default, or a number of bytes",
		})
	}
	return p, fault.Of(fault.ReasonInvalidArgument, bad)
}

// Usable says whether v names somebody. White space around v does not enter, nor does its case; v itself stays as it
// is.
func (p *Policy) Usable(v string) bool {
	limit := p.maxLength
	if limit == 0 {
		limit = DefaultMaxLength
	}
	if len(v) > limit {
		return false
	}
	return strings.TrimSpace(v) != "" && !p.Blocks(v)
}

// Blocks says whether v is a value that names nobody. Blank text is none.
func (p *Policy) Blocks(v string) bool {
	v = strings.TrimSpace(v)
	if v == "" {
		return false
	}
	if !p.custom {
		return blockedByDefault(v)
	}
	if p.zeros && isZeros(v) {
		return true
	}
	for _, b := range p.blocked {
		if len(b) == len(v) && strings.EqualFold(b, v) {
			return true
		}
	}
	for _, re := range p.patterns {
		if re.MatchString(v) {
			return true
		}
	}
	return false
}

// blockedByDefault is DefaultBlocked, told apart by the first byte: this is asked of every value of every row.
func blockedByDefault(v string) bool {
	switch v[0] {
	case '0':
		return isZeros(v)
	case '-':
		return v == "-1" || isZeros(v)
	case 'n', 'N':
		return len(v) <= 4 && (strings.EqualFold(v, "null") || strings.EqualFold(v, "none") || strings.EqualFold(v, "n/a"))
	case 'a', 'A':
		return strings.EqualFold(v, "anonymous")
	case 'u', 'U':
		return strings.EqualFold(v, "undefined")
	}
	return false
}

func isZeros(v string) bool {
	for i := range len(v) {
		if v[i] != '0' && v[i] != '-' {
			return false
		}
	}
	return true
}
