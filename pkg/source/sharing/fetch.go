package sharing

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"millrace.dev/pkg/fault"
)

// tries bounds how often a range of a file is asked for: again where it breaks off, and with a new link where one has
// expired.
const tries = 4

// errExpired says that a link is not taken any more.
var errExpired = errors.New("the link is refused")

// links are the addresses of a listing's files. They end; then the files of the same version are listed again.
type links struct {
	s       *Source
	secure  bool // links must be https, for the endpoint is
	relist  func(context.Context) (*listing, error)
	mu      sync.Mutex
	urls    map[string]string
	renewal int // counts listings
}

func (s *Source) links(l *listing, relist func(context.Context) (*listing, error)) (*links, error) {
	p, err := s.profile()
	if err != nil {
		return nil, err
	}
	out := &links{s: s, secure: p.endpoint.Scheme == "https", relist: relist}
	out.take(l)
	return out, nil
}

func (k *links) take(l *listing) {
	k.urls = make(map[string]string, len(l.files))
	for _, f := range l.files {
		k.urls[f.key()] = f.url
	}
}

// key names a file within a listing: one file may be both added and removed.
func (f *listed) key() string { return string(f.action) + "\x00" + f.id }

// of answers a file's link, and which listing it is of.
func (k *links) of(f *listed) (string, int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.urls[f.key()]
	if u == "" {
		return "", k.renewal, changed("a file of the version that is read is not in it any more")
	}
	at, err := url.Parse(u)
	if err != nil || at.Host == "" || at.Scheme != "https" && (k.secure || at.Scheme != "http") {
		return "", k.renewal, fault.New(fault.Denied, fault.ReasonWarehouseDenied, "the sharing server names a file at no https address; have the provider mend the server")
	}
	return u, k.renewal, nil
}

// renew lists the files again, unless somebody else did since `seen`.
func (k *links) renew(ctx context.Context, seen int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.renewal != seen {
		return nil
	}
	l, err := k.relist(ctx)
	if err != nil {
		return err
	}
	k.take(l)
	k.renewal++
	return nil
}

// fetch reads bytes [at, at+len(to)) of a file into `to`. A transfer that breaks off is taken up where it ended, an expired
// link is replaced.
func (k *links) fetch(ctx context.Context, f *listed, at int64, to []byte) error {
	var last error
	for got, left := 0, tries; left > 0; left-- {
		u, seen, err := k.of(f)
		if err != nil {
			return err
		}
		n, err := k.s.get(ctx, u, at+int64(got), to[got:])
		got += n
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fault.As(ctx.Err())
		case errors.Is(err, errExpired):
			last = interrupted("the link to a file has expired or is refused, and so are new ones; try again").With(linkKey, linkRefused)
			if err := k.renew(ctx, seen); err != nil {
				return err
			}
			continue
		case fault.ClassOf(err) != fault.Unavailable:
			return err
		}
		if last = err; n > 0 {
			left++ // it goes on
		}
	}
	return last
}

// get reads as much of a range as one answer has, and says how much that was.
func (s *Source) get(ctx context.Context, u string, at int64, to []byte) (int, error) {
	limited, cancel := context.WithTimeout(ctx, s.settings.ReplyTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodGet, u, nil)
	if err != nil {
		return 0, malformed("the link to a file")
	}
	req.Header.Set("Range", "bytes="+strconv.FormatInt(at, 10)+"-"+strconv.FormatInt(at+int64(len(to))-1, 10))
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return 0, dialFault(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusPartialContent:
	case http.StatusOK: // it has no ranges: what stands before is passed over
		if _, err := io.CopyN(io.Discard, resp.Body, at); err != nil {
			return 0, dialFault(ctx, err)
		}
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return 0, errExpired
	default:
		if err := busy(resp); err != nil {
			return 0, err
		}
		return 0, unavailable("the store of the table's files cannot answer now (HTTP %d); try again", resp.StatusCode)
	}
	n, err := io.ReadFull(resp.Body, to)
	if err != nil {
		return n, dialFault(ctx, err)
	}
	return n, nil
}
