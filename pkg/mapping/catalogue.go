package mapping

import (
	"slices"
	"strings"

	"millrace.dev/pkg/identity"
)

// identityAliases are the other spellings of identity types.
func identityAliases() map[string]string {
	return map[string]string{
		"customerid": "customer_id", "facebookcustomaudienceid": "facebook_custom_audience_id",
		"ios_idfa": "ios_advertising_id", "android_aaid": "android_advertising_id", "roku_aid": "roku_advertising_id",
		"fire_aid": "fire_advertising_id", "device_application_stamp": "mp_deviceid",
	}
}

// identityType answers the identity type that a name means, in any case and spelling; "" where it means none.
func identityType(name string) string {
	name = strings.ToLower(name)
	if t, ok := identityAliases()[name]; ok {
		return t
	}
	if slices.Contains(identity.DefaultPriority(), name) {
		return name
	}
	return ""
}

func isDeviceType(t string) bool { return slices.Contains(identity.DeviceTypes(), t) }

// identityByName is identityType for columns that are mapped by name: an `alias` column is no identity there.
func identityByName(column string) string {
	if t := identityType(column); t != "alias" {
		return t
	}
	return ""
}

// reservedAttributes are the user attributes that begin with a dollar sign.
func reservedAttributes() []string {
	return strings.Fields(`$age $gender $country $zip $city $state $address $firstname $lastname $mobile`)
}

// The fields of an event, for parseSpecs. A name alone takes any value; :text is converted to text; :words must be one
// of words(name); {…} is an object of those fields, {*} one of any fields; [] is a list; ? takes a value or an object.
// Names that end in _ms are milliseconds.
const eventFields = `event_type:words data{
timestamp_unixtime_ms source_message_id:text session_uuid session_id event_id event_num event_start_unixtime_ms
session_start_unixtime_ms event_name:text custom_event_type:words custom_attributes{*} custom_flags{*}
location{latitude longitude accuracy country_code region_code city_name postal_code dma_code location_source:words}
device_current_state{*} lifetime_value_change canonical_name view_controller screen_name:text session_duration_ms
application_transition_type:words is_first_run is_upgrade launch_referral
register registration_token push_message_token push_message_type:words push_notification_payload message_type
severity message class_name stack_trace is_opted_out url response_code method time_to_load_ms bytes_in bytes_out label
previous_mpid current_mpid profile_event_type:words
user_attribute_name deleted is_new_attribute
new?{identity_type identity timestamp} old?{identity_type identity timestamp}
product_action{action:words checkout_step checkout_options product_action_list product_list_source transaction_id affiliation
 total_amount tax_amount shipping_amount coupon_code products[]{` + productFields + `}}
promotion_action{action:words promotions[]{id name creative position}}
product_impressions[]{product_impression_list products[]{` + productFields + `}}
shopping_cart{products[]{` + productFields + `}}
currency_code is_non_interactive
device_info{` + deviceFields + `}
}`

const productFields = `id name brand category variant position price quantity coupon_code added_to_cart_time_ms
total_product_amount custom_attributes{*}`

const deviceFields = `brand product device device_manufacturer platform:words os_version device_model screen_height screen_width
screen_dpi device_country locale_language locale_country network_country network_carrier network_code
network_mobile_country_code timezone_offset build_identifier http_header_user_agent att_authorization_status:words
att_timestamp_unixtime_ms cpu_architecture is_tablet push_notification_sound_enabled
push_notification_vibrate_enabled radio_access_technology supports_telephony has_nfc bluetooth_enabled
bluetooth_version limit_ad_tracking is_dst`

// words answers the words that a :words field may hold; path is the field's, from the event on.
func words(path string) []string {
	switch path {
	case "event_type":
		return strings.Fields(`session_start session_end screen_view custom_event crash_report opt_out first_run
			pre_attribution push_registration application_state_transition push_message network_performance breadcrumb
			profile push_reaction commerce_event user_attribute_change user_identity_change uninstall`)
	case "data.custom_event_type":
		return strings.Fields(`navigation location search transaction user_content user_preference social other media attribution`)
	case "data.location.location_source":
		return strings.Fields(`unknown ip_lookup lat_long`)
	case "data.application_transition_type":
		return strings.Fields(`application_initialized application_exit application_background application_foreground`)
	case "data.push_message_type":
		return strings.Fields(`sent received action`)
	case "data.profile_event_type":
		return strings.Fields(`signup login logout update delete`)
	case "data.device_info.platform":
		return strings.Fields(`iOS Android web tvOS roku out_of_band alexa smart_tv fire_tv xbox`)
	case "data.device_info.att_authorization_status":
		return strings.Fields(`authorized denied not_determined restricted`)
	case "data.product_action.action":
		return strings.Fields(`add_to_cart remove_from_cart checkout checkout_option click view_detail purchase refund
			add_to_wishlist remove_from_wish_list remove_from_wishlist`)
	case "data.promotion_action.action":
		return strings.Fields(`view click`)
	}
	return nil
}

// requiredData answers the fields of data that events of a type must have; alternatives are joined by a bar.
func requiredData(eventType string) []string {
	switch eventType {
	case "custom_event":
		return []string{"event_name", "custom_event_type"}
	case "screen_view":
		return []string{"screen_name"}
	case "session_end":
		return []string{"session_duration_ms"}
	case "commerce_event":
		return []string{"product_action|promotion_action|product_impressions"}
	case "application_state_transition":
		return []string{"application_transition_type"}
	case "push_registration":
		return []string{"register", "registration_token"}
	case "push_message":
		return []string{"push_message_token", "push_message_type", "push_notification_payload"}
	case "crash_report":
		return []string{"severity", "message"}
	case "opt_out":
		return []string{"is_opted_out"}
	case "network_performance":
		return []string{"url", "response_code"}
	case "breadcrumb":
		return []string{"label"}
	case "profile":
		return []string{"previous_mpid", "current_mpid", "profile_event_type"}
	case "user_attribute_change":
		return []string{"user_attribute_name"}
	case "user_identity_change":
		return []string{"new", "old"}
	}
	return nil
}

// form is how a field is filled.
type form int

const (
	formValue  form = iota // any value
	formText               // converted to text
	formWords              // one of words
	formMillis             // integer milliseconds
	formObject             // an object of known fields
	formOpen               // an object of any fields
	formEither             // a value, or an object of known fields
)

// spec is a field that the catalogue knows.
type spec struct {
	name     string
	form     form
	list     bool
	identity bool
	words    []string
	fields   []*spec
	implied  *spec // the field whose own fields may be named without it
}

func (s *spec) find(name string) *spec {
	for _, f := range s.fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

func (s *spec) isObject() bool { return s.form == formObject || s.form == formOpen }

// manyNames is above how many fields a message names the first few only.
const manyNames = 40

// names answers the names of s's fields for a message.
func (s *spec) names() string {
	var out []string
	for _, f := range s.fields {
		out = append(out, f.name)
	}
	if len(out) > manyNames {
		return strings.Join(out[:8], ", ") + " and others"
	}
	return strings.Join(out, ", ")
}

func identitySpec() *spec {
	s := &spec{name: "user_identities", form: formObject}
	for _, t := range identity.DefaultPriority() {
		s.fields = append(s.fields, &spec{name: t, form: formText, identity: true})
	}
	return s
}

// catalogue answers the root of the fields of users or events.
func catalogue(events bool) *spec {
	root := &spec{form: formObject, fields: []*spec{identitySpec()}}
	if !events {
		root.fields = append(root.fields, &spec{name: "user_attributes", form: formOpen})
		return root
	}
	p := specParser{tokens: tokens(eventFields)}
	event := &spec{name: "events", form: formObject, fields: p.fields("")}
	event.implied = event.find("data")
	root.fields = append(root.fields, event)
	return root
}

func tokens(s string) []string {
	for _, mark := range []string{"{", "}"} {
		s = strings.ReplaceAll(s, mark, " "+mark+" ")
	}
	return strings.Fields(s)
}

type specParser struct{ tokens []string }

// fields reads specs up to the closing brace or the end.
func (p *specParser) fields(prefix string) []*spec {
	var out []*spec
	for len(p.tokens) > 0 {
		t := p.tokens[0]
		p.tokens = p.tokens[1:]
		if t == "}" {
			break
		}
		out = append(out, p.field(prefix, t))
	}
	return out
}

func (p *specParser) field(prefix, t string) *spec {
	s := &spec{}
	t, s.list = strings.CutSuffix(t, "[]")
	t, either := strings.CutSuffix(t, "?")
	name, kind, _ := strings.Cut(t, ":")
	s.name = name
	switch {
	case kind == "text":
		s.form = formText
	case kind == "words":
		s.form = formWords
		s.words = words(prefix + name)
	case strings.HasSuffix(name, "_ms"):
		s.form = formMillis
	}
	if len(p.tokens) == 0 || p.tokens[0] != "{" {
		return s
	}
	s.form = formObject
	if either {
		s.form = formEither
	}
	p.tokens = p.tokens[1:]
	if p.tokens[0] == "*" {
		s.form = formOpen
		p.tokens = p.tokens[2:]
		return s
	}
	s.fields = p.fields(prefix + name + ".")
	return s
}
