package millrace

import (
	"context"
	"io"
	"time"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

type storeCmd struct {
	Digest storeDigestCmd `cmd:"" help:"Print the digest of the workspace's content: equal digests, equal content."`
}

type storeDigestCmd struct{}

// digestTime bounds the reading of everything that a store holds.
const digestTime = time.Hour

func (*storeDigestCmd) Run(ctx context.Context, s *session) error {
	ic, err := s.ingestion()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, digestTime)
	defer cancel()
	r, err := ic.GetStoreDigest(ctx, &ingestionv1.GetStoreDigestRequest{Workspace: s.flags.Workspace})
	if err != nil {
		return err //nolint:wrapcheck // classified by the service
	}
	return s.answer(r, func(w io.Writer) error {
		t := newTable(w)
		t.row("digest", r.GetDigest())
		t.row("profiles", number(r.GetProfiles()))
		t.row("identities", number(r.GetIdentities()))
		t.row("events", number(r.GetEvents()))
		return t.flush()
	})
}
