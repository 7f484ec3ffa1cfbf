package bus

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector answers the figures of the streams as metrics millrace_bus_*: asked of the broker at each scrape, none while
// it can not be reached.
func (b *Bus) Collector() prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("millrace_bus_"+name, help, []string{"stream"}, nil)
	}
	return &collector{
		bus:         b,
		messages:    desc("messages", "Messages in the stream."),
		bytes:       desc("bytes", "Bytes in the stream."),
		maxBytes:    desc("max_bytes", "Bytes that the stream may hold."),
		pending:     desc("pending_messages", "Messages not delivered yet."),
		ackPending:  desc("ack_pending_messages", "Messages delivered and not acked yet."),
		unaccounted: desc("unaccounted_messages", "Messages neither pending nor in hand; above 0 for long, the broker has lost track."),
	}
}

type collector struct {
	bus                                                         *Bus
	messages, bytes, maxBytes, pending, ackPending, unaccounted *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.messages, c.bytes, c.maxBytes, c.pending, c.ackPending, c.unaccounted} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	if !c.bus.enter() {
		return
	}
	defer c.bus.work.Done()
	ctx, cancel := context.WithTimeout(c.bus.life, 2*time.Second)
	defer cancel()
	for _, s := range []Stream{Rows, Records, Quarantine} {
		st, err := c.bus.Stats(ctx, s)
		if err != nil {
			return
		}
		for _, m := range []struct {
			d *prometheus.Desc
			v int64
		}{
			{c.messages, st.Messages}, {c.bytes, st.Bytes}, {c.maxBytes, st.MaxBytes},
			{c.pending, st.Pending}, {c.ackPending, st.AckPending}, {c.unaccounted, st.Unaccounted()},
		} {
			ch <- prometheus.MustNewConstMetric(m.d, prometheus.GaugeValue, float64(m.v), string(s))
		}
	}
}
