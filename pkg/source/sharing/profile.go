package sharing

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// warnAhead is how long before its expiry a profile is warned of.
const warnAhead = 14 * 24 * time.Hour

// The versions of profile files that are read. From the second on they say what kind of credentials they hold.
const (
	profileV1   = 1
	profileV2   = 2
	bearerToken = "bearer_token"
)

// profile is a profile file, understood.
type profile struct {
	endpoint url.URL
	token    string
	expires  time.Time // zero: never
}

// profile answers the connection's profile. One of another version or kind, one that has expired, and one that says less
// than it must are Precondition: only a new profile helps.
func (s *Source) profile() (profile, error) {
	p, err := parseProfile(s.address.Profile.Plain)
	if err != nil {
		return p, err
	}
	if !p.expires.IsZero() && !s.settings.Now().Before(p.expires) {
		return p, profileFault("the profile expired on %s; have the provider rotate the recipient's token, and give delta_sharing.profile the new file", p.expires.Format(time.DateOnly)).With(stepKey, stepExpiry)
	}
	return p, nil
}

func profileFault(format string, args ...any) *fault.Error {
	return fault.New(fault.Precondition, fault.ReasonWarehouseDenied, format, args...).With(stepKey, stepProfile)
}

func parseProfile(text string) (profile, error) {
	var in resource.DeltaSharingProfile
	var out profile
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return out, profileFault("delta_sharing.profile is no JSON document; give the text of the recipient's profile file")
	}
	switch {
	case in.ShareCredentialsVersion != profileV1 && in.ShareCredentialsVersion != profileV2:
		return out, profileFault("the profile is of shareCredentialsVersion %d, and 1 and 2 are read; have the provider make one of those, or use a newer Millrace", in.ShareCredentialsVersion)
	case in.ShareCredentialsVersion == profileV2 && in.Type != bearerToken:
		return out, profileFault("the profile has credentials of a kind other than bearer_token, which is not read; have the provider make a recipient with a token")
	case in.BearerToken == "" || strings.ContainsFunc(in.BearerToken, func(r rune) bool { return r <= ' ' || r > '~' }):
		return out, profileFault("the profile has no bearerToken that can be sent; download it again")
	}
	u, err := url.Parse(strings.TrimRight(in.Endpoint, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || (u.Scheme != "https" && u.Scheme != "http") {
		return out, profileFault("the profile's endpoint is no http or https address; download it again")
	}
	out.endpoint, out.token = *u, in.BearerToken
	if in.ExpirationTime != "" {
		if out.expires, err = time.Parse(time.RFC3339, in.ExpirationTime); err != nil {
			return out, profileFault("the profile's expirationTime is no instant; download it again")
		}
	}
	return out, nil
}
