package console

import (
	"slices"
	"strings"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/identity"
)

// targetsOf answers fields that a mapping of a record kind can lead to, as a form suggests them; others can be typed.
func targetsOf(m *configv1.DataModel) []string {
	switch {
	case m.GetRecordKind() == configv1.RecordKind_RECORD_KIND_LOOKUP:
		return []string{"lookup.*"}
	case m.GetRecordKind() == configv1.RecordKind_RECORD_KIND_GROUPS || m.GetGroupType() != "":
		return []string{"group_attributes.*"}
	}
	var out []string
	for _, t := range identity.DefaultPriority() {
		out = append(out, "user_identities."+t)
	}
	if m.GetRecordKind() == configv1.RecordKind_RECORD_KIND_EVENTS {
		for _, f := range eventTargets() {
			out = append(out, "events."+f)
		}
		return out
	}
	out = append(out, "user_attributes.*")
	for _, a := range strings.Fields("$age $gender $country $zip $city $state $address $firstname $lastname $mobile") {
		out = append(out, "user_attributes."+a)
	}
	return out
}

// eventTargets are the fields of events that are mapped most.
func eventTargets() []string {
	return strings.Fields(`event_type data.timestamp_unixtime_ms data.event_name data.custom_event_type
		data.custom_attributes.* data.custom_flags.* data.source_message_id data.session_id data.event_num
		data.screen_name data.canonical_name data.currency_code data.is_non_interactive
		data.location.latitude data.location.longitude
		data.product_action.action data.product_action.transaction_id data.product_action.total_amount
		data.product_action.tax_amount data.product_action.shipping_amount data.product_action.coupon_code
		data.product_action.products[0].id data.product_action.products[0].name data.product_action.products[0].price
		data.product_action.products[0].quantity data.product_action.products[0].category
		data.device_info.brand data.device_info.device_model data.device_info.platform data.device_info.os_version
		data.device_info.locale_language`)
}

// suggestRules answers rules to begin with: identities by their columns' names, what events must have, and all other
// columns as they are called.
func suggestRules(m *configv1.DataModel, columns []*configv1.Column) []ruleForm {
	kind := m.GetRecordKind()
	if kind == configv1.RecordKind_RECORD_KIND_LOOKUP || kind == configv1.RecordKind_RECORD_KIND_GROUPS || m.GetGroupType() != "" {
		return []ruleForm{{Form: formUnmapped, To: targetsOf(m)[0]}}
	}
	var out []ruleForm
	for _, col := range columns[:min(len(columns), maxColumns)] {
		if t := identityNamed(col.GetName()); t != "" {
			out = append(out, ruleForm{Form: formColumn, Column: col.GetName(), To: "user_identities." + t, Type: "string"})
		}
	}
	if kind != configv1.RecordKind_RECORD_KIND_EVENTS {
		return append(out, ruleForm{Form: formUnmapped, To: "user_attributes.*"})
	}
	name := m.GetMeta().GetId()
	if name == "" {
		name = "event"
	}
	out = append(out,
		ruleForm{Form: formStatic, Value: "custom_event", To: "events.event_type"},
		ruleForm{Form: formStatic, Value: "other", To: "events.data.custom_event_type"},
		ruleForm{Form: formStatic, Value: name, To: "events.data.event_name"})
	if column := m.GetIterator().GetColumn(); column != "" {
		out = append(out, ruleForm{Form: formColumn, Column: column, To: "events.data.timestamp_unixtime_ms"})
	}
	return append(out, ruleForm{Form: formUnmapped, To: "events.data.custom_attributes.*"})
}

// identityNamed answers the type of identity that a column is named for; empty where it is none.
func identityNamed(column string) string {
	if name := strings.ToLower(column); name != "alias" && slices.Contains(identity.DefaultPriority(), name) {
		return name
	}
	return ""
}
