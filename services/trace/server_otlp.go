package trace

import (
	"context"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"millrace.dev/pkg/fault"
)

// skew is how far a sender's clock may be ahead.
const skew = time.Hour

// receiver is the OTLP trace service.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	*Service
}

// Export takes the spans that can be kept and that there is room for, without waiting for the database, and says in
// partial_success how many it refuses and why; such spans are not to be sent again.
func (r *receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	if n := int64(proto.Size(req)); n > r.settings.MaxRequest {
		return nil, fault.New(fault.Invalid, fault.ReasonLimitExceeded,
			"the request takes %d bytes, more than the %d that are taken at once; send fewer spans in one", n, r.settings.MaxRequest)
	}
	now := time.Now()
	spans, refused := spansOf(req.GetResourceSpans(), horizon{oldest: now.Add(-r.settings.Keep), newest: now.Add(skew)})
	r.metrics.count("received", len(spans)+int(refused.count()))
	r.metrics.count("refused", int(refused.count()))
	if taken := r.inbox.put(spans); taken < len(spans) {
		r.metrics.count("dropped", len(spans)-taken)
		refused["the queue is full"] = int64(len(spans) - taken)
	}
	if refused.count() == 0 {
		return &collector.ExportTraceServiceResponse{}, nil
	}
	return &collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{
		RejectedSpans: refused.count(), ErrorMessage: refused.String(),
	}}, nil
}
