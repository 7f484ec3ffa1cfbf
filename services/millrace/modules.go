package millrace

import (
	"millrace.dev/pkg/app"
	"millrace.dev/services/config"
	"millrace.dev/services/extractor"
	"millrace.dev/services/gateway"
	"millrace.dev/services/ingestion"
	"millrace.dev/services/mapper"
	"millrace.dev/services/scheduler"
	"millrace.dev/services/trace"
)

// modules lists every service, in the order in which they start.
func modules() []app.Module {
	return []app.Module{
		config.Module(), scheduler.Module(), extractor.Module(), mapper.Module(), ingestion.Module(), trace.Module(), gateway.Module(),
	}
}
