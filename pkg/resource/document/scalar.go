package document

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The forms of plain scalars in the core schema of YAML 1.2. All else is text: no, on, 2024-01-01 and 1_000 too.
var (
	coreInt   = regexp.MustCompile(`^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$`)                           //nolint:gochecknoglobals // never changes
	coreFloat = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)             //nolint:gochecknoglobals // never changes
	coreInf   = regexp.MustCompile(`^[-+]?\.(inf|Inf|INF)$`)                                            //nolint:gochecknoglobals // never changes
	tagsKnown = regexp.MustCompile(`^(tag:yaml\.org,2002:|!!)(str|int|float|bool|null|seq|map|merge)$`) //nolint:gochecknoglobals // never changes
)

// number is a whole number that no int64 holds.
type number string

// scalar answers what a scalar is: string, bool, int64, float64, nil, or number.
func scalar(n *yaml.Node) any {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Style&quoted != 0 || n.Style&yaml.TaggedStyle != 0 && n.ShortTag() == "!!str" {
		return n.Value
	}
	return plain(n.Value)
}

// plain resolves a plain scalar by the core schema.
func plain(s string) any {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return nil
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	case ".nan", ".NaN", ".NAN":
		return math.NaN()
	}
	switch {
	case coreInt.MatchString(s):
		return whole(s)
	case coreFloat.MatchString(s):
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return number(s)
		}
		return f
	case coreInf.MatchString(s):
		if s[0] == '-' {
			return math.Inf(-1)
		}
		return math.Inf(1)
	default:
		return s
	}
}

func whole(s string) any {
	base, digits := 10, s
	switch {
	case strings.HasPrefix(s, "0o"):
		base, digits = 8, s[2:]
	case strings.HasPrefix(s, "0x"):
		base, digits = 16, s[2:]
	}
	v, err := strconv.ParseInt(digits, base, 64)
	if err != nil {
		return number(s)
	}
	return v
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && scalar(n) == nil
}

// describe names what a node is, for violations.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	}
	switch scalar(n).(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "text"
	default:
		return "a number"
	}
}
