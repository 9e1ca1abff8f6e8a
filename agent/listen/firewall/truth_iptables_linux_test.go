package firewall

import "strings"

type truthRow = struct {
	reason string
	rules  string
	want   Outcome
	on     Dependence
	dials  [2]Outcome
}

// iptablesTruths are rules that both forms of iptables must be read alike from.
func iptablesTruths() []truthRow {
	rows := []truthRow{
		{"policy", "-P INPUT DROP", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"policy and the port", "-P INPUT DROP\n-A INPUT -p tcp --dport 8000 -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"another port", "-P INPUT DROP\n-A INPUT -p tcp --dport 8001:8010 -j ACCEPT", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"not another port", "-P INPUT DROP\n-A INPUT -p tcp ! --dport 22 -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"several ports", "-P INPUT DROP\n-A INPUT -p tcp -m multiport --dports 22,7000:8000,9000 -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"several other ports", "-P INPUT DROP\n-A INPUT -p tcp -m multiport --dports 22,8001:9000 -j ACCEPT", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"ports of either side", "-P INPUT DROP\n-A INPUT -p tcp -m multiport --ports 22,8000 -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"another protocol", "-A INPUT -p udp --dport 8000 -j DROP", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"all but a protocol", "-A INPUT ! -p udp -j DROP", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"loopback", "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"interfaces by the start of their name", "-P INPUT DROP\n-A INPUT -i eth+ -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"not another interface", "-P INPUT DROP\n-A INPUT ! -i wg0 -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"established", "-P INPUT DROP\n-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"new", "-P INPUT DROP\n-A INPUT -m conntrack --ctstate NEW -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"new, of old", "-P INPUT DROP\n-A INPUT -m state --state NEW -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"invalid", "-A INPUT -m conntrack --ctstate INVALID -j DROP", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"not translated", "-A INPUT -m conntrack ! --ctstate DNAT -j DROP", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"its original port", "-A INPUT -p tcp -m conntrack --ctorigdstport 8000 -j DROP", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"its original address", "-A INPUT -p tcp -m conntrack --ctorigdst 192.0.2.1 --ctdir ORIGINAL -j DROP", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"local addresses", "-P INPUT DROP\n-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"a range of addresses", "-P INPUT DROP\n-A INPUT -m iprange --dst-range 192.0.2.0-192.0.2.9 -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"not an address", "-P INPUT DROP\n-A INPUT ! -d 192.0.2.9 -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"syn", "-A INPUT -p tcp --syn -j DROP", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"reset", "-A INPUT -p tcp -j REJECT --reject-with tcp-reset", Rejected, 0, [2]Outcome{Rejected, Rejected}},
		{"reject", "-A INPUT -j REJECT", Rejected, 0, [2]Outcome{Rejected, Rejected}},
		{"a log and a comment", "-A INPUT -m comment --comment why -j LOG\n-A INPUT -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"a chain that returns", "-P INPUT DROP\n-N own\n-A INPUT -j own\n-A own -p tcp --dport 8000 -j RETURN\n-A own -j ACCEPT", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"a chain that accepts", "-P INPUT DROP\n-N own\n-N inner\n-A INPUT -j own\n-A own -p udp -j DROP\n-A own -j inner\n-A inner -p tcp -j ACCEPT", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"no way back from a chain", "-P INPUT DROP\n-N own\n-A INPUT -g own\n-A INPUT -j ACCEPT\n-A own -p udp -j ACCEPT", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"an earlier table", "-t raw -A PREROUTING -p tcp --dport 8000 -j DROP", Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"one source", "-P INPUT DROP\n-A INPUT -s 192.0.2.2 -p tcp -j ACCEPT", Partly, SourceAddress, [2]Outcome{Accepted, Dropped}},
		{"a rate", "-P INPUT DROP\n-A INPUT -m limit --limit 1/day --limit-burst 1 -j ACCEPT", Partly, Rate, [2]Outcome{Accepted, Dropped}},
		{"a mark", "-t mangle -A PREROUTING -s 192.0.2.3 -j MARK --set-mark 7\n-A INPUT -m mark --mark 7 -j DROP", Partly, Mark, [2]Outcome{Accepted, Dropped}},
		{"untracked", "-t raw -A PREROUTING -s 192.0.2.2 -j CT --notrack\n-P INPUT DROP\n-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT", Partly, Tracking, [2]Outcome{Accepted, Dropped}},
		{"as ufw does it", ufw, Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"as ufw does it, for another port", strings.ReplaceAll(ufw, "8000", "8001"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
		{"taken elsewhere", "-t nat -A PREROUTING -p tcp --dport 8000 -j DNAT --to-destination 203.0.113.9:80", Diverted, 0, [2]Outcome{Dropped, Dropped}},
		{"what is not understood and does not matter", "-A INPUT -p udp -m bpf --bytecode 1,6_0_0_65535 -j DROP", Accepted, 0, [2]Outcome{Accepted, Accepted}},
		{"what is not understood", "-A INPUT -m bpf --bytecode 1,6_0_0_65535 -j DROP", Unknown, Unreadable, [2]Outcome{Dropped, Dropped}},
	}
	var all []truthRow
	for _, tool := range []string{"iptables-legacy -w", "iptables-nft -w"} {
		for _, r := range rows {
			r.reason = strings.TrimSuffix(tool, " -w") + ": " + r.reason
			r.rules = tool + " " + strings.ReplaceAll(r.rules, "\n", "\n"+tool+" ")
			all = append(all, r)
		}
	}
	return all
}

// ufw is what ufw makes of one rule (shortened).
const ufw = `-N ufw-before-input
-N ufw-not-local
-N ufw-user-input
-N ufw-logging-deny
-P INPUT DROP
-A INPUT -j ufw-before-input
-A INPUT -j ufw-user-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -p udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -d 224.0.0.251/32 -p udp --dport 5353 -j ACCEPT
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny
-A ufw-not-local -j DROP
-A ufw-logging-deny -m conntrack --ctstate INVALID -m limit --limit 3/min -j RETURN
-A ufw-logging-deny -m limit --limit 3/min -j LOG
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
-A ufw-user-input -p tcp -m tcp --dport 8000 -j ACCEPT`
