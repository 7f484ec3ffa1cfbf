package console

import (
	"bytes"
	"crypto/sha256"
	"time"
)

// livePart is a live part of a page as it is now: a block of the page's template, sent as an event.
type livePart struct {
	event, name, block string
	data               any
}

// follow asks again and again what the parts of a page are, and sends those that have changed. It begins with all of them:
// the page may be older than the stream. It ends once there are none, and with the request or the process.
func (c *Console) follow(r *request, every time.Duration, send sender, parts func() ([]livePart, error)) error {
	sent := map[string][sha256.Size]byte{}
	for {
		now, err := parts()
		if err != nil || len(now) == 0 {
			return err
		}
		for _, p := range now {
			var b bytes.Buffer
			if err := c.execute(&b, p.name, p.block, p.data); err != nil {
				return err
			}
			is := sha256.Sum256(b.Bytes())
			if was, ok := sent[p.event]; ok && was == is {
				continue
			}
			if err := send(p.event, p.name, p.block, p.data); err != nil {
				return err
			}
			sent[p.event] = is
		}
		if err := c.rest(r, every); err != nil {
			return err
		}
	}
}

// rest waits; its error is that the request or the process ends.
func (c *Console) rest(r *request, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.Context().Done():
		return r.Context().Err() //nolint:wrapcheck // who has left needs no answer
	case <-c.stop.Done():
		return c.stop.Err() //nolint:wrapcheck // the same
	}
}
