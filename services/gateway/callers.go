package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"millrace.dev/pkg/fault"
)

// hosts are the names by which the gateway may be called. It asks no one who he is, and the browser of somebody who may
// reach it shows pages of people who may not: one of those can make a name of its own lead here (DNS rebinding), and is
// then, to the browser, of the same origin. An address can not be made to lead elsewhere, so that any will do.
type hosts struct {
	names map[string]bool
	any   bool
}

// newHosts takes names besides localhost, without ports; * stands for all.
func newHosts(named []string) (hosts, error) {
	h := hosts{names: map[string]bool{"localhost": true}}
	for _, n := range named {
		_, err := netip.ParseAddr(n)
		switch name := bare(n); {
		case n == "*":
			h.any = true
		case err == nil: // known without being named
		case name == "" || name != strings.ToLower(n) || strings.ContainsAny(name, "/:@*?# "):
			return hosts{}, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "--gateway-hosts: %q is no name of a host; write names such as api.example.com, without scheme and port, or * for all", n)
		default:
			h.names[name] = true
		}
	}
	return h, nil
}

// know says whether the header Host of a request is one of them.
func (h hosts) know(host string) bool {
	name := bare(host)
	_, err := netip.ParseAddr(name)
	return h.any || err == nil || h.names[name]
}

// bare answers a host in lower case, less its port, brackets and last dot.
func bare(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// refuseExposure refuses an address that other machines reach, unless the operator has said by which names they may call.
func refuseExposure(addr string, named []string) error {
	if len(named) > 0 || !exposed(addr) {
		return nil
	}
	return fault.New(fault.Precondition, fault.ReasonInvalidArgument,
		"the gateway asks no one who they are, and whoever reaches %s could change and read everything; "+
			"set http to 127.0.0.1:PORT, before which a proxy that knows its users may stand, or name in gateway-hosts what the gateway may be called there", addr)
}

// exposed says whether others than this machine reach an address that can be listened on.
func exposed(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false // nobody can listen on what is no address
	}
	ip, err := netip.ParseAddr(host)
	return host != "localhost" && (err != nil || !ip.Unmap().IsLoopback())
}

// stranger says why a request is not heard: it calls by a name that is not the gateway's, or it is made by a page of
// another site. A link to here may be followed from anywhere.
func (h hosts) stranger(r *http.Request) error {
	if !h.know(r.Host) {
		return refusal{http.StatusMisdirectedRequest, fault.New(fault.Denied, fault.ReasonInvalidArgument, "this is not what the gateway is called; call it by its address, or add the name to the setting gateway-hosts")}
	}
	followed := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	if ofAnotherSite(r) && !followed {
		return fault.New(fault.Denied, fault.ReasonInvalidArgument, "pages of other sites must not call the gateway; call it from a program, or from a page of the same origin")
	}
	return nil
}

// ofAnotherSite says whether a browser makes the request for a page that is not of this origin. Programs that are no
// browsers say nothing of the kind.
func ofAnotherSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none": // none: its user typed the address
		return false
	case "":
		origin := r.Header.Get("Origin")
		u, err := url.Parse(origin)
		return origin != "" && (err != nil || !strings.EqualFold(u.Host, r.Host))
	default:
		return true
	}
}
