//go:build cgo && duckdb_arrow

package snowflaketest

import (
	"regexp"
	"strings"
	"time"
)

// pieces cuts SQL into code and what is quoted or a comment, in turns: code first.
func pieces(sql string) []string {
	var out []string
	from, at := 0, 0
	cut := func(end int) {
		out = append(out, sql[from:at], sql[at:end])
		from, at = end, end
	}
	for at < len(sql) {
		rest := sql[at:]
		switch {
		case rest[0] == '\'' || rest[0] == '"':
			end := at + 1
			for end < len(sql) {
				if sql[end] == rest[0] {
					if end+1 < len(sql) && sql[end+1] == rest[0] {
						end += 2
						continue
					}
					break
				}
				end++
			}
			cut(min(end+1, len(sql)))
		case strings.HasPrefix(rest, "--"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			cut(at + n)
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest, "*/")
			if n < 0 {
				n = len(rest) - 2
			}
			cut(at + n + 2)
		default:
			at++
		}
	}
	return append(out, sql[from:])
}

// fold writes bare names in capitals where the account does.
func (s *Server) fold(sql string) string {
	if !s.options.Fold {
		return sql
	}
	parts := pieces(sql)
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.ToUpper(parts[i])
	}
	return strings.Join(parts, "")
}

var (
	reNTZ     = regexp.MustCompile(`(?i)\bTIMESTAMP_NTZ(?:\((\d)\))?`)
	reTZ      = regexp.MustCompile(`(?i)\bTIMESTAMP_L?TZ(?:\(\d\))?`)
	reNumber  = regexp.MustCompile(`(?i)\bNUMBER\(`)
	reTime    = regexp.MustCompile(`(?i)\bTIME\(\d\)`)
	reNow     = regexp.MustCompile(`(?i)\bCURRENT_TIMESTAMP\(\)`)
	reCurrent = regexp.MustCompile(`(?i)\bCURRENT_(ROLE|WAREHOUSE|DATABASE|SCHEMA)\(\)`)
	reUniform = regexp.MustCompile(`(?i)\bUNIFORM\(0::FLOAT, 1::FLOAT, RANDOM\(\)\)`)
	reSchema  = regexp.MustCompile(`(?i)\binformation_schema\.(columns|table_privileges|object_privileges|tables|schemata)\b`)
	reStarts  = regexp.MustCompile(`(?i)\bSTARTSWITH\(`)
	reCollate = regexp.MustCompile(`\bCOLLATE\(((?:"(?:[^"]|"")*"|[^",])+), ''\)`)
)

// translate answers a statement in DuckDB's SQL, its values in their places.
func (s *Server) translate(x *session, q queryRequest) (string, error) {
	text, err := s.travel(q.SQLText)
	if err != nil {
		return "", err
	}
	text = reCollate.ReplaceAllString(plainTable(text), "$1")
	parts, binds := pieces(s.fold(text)), q.binds()
	for i := 0; i < len(parts); i += 2 {
		c := parts[i]
		c = reNTZ.ReplaceAllStringFunc(c, func(m string) string {
			if d := reNTZ.FindStringSubmatch(m)[1]; d > "6" && s.options.TimestampScale <= 6 {
				return "TIMESTAMP_NS"
			}
			return "TIMESTAMP"
		})
		c = reTZ.ReplaceAllString(c, "TIMESTAMPTZ")
		c = reNumber.ReplaceAllString(c, "DECIMAL(")
		c = reTime.ReplaceAllString(c, "TIME")
		c = reNow.ReplaceAllString(c, "TIMESTAMPTZ '"+time.Now().UTC().Format("2006-01-02 15:04:05.000000")+"+00'")
		c = reCurrent.ReplaceAllStringFunc(c, func(m string) string {
			if v := x.values[strings.ToUpper(reCurrent.FindStringSubmatch(m)[1])]; v != "" {
				return "'" + v + "'"
			}
			return "CAST(NULL AS VARCHAR)"
		})
		c = reUniform.ReplaceAllString(c, "random()")
		c = reSchema.ReplaceAllString(c, "peer_meta.$1")
		c = reStarts.ReplaceAllString(c, "starts_with(")
		for strings.Contains(c, "?") && len(binds) > 0 {
			c = strings.Replace(c, "?", "'"+strings.ReplaceAll(binds[0], "'", "''")+"'", 1)
			binds = binds[1:]
		}
		parts[i] = c
	}
	return strings.Join(parts, ""), nil
}
