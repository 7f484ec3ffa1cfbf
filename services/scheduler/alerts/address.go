package alerts

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
)

var (
	errNeverAddress   = errors.New("the address is link-local, of a metadata service, multicast or none")
	errPrivateAddress = errors.New("the address is private")
)

// guard answers the check of every address that a webhook's host resolves to, before it is dialled: after the look-up, so
// that a name cannot be one thing when it is checked and another when it is used. Link-local addresses and others where
// clouds keep the credentials of their machines are never dialled; those of the machine and of private networks where
// `private` says.
func guard(private bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return errNeverAddress
		}
		return judge(at.Addr().Unmap().WithZone(""), private)
	}
}

func judge(ip netip.Addr, private bool) error {
	if v4, ok := inner(ip); ok && judge(v4, true) != nil && !ip.IsLoopback() {
		return errNeverAddress
	}
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast(), slices.Contains(never(), ip):
		return errNeverAddress
	case private:
		return nil
	case ip.IsLoopback(), ip.IsPrivate(), !ip.IsGlobalUnicast():
		return errPrivateAddress
	}
	if within(ip, special()...) {
		return errPrivateAddress
	}
	return nil
}

// inner answers the IPv4 address that one of IPv6 leads to by NAT64, by 6to4 or as its last 32 bits.
func inner(ip netip.Addr) (netip.Addr, bool) {
	b := ip.As16()
	switch {
	case within(ip, "64:ff9b::/96", "64:ff9b:1::/48", "::/96"):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case within(ip, "2002::/16"):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

func within(ip netip.Addr, ranges ...string) bool {
	return slices.ContainsFunc(ranges, func(p string) bool { return netip.MustParsePrefix(p).Contains(ip) })
}

// never are the broadcast address, and those of metadata services that are not link-local: of EC2 and GCE by IPv6, Azure's
// and Alibaba's.
func never() []netip.Addr {
	var out []netip.Addr
	for _, a := range []string{"255.255.255.255", "fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200"} {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// special are further ranges that are not the public internet, and those of IPv6 that lead to an IPv4 address inside them.
func special() []string {
	return []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10",
	}
}
