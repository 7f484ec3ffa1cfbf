package redshift

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
)

// unloaded is what an UNLOAD wrote: files below a place of the bucket.
type unloaded struct {
	place string // ends with /
	files []file
	rows  int64
	bytes int64
}

// file is one file of an UNLOAD.
type file struct {
	key  string
	rows int64
}

// unload writes the result of a statement to files below a place that no other attempt has, and reads which they are.
func (x *session) unload(ctx context.Context, label, sql string) (unloaded, error) {
	a := x.s.address
	out := unloaded{place: place(a.UnloadPrefix, label)}
	text := "UNLOAD (\n" + quoted(sql) + "\n) TO " + quoted("s3://"+a.UnloadBucket+"/"+out.place) + " IAM_ROLE " + quoted(a.UnloadRole) +
		" FORMAT AS PARQUET MANIFEST VERBOSE MAXFILESIZE " + strconv.Itoa(x.s.settings.FileMiB) + " MB REGION " + quoted(a.Region)
	if err := x.one(ctx, text); err != nil {
		return out, unloadFault(ctx, err)
	}
	rows, err := x.number(ctx, "SELECT pg_last_unload_count()")
	if err != nil {
		return out, err
	}
	err = x.s.manifest(ctx, &out, rows)
	if errors.Is(err, errGone) {
		err = unavailable("the warehouse unloaded %d rows and no manifest of them; the part is read again", rows)
	}
	return out, err
}

// unloadFault classifies why nothing was unloaded. Positions are those of the statement around the query's.
func unloadFault(ctx context.Context, err error) error {
	f := fault.As(classify(ctx, err, "", 0))
	if strings.Contains(f.Message, "S3ServiceException") || strings.Contains(f.Message, "IAM") || strings.Contains(f.Message, "Not authorized to get credentials") {
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the warehouse may not write to the bucket; let redshift.unload_role write to redshift.unload_bucket, and associate it with the warehouse (millrace connections setup prints how)")
	}
	return f
}

// quoted answers text as a string literal of Redshift, which reads backslashes in it.
func quoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

//nolint:gochecknoglobals // compiled once, never changed
var unsafeInKeys = regexp.MustCompile(`[^A-Za-z0-9_/-]+`)

// place answers what the keys of an attempt's files begin with: prefix, workspace, sync, run, and chance.
func place(prefix, label string) string {
	run := strings.Trim(unsafeInKeys.ReplaceAllString(strings.TrimPrefix(label, "millrace:"), "_"), "/")
	return strings.TrimPrefix(strings.TrimSuffix(prefix, "/")+"/"+run+"/"+strings.ToLower(rand.Text())+"/", "/")
}

// manifestText is what an UNLOAD writes beside its files.
type manifestText struct {
	Entries []struct {
		URL  string `json:"url"`
		Meta struct {
			Length int64 `json:"content_length"`
			Rows   int64 `json:"record_count"`
		} `json:"meta"`
	} `json:"entries"`
}

// manifest reads which files have the `rows` rows that the warehouse says it unloaded. Without one it is errGone, but for
// an UNLOAD of nothing.
func (s *Source) manifest(ctx context.Context, u *unloaded, rows int64) error {
	c, err := s.aws.bucket(ctx)
	if err != nil {
		return err
	}
	data, err := get(ctx, c, s.address.UnloadBucket, u.place+"manifest", maxManifest)
	switch {
	case errors.Is(err, errGone) && rows == 0:
		return nil // nothing to list
	case err != nil:
		return err
	}
	var m manifestText
	if err := json.Unmarshal(data, &m); err != nil {
		return unavailable("the manifest of what was unloaded is malformed; the part is read again")
	}
	for _, e := range m.Entries {
		key, ok := strings.CutPrefix(e.URL, "s3://"+s.address.UnloadBucket+"/")
		if !ok || !strings.HasPrefix(key, u.place) || e.Meta.Rows < 0 {
			return unavailable("the manifest of what was unloaded names a file elsewhere; the part is read again")
		}
		u.files = append(u.files, file{key: key, rows: e.Meta.Rows})
		u.rows += e.Meta.Rows
		u.bytes += e.Meta.Length
	}
	if u.rows != rows {
		return unavailable("the manifest of what was unloaded has %d rows, the warehouse says %d; the part is read again", u.rows, rows)
	}
	return nil
}

// share is one part of what was unloaded: every Of-th file, from Index on.
type share struct{ Index, Of int }

// String answers the text that a part's range carries, counted from 1.
func (p share) String() string { return fmt.Sprintf("files %d of %d of an UNLOAD", p.Index+1, p.Of) }

// parseShare reads what String wrote. Anything else is SOURCE_CHANGED.
func parseShare(unit string) (share, error) {
	var p share
	_, err := fmt.Sscanf(unit, "files %d of %d of an UNLOAD", &p.Index, &p.Of)
	p.Index--
	if err != nil || p.Index < 0 || p.Index >= p.Of || p.String() != unit {
		return p, changed("no part is read by that name any more")
	}
	return p, nil
}

// of answers the files of a share.
func (p share) of(files []file) []file {
	var out []file
	for i := p.Index; i < len(files); i += p.Of {
		out = append(out, files[i])
	}
	return out
}

// snapshot is what the parts of a plan read: what was unloaded where.
type snapshot struct {
	Place string `json:"unloaded"`
	Rows  int64  `json:"rows"`
}

func (s snapshot) String() string {
	text, _ := json.Marshal(s) // texts and numbers
	return string(text)
}

// parseSnapshot reads what String wrote.
func parseSnapshot(text string) (snapshot, error) {
	var s snapshot
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Place == "" || s.String() != text {
		return s, changed("what the run was planned on is not known")
	}
	return s, nil
}

// parts answers the ranges of a share each, at most n.
func (u unloaded) parts(n int) []source.Range {
	n = max(1, min(n, len(u.files)))
	out := make([]source.Range, n)
	for i := range out {
		out[i] = source.Range{Unit: share{Index: i, Of: n}.String()}
	}
	return out
}
