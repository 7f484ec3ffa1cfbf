package resource

import (
	"encoding/json"
	"net/url"
	"strings"
)

// DeltaSharing is a schema of a share, read by the open Delta Sharing protocol.
type DeltaSharing struct {
	Share   string
	Schema  string // where tables without a schema are looked up
	Profile Secret // the text of the recipient's profile file
}

// DeltaSharingProfile is what Millrace takes from a recipient's profile file.
type DeltaSharingProfile struct {
	ShareCredentialsVersion int    `json:"shareCredentialsVersion"`
	Type                    string `json:"type"` // from version 2 on
	Endpoint                string `json:"endpoint"`
	BearerToken             string `json:"bearerToken"`
	ExpirationTime          string `json:"expirationTime"` // RFC 3339; empty: never
}

func (d *DeltaSharing) validate(f *faults) {
	f.text("delta_sharing.share", d.Share, true)
	f.text("delta_sharing.schema", d.Schema, true)
	f.secret("delta_sharing.profile", d.Profile)
	if d.Profile.Plain == "" {
		return
	}
	const fix = "give the text of the profile file as the provider's activation link downloads it, such as {file: ./config.share}"
	var p DeltaSharingProfile
	if err := json.Unmarshal([]byte(d.Profile.Plain), &p); err != nil || p.ShareCredentialsVersion == 0 {
		f.add("delta_sharing.profile", fix, "is no profile file of Delta Sharing")
		return
	}
	if u, err := url.Parse(p.Endpoint); err != nil || u.Host == "" || u.User != nil || !strings.HasPrefix(u.Scheme, "http") {
		f.add("delta_sharing.profile", fix, "has no endpoint that is an http or https address")
	}
}
