package fault

import (
	"strings"

	faultv1 "millrace.dev/gen/millrace/fault/v1"
)

// Reason is one of millrace.fault.v1.Reason.
type Reason faultv1.Reason

// The reasons; the manual stands with the enum in proto/millrace/fault/v1.
const (
	ReasonUnspecified          = Reason(faultv1.Reason_REASON_UNSPECIFIED)
	ReasonInvalidArgument      = Reason(faultv1.Reason_REASON_INVALID_ARGUMENT)
	ReasonNotFound             = Reason(faultv1.Reason_REASON_NOT_FOUND)
	ReasonAlreadyExists        = Reason(faultv1.Reason_REASON_ALREADY_EXISTS)
	ReasonStaleEtag            = Reason(faultv1.Reason_REASON_STALE_ETAG)
	ReasonInUse                = Reason(faultv1.Reason_REASON_IN_USE)
	ReasonRunOpen              = Reason(faultv1.Reason_REASON_RUN_OPEN)
	ReasonRunState             = Reason(faultv1.Reason_REASON_RUN_STATE)
	ReasonFenced               = Reason(faultv1.Reason_REASON_FENCED)
	ReasonCommitConflict       = Reason(faultv1.Reason_REASON_COMMIT_CONFLICT)
	ReasonLimitExceeded        = Reason(faultv1.Reason_REASON_LIMIT_EXCEEDED)
	ReasonWarehouseDenied      = Reason(faultv1.Reason_REASON_WAREHOUSE_DENIED)
	ReasonWarehouseUnavailable = Reason(faultv1.Reason_REASON_WAREHOUSE_UNAVAILABLE)
	ReasonWarehouseLocked      = Reason(faultv1.Reason_REASON_WAREHOUSE_LOCKED)
	ReasonQueryInvalid         = Reason(faultv1.Reason_REASON_QUERY_INVALID)
	ReasonFileNotFound         = Reason(faultv1.Reason_REASON_FILE_NOT_FOUND)
	ReasonPathForbidden        = Reason(faultv1.Reason_REASON_PATH_FORBIDDEN)
	ReasonSourceChanged        = Reason(faultv1.Reason_REASON_SOURCE_CHANGED)
	ReasonIteratorInvalid      = Reason(faultv1.Reason_REASON_ITERATOR_INVALID)
	ReasonMappingInvalid       = Reason(faultv1.Reason_REASON_MAPPING_INVALID)
	ReasonKeyInvalid           = Reason(faultv1.Reason_REASON_KEY_INVALID)
	ReasonBatchQuarantined     = Reason(faultv1.Reason_REASON_BATCH_QUARANTINED)
	ReasonBrokerUnavailable    = Reason(faultv1.Reason_REASON_BROKER_UNAVAILABLE)
	ReasonStoreUnavailable     = Reason(faultv1.Reason_REASON_STORE_UNAVAILABLE)
	ReasonServiceUnavailable   = Reason(faultv1.Reason_REASON_SERVICE_UNAVAILABLE)
	ReasonSecretUnreadable     = Reason(faultv1.Reason_REASON_SECRET_UNREADABLE)
	ReasonDriverMissing        = Reason(faultv1.Reason_REASON_DRIVER_MISSING)
	ReasonAccountUnbalanced    = Reason(faultv1.Reason_REASON_ACCOUNT_UNBALANCED)
	ReasonInternal             = Reason(faultv1.Reason_REASON_INTERNAL)
	ReasonCancelled            = Reason(faultv1.Reason_REASON_CANCELLED)
	ReasonGuardBreached        = Reason(faultv1.Reason_REASON_GUARD_BREACHED)
	ReasonSchemaDrift          = Reason(faultv1.Reason_REASON_SCHEMA_DRIFT)
	ReasonRejectLimit          = Reason(faultv1.Reason_REASON_REJECT_LIMIT)
	ReasonEmptyRead            = Reason(faultv1.Reason_REASON_EMPTY_READ)
	ReasonWarehouseThrottled   = Reason(faultv1.Reason_REASON_WAREHOUSE_THROTTLED)
	ReasonQueryInterrupted     = Reason(faultv1.Reason_REASON_QUERY_INTERRUPTED)
	ReasonResyncRequired       = Reason(faultv1.Reason_REASON_RESYNC_REQUIRED)
	ReasonBudgetExceeded       = Reason(faultv1.Reason_REASON_BUDGET_EXCEEDED)
)

// String answers the reason as it travels in ErrorInfo: RUN_OPEN.
func (r Reason) String() string {
	return strings.TrimPrefix(faultv1.Reason(r).String(), "REASON_")
}

// Word answers the reason as documents write it: run_open.
func (r Reason) Word() string { return strings.ToLower(r.String()) }

// ParseReason reads either form; what it does not know is ReasonInternal.
func ParseReason(s string) Reason {
	if v, ok := faultv1.Reason_value["REASON_"+strings.ToUpper(s)]; ok {
		return Reason(v)
	}
	return ReasonInternal
}
