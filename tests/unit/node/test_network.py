"""The network's decisions: addresses, rules, name servers."""

import ipaddress

import pytest

from ingle.exceptions import SetupError
from ingle.node.network import PRIVATE, addresses, choose_subnet, own_nameservers, resolv_conf, routes, ruleset

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
docker0	0000050A	00000000	0001	0	0	0	0000FFFF	0	0	0
"""


def test_routes_are_read():
    assert routes(ROUTES) == [ipaddress.IPv4Network("192.0.2.0/24"), ipaddress.IPv4Network("10.5.0.0/16")]


def test_a_subnet_that_is_free():
    assert str(choose_subnet(routes(ROUTES), 5)) == "10.6.0.0/16"
    assert str(choose_subnet(routes(ROUTES), 256 + 7)) == "10.7.0.0/16"
    with pytest.raises(SetupError, match="no /16"):
        choose_subnet([PRIVATE], 0)


def test_each_slot_has_a_gateway_and_a_container():
    subnet = ipaddress.IPv4Network("10.6.0.0/16")
    assert addresses(subnet, 0) == ("10.6.0.1", "10.6.0.2")
    assert addresses(subnet, 16383) == ("10.6.255.253", "10.6.255.254")


def test_rules_name_the_interfaces_by_prefix():
    rules = ruleset("ingle_x", "ingx", "10.6.0.0/16")
    assert "table inet ingle_x" in rules and 'ip saddr 10.6.0.0/16 oifname != "ingx*" masquerade' in rules
    assert 'oifname "ing*" drop' in rules and "169.254.0.0/16" in rules and "dport 53" not in rules


def test_a_resolver_on_the_machine_itself_may_be_asked():
    assert "ip daddr { 192.0.2.2 } meta l4proto { tcp, udp } th dport 53 accept" in ruleset(
        "t", "ingx", "10.6.0.0/16", ["192.0.2.2"]
    )
    assert own_nameservers("nameserver 192.0.2.77\n") == []


def test_loopback_name_servers_are_replaced_by_those_behind_them():
    text = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n"
    assert resolv_conf(text, "# by systemd\nnameserver 192.0.2.1\nsearch lan\n") == "nameserver 192.0.2.1\nsearch lan\n"
    assert resolv_conf(text, "") == "options edns0 trust-ad\nsearch lan\n"


def test_other_name_servers_stay_as_they_are():
    text = "# a comment\nnameserver 192.0.2.1\nnameserver ::1\nnameserver 127.0.0.1\n"
    assert resolv_conf(text, "nameserver 198.51.100.1\n") == "nameserver 192.0.2.1\n"
