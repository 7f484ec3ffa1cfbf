package extractor

import (
	"context"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// driver answers the driver of a connection.
func (s *Service) driver(c resource.Connection) (source.Driver, error) {
	d, ok := s.drivers[c.Provider()]
	if !ok {
		return nil, fault.New(fault.Precondition, fault.ReasonDriverMissing, "this build reads no %q; use a build that does", c.Provider())
	}
	return d, nil
}

// open opens the source of a connection whose credentials are sealed. The caller closes it.
func (s *Service) open(ctx context.Context, c resource.Connection) (source.Source, error) {
	d, err := s.driver(c)
	if err != nil {
		return nil, err
	}
	if err := s.roots.check(c); err != nil {
		return nil, err
	}
	plain, err := s.keys.OpenConnection(c)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by secret
	}
	return d.Open(ctx, plain) //nolint:wrapcheck // classified by the driver
}

// release closes a source; what fails then can harm nothing any more.
func (s *Service) release(ctx context.Context, src source.Source) {
	if err := src.Close(); err != nil {
		s.log.WarnContext(ctx, "a source did not close", "error", err)
	}
}
