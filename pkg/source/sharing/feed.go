package sharing

import (
	"context"
	"net/url"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/fault"
)

// changeType is the column of a feed's files that says what happened to a row.
const changeType = "_change_type"

// feed lists the files of a table's changes in versions from to to, both included. Their faults are told as the server has
// them: a feed that is not there is a permanent one.
func (s *Source) feed(ctx context.Context, t ref, label string, from, to int64) (*listing, error) {
	out, token := &listing{}, ""
	for range maxPages {
		var err error
		if token, err = s.feedPage(ctx, t, label, from, to, token, out); err != nil {
			return nil, err
		}
		if token != "" {
			continue
		}
		if err := out.isFeed(t, from, to); err != nil {
			return nil, err
		}
		return out, nil
	}
	return nil, unavailable("the sharing server's list of the changes of %s does not end", t.what())
}

// isFeed sees that a listing has files of changes in versions from to to, each once.
func (l *listing) isFeed(t ref, from, to int64) error {
	type place struct {
		key     string
		version int64
	}
	seen := make(map[place]struct{}, len(l.files))
	for _, f := range l.files {
		if f.action == "" || f.version < from || f.version > to {
			return queryInvalid("the sharing server names files of other versions of %s than were asked for", t.what())
		}
		seen[place{f.key(), f.version}] = struct{}{}
	}
	if len(seen) != len(l.files) {
		return queryInvalid("the sharing server names a file of the changes of %s twice", t.what())
	}
	return nil
}

// feedPage adds a page of the changes to out and answers the token of the next one. Columns that the table had in between
// are asked for: without them a feed does not say that it is of several schemas.
func (s *Source) feedPage(ctx context.Context, t ref, label string, from, to int64, token string, out *listing) (string, error) {
	q := url.Values{
		"startingVersion": {strconv.FormatInt(from, 10)}, "endingVersion": {strconv.FormatInt(to, 10)},
		"includeHistoricalMetadata": {"true"}, "maxFiles": {strconv.Itoa(s.settings.PageFiles)},
	}
	if token != "" {
		q.Set("pageToken", token)
	}
	next, err := s.page(ctx, request{what: "changes of " + t.what(), path: s.path(t, "changes"), query: q, label: label, feed: true}, "", out)
	if err == nil && out.meta == nil {
		err = malformed("the sharing server's answer for the changes of " + t.what())
	}
	return next, err
}

// feeds sees whether a table's feed is shared: whether the changes of one version can be listed.
func (s *Source) feeds(ctx context.Context, t ref, label string, version int64) error {
	_, err := s.feedPage(ctx, t, label, version, version, "", &listing{})
	if err == nil {
		return nil
	}
	if !isRefused(err) {
		return err
	}
	return fault.New(fault.Precondition, fault.ReasonQueryInvalid,
		"%s, and mirror_engine native goes by them; have the provider run ALTER TABLE … SET TBLPROPERTIES (delta.enableChangeDataFeed = true) and share the table WITH HISTORY, or use mirror_engine: row_index", fault.As(err).Message)
}

// isRefused says whether the server refuses what it was asked for, whoever asks.
func isRefused(err error) bool {
	if err == nil {
		return false
	}
	f := fault.As(err)
	_, coded := f.Metadata[codeKey]
	return coded && f.Class.Permanent()
}

// isRefusedLink says whether the store of the files refuses links that were just made: the files are not there any more, or
// not for us.
func isRefusedLink(err error) bool { return err != nil && fault.As(err).Metadata[linkKey] != "" }

// isLasting says whether what is asked of a feed, and what it answers, will be no better when it is asked for again, for a
// reason that is the feed's own.
func isLasting(err error) bool {
	return err != nil && fault.ClassOf(err).Permanent() && fault.As(err).Metadata[stepKey] == "" || isRefusedLink(err)
}

// told answers q with one more column behind its own: what happened to a row. Files of other kinds have NULL in it.
func (q *query) told() *query {
	at := make([]int, len(q.names))
	for i := range at {
		at[i] = i
	}
	out := q.only(at...)
	out.names, out.deep = append(out.names, changeType), append(out.deep, nil)
	out.schema = arrow.NewSchema(append(out.schema.Fields(), arrow.Field{Name: changeType, Type: arrow.BinaryTypes.String, Nullable: true}), nil)
	return out
}

// direction answers, by position, whether rows of a file of a feed came; the others went. An update is a row that went and
// one that came.
func direction(f *listed, b arrow.RecordBatch) ([]bool, error) {
	out := make([]bool, b.NumRows())
	if f.action != changes {
		for i := range out {
			out[i] = f.action == added
		}
		return out, nil
	}
	types := b.Column(int(b.NumCols()) - 1).(*array.String) //nolint:forcetypeassert // told's
	for i := range out {
		switch {
		case types.IsNull(i):
			return nil, malformed("a file of the table's changes")
		case types.Value(i) == "insert", types.Value(i) == "update_postimage":
			out[i] = true
		case types.Value(i) != "delete" && types.Value(i) != "update_preimage":
			return nil, malformed("a file of the table's changes")
		}
	}
	return out, nil
}
