package firewall

import (
	"net/netip"
	"slices"

	"github.com/portaudit/portaudit/registry"
)

// continuing are the targets that leave a packet to the next rule and change
// nothing that conditions here are about.
var continuing = []string{
	"AUDIT", "CHECKSUM", "CLASSIFY", "CONNSECMARK", "DSCP", "ECN", "HL", "IDLETIMER", "LED", "LOG", "NFLOG",
	"RATEEST", "SECMARK", "SET", "TCPMSS", "TCPOPTSTRIP", "TEE", "TOS", "TRACE", "TTL",
}

// extensionTarget writes into a rule what a target does.
func extensionTarget(r *rule, f family, x extension) {
	switch x.name {
	case "REJECT":
		r.action = reject
	case "DNAT", "REDIRECT":
		r.action, r.to = targetNAT(f, x)
	case "SNAT", "MASQUERADE":
		r.action = accept // of the source only, and done with this chain
	case "NETMAP":
		r.action, r.to = translate, translation{note: "to a whole network"}
	case "MARK", "CONNMARK", "HMARK":
		r.marks = true
	case "NOTRACK":
		r.untracks = true
	case "CT":
		// struct xt_ct_target_info: XT_CT_NOTRACK.
		r.untracks = len(x.data) < 2 || native.Uint16(x.data)&1 != 0
	default:
		if !slices.Contains(continuing, x.name) {
			r.action = opaque
		}
	}
}

// targetNAT reads the range of DNAT and REDIRECT: a struct nf_nat_range or
// nf_nat_range2 (include/uapi/linux/netfilter/nf_nat.h), in IPv4 of revision 0
// a struct nf_nat_ipv4_multi_range_compat.
func targetNAT(f family, x extension) (action, translation) {
	const mapAddress, mapPort = 1, 2 // NF_NAT_RANGE_*
	d := x.data
	addressAt, portAt, size := 4, 36, 40
	if f == familyIPv4 && x.revision == 0 {
		d = d[min(len(d), 4):] // rangesize, which is 1
		addressAt, portAt, size = 4, 12, 16
	}
	if len(d) < size || x.revision > 2 {
		return opaque, translation{}
	}
	var to translation
	flags, n := native.Uint32(d), f.addressLength()
	if flags&mapPort != 0 {
		to.ports = portRange(network.Uint16(d[portAt:]), network.Uint16(d[portAt+2:]))
	}
	if flags&mapAddress != 0 && x.name == "DNAT" {
		step := (portAt - addressAt) / 2
		to.address, _ = netip.AddrFromSlice(d[addressAt:][:n])
		if last, _ := netip.AddrFromSlice(d[addressAt+step:][:n]); last != to.address {
			to.note = "to addresses up to " + last.String()
		}
	}
	return translate, to
}

func portRange(first, last uint16) Ports {
	return Ports{registry.Port(first), registry.Port(last)}
}
