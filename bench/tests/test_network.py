"""What is measured of ways into the network does happen, and is kept from happening where it should be."""

import json
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import network_kernel
import network_links
from network_links import Links
from network_ways import HERE, Peer, inside

sys.path.insert(0, str(HERE / "apps" / "network"))

import probe


class Probes(unittest.TestCase):
    def test_a_peer_is_measured(self):
        with Peer([], ["127.0.0.1"]) as peer:
            size = {"connects": 20, "exchanges": 30, "bytes": 3 * probe.PIECE_BYTES + 1}
            found = probe.answer({"kind": "measure", "host": "127.0.0.1", **peer.ports, **size})
        self.assertEqual((len(found["connects"]), len(found["exchanges"])), (20, 30))
        self.assertTrue(all(took > 0 for took in [*found["connects"], *found["exchanges"], found["sent"]]))

    def test_what_is_tried_says_what_went_through(self):
        with Peer([], ["127.0.0.1"]) as peer:
            found = probe.answer(question(peer))
        self.assertEqual(found.pop("other address, same port"), "Connection refused")
        self.assertEqual(set(found.values()), {True}, found)

    def test_a_peer_listens_on_one_port_of_several_addresses(self):
        with Peer([], ["127.0.0.1", "127.0.0.2"]) as peer:
            self.assertIs(probe.answer(question(peer))["other address, same port"], True)

    def test_nobody_listens_on_an_address_of_others(self):
        with self.assertRaises(network_links.LinksFailed):
            Peer([], ["203.0.113.1"])


class Kernel(unittest.TestCase):
    @unittest.skipIf(network_kernel.landlock_version() < network_kernel.LANDLOCK_VERSION_OF_PORTS, "Landlock knows no ports here")
    def test_ports_without_a_rule_are_refused(self):
        with Peer([], ["127.0.0.1", "127.0.0.2"]) as peer:
            command = [sys.executable, str(HERE / "network_kernel.py"), "landlock"]
            command += [json.dumps([peer.ports["port"]]), json.dumps(question(peer))]
            found = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
        self.assertEqual(found["same address, other port"], "Permission denied")
        self.assertEqual((found["listed"], found["other address, same port"]), (True, True))


class Networks(unittest.TestCase):
    def test_each_network_has_names_and_addresses_of_its_own(self):
        links = Links()
        networks = [links.outside, *(links.network(number) for number in (0, 1, 63, 64, network_links.NETWORKS_MAX - 1))]
        for names in zip(*((one.namespace, one.device, one.host, one.inside) for one in networks)):
            self.assertEqual(len(set(names)), len(networks), names)
        self.assertEqual((networks[4].host, networks[4].inside), ("198.18.1.1", "198.18.1.2"))
        self.assertEqual(networks[-1].inside, "198.18.255.254")
        with self.assertRaises(network_links.LinksFailed):
            links.network(network_links.NETWORKS_MAX)

    def test_names_of_devices_fit_where_numbers_of_processes_are_large(self):
        links = Links(mark="4194304")
        self.assertLessEqual(max(len(one.device) for one in (links.outside, links.network(100))), 15)

    @unittest.skipIf(network_links.missing(), "it takes root, `ip` and `nft`")
    def test_rules_refuse_what_is_not_listed_and_nothing_is_left_after_an_error(self):
        links = Links(mark=f"{network_links.own_mark()}t")
        with self.assertRaises(KeyError), links:
            network = links.make(0)
            links.load_rules()
            with Peer([], [network.host, network_links.OUTSIDE_HOST]) as peer:
                links.allow(network, [(network.host, peer.ports["port"])])
                asked = {**question(peer), "host": network.host, "other_host": network_links.OUTSIDE_HOST}
                command = [*inside(network), sys.executable, str(HERE / "apps" / "network" / "probe.py"), json.dumps(asked)]
                found = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
            self.assertIs(found.pop("listed"), True)
            self.assertNotIn(True, found.values())
            self.assertEqual(len(links.left()), 5)
            raise KeyError("an error")
        self.assertEqual(links.left(), [])


def question(peer: Peer) -> dict:
    return {"kind": "try", "host": "127.0.0.1", "other_host": "127.0.0.2", **peer.ports}


if __name__ == "__main__":
    unittest.main()
