"""Figures and tables are written as they are meant."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import report
from figures import Figure, Latency, megabytes, per_second, percentile, ratio, seconds
from events import TIMERS, EventResults, count_seconds
from many import ManyResults
from measures import QUICK, HttpResults, rotated
from neighbour import NeighbourResults
from network_ways import CABLE, ON_MACHINE, PLAIN, PORTS, REMOVED, SERVER, WAYS, NetworkResults, network_part
from overload import CaseResults, OverloadResults
from systems import INGLE, INGLE_ASYNC, LAMBDA, PEERS, UVICORN
from zero import ADDED, ROWS, ZeroResults


class Figures(unittest.TestCase):
    def test_durations_have_the_unit_that_fits(self):
        cases = {157e-6: "157 µs", 0.00357: "3.57 ms", 0.999e-3: "999 µs", 0.167: "167 ms", 1.234: "1.23 s"}
        cases.update({float("nan"): "–", -2e-7: "0 µs", -4.1e-5: "-41 µs"})
        for value, expected in cases.items():
            self.assertEqual(seconds(value), expected)

    def test_a_figure_shows_median_and_extremes(self):
        self.assertEqual(Figure([3e6, 1e6, 2e6]).show(megabytes), "**2.0 MB** (1.0 to 3.0)")
        self.assertEqual(Figure([5e-4, 2e-3, 3e-3]).show(seconds), "**2.00 ms** (500 µs to 3.00)")
        self.assertEqual(Figure([12345.6]).show(per_second("messages")), "12,346 messages/s")
        self.assertEqual(Figure().show(seconds), "–")

    def test_a_ratio_compares_medians(self):
        self.assertEqual(ratio(Figure([1, 4, 9]), Figure([2])), "2.00")
        self.assertEqual(ratio(Figure(), Figure([2])), "–")
        self.assertEqual(ratio(Figure([1]), Figure([0])), "–")


class Rounds(unittest.TestCase):
    def test_each_round_begins_with_another_system(self):
        self.assertEqual("".join(rotated("abc", 4)), "abcbcacababc")


class Quantiles(unittest.TestCase):
    def test_a_percentile_is_a_reading_that_the_share_does_not_exceed(self):
        self.assertEqual([percentile([4, 1, 3, 2], share) for share in (0.5, 0.75, 0.99)], [2, 3, 4])

    def test_a_latency_has_one_quantile_of_each_run(self):
        latency = Latency()
        latency.add_run([0.001 * number for number in range(1, 101)])
        latency.add_run([0.002, 0.004])
        self.assertEqual((latency.p50.readings, latency.p99.readings, latency.count), ([0.05, 0.002], [0.099, 0.004], 102))


class Events(unittest.TestCase):
    def test_seconds_are_whole_missed_or_late(self):
        def line(number, begin):
            return {"function": f"timer_{number}", "time": begin * 1000}

        first = 7_200
        numbers = [number for number in range(TIMERS) if number % 3_600 in (0, 1, 2)]
        values = [line(number, first + number % 3_600 + 0.2) for number in numbers]
        values.remove(line(3_601, first + 1.2))
        values[values.index(line(2, first + 2.2))] = line(2, first + 3.5)
        results = EventResults()
        count_seconds(values, range(first, first + 3), results)
        self.assertEqual((results.seconds, results.missed_seconds, results.late_seconds), (3, 1, 1))
        self.assertEqual(results.fired, len(numbers) - 1)


class Page(unittest.TestCase):
    def test_a_table_escapes_bars(self):
        self.assertEqual(report.table(["a", "b"], [["1|2", "3"]]), "| a | b |\n| --- | --- |\n| 1\\|2 | 3 |\n")

    def test_a_comparison_leaves_out_what_was_not_measured(self):
        results = HttpResults()
        results.p50[INGLE.name].add(1e-4)
        results.p50[PEERS[0].name].add(3e-4)
        lines = report.comparison("p50", results.p50, seconds).splitlines()
        self.assertEqual(lines[0], "| system | p50 | ratio to Ingle |")
        self.assertEqual(lines[2:], ["| Ingle, `def` | 100 µs | 1.00 |", f"| {PEERS[0].name} | 300 µs | 3.00 |"])

    def test_a_target_is_met_missed_or_not_measured(self):
        def check(readings, at_least, expected):
            target = report.Target("queue", Figure(readings), per_second("messages"), 5000, at_least)
            self.assertEqual(target.row()[3], expected)

        check([5000], True, "met")
        check([4999], True, "**missed**")
        check([5000], False, "met")
        check([5001, 5002], False, "**missed**")
        check([], True, "not measured")

    def test_a_promise_stands_beside_the_best_of_the_peers(self):
        def check(at_least, expected):
            peers = {"slow": Figure([1000]), "fast": Figure([6000, 8000]), "absent": Figure()}
            target = report.Target("queue", Figure([2000]), per_second("messages"), 5000, at_least, peers)
            self.assertEqual(target.row()[4:], expected)

        check(True, ["7,000 messages/s, fast", "3.50"])
        check(False, ["1,000 messages/s, slow", "0.50"])
        self.assertEqual(report.Target("queue", Figure([1]), seconds, 1).row()[4:], ["–", "–"])

    def test_ingle_is_no_peer_of_its_own(self):
        http = HttpResults()
        for name, value in ((INGLE.name, 3e-4), (INGLE_ASYNC.name, 1e-4), (UVICORN.name, 2e-4)):
            http.p50[name].add(value)
        self.assertEqual(report.warm(http)[0].row()[3:], ["**missed**", f"200 µs, {UVICORN.name}", "0.67"])

    def test_starts_have_limits_quantiles_and_ratios(self):
        zero = ZeroResults()
        zero.first[ROWS[0].name][INGLE.name].add_run([0.001, 0.001, 0.003])
        zero.first[ROWS[0].name][LAMBDA.name].add_run([0.050])
        zero.added[ADDED[0].name][INGLE.name].add(1e6)
        zero.added[ADDED[0].name][LAMBDA.name].add(8e6)
        lines = report.zero_part(zero).splitlines()
        self.assertEqual(lines[0], "First answer, hello (target: p50 ≤ 2.00 ms, p99 ≤ 6.00 ms):")
        self.assertEqual(lines[4], "| Ingle, `def` | 1.00 ms | 3.00 ms | 3 | 1.00 |")
        self.assertEqual(lines[5], f"| {LAMBDA.name} | 50.00 ms | 50.00 ms | 1 | 50.00 |")
        self.assertIn(f"| {LAMBDA.name} | 8.0 MB | 8.00 |", lines)
        rows = [target.row() for target in report.from_zero(zero)]
        self.assertEqual(rows[0][1:4], ["≤ 2.00 ms", "1.00 ms", "met"])
        self.assertEqual(rows[1][1:], ["≤ 6.00 ms", "3.00 ms", "met", f"50.00 ms, {LAMBDA.name}", "16.67"])

    def test_an_overload_counts_what_is_neither_good_nor_polite(self):
        case = CaseResults(offered=9, without_advice=2, good=[1.0, 2.0])
        case.answers.update([200, 200, 429, 429, 503, 500, 0, 0])
        case.recovery.add(6.0)
        overload = OverloadResults({"tight": case, "loose": CaseResults()})
        verdicts = [target.row()[2:4] for target in report.under_overload(overload)]
        self.assertEqual(verdicts[:3], [["6.00 s", "**missed**"], ["3", "**missed**"], ["2", "**missed**"]])
        self.assertEqual(verdicts[3:], [["–", "not measured"]] * 3)
        lines = report.overload_part(overload).splitlines()
        for line in ("| measure | tight | loose |", "| refused with 429 | 2 | 0 |", "| anything else | 3 | 0 |"):
            self.assertIn(line, lines)
        self.assertIn("| p99 of these | 2.00 s | – |", lines)

    def test_many_apps_have_a_part_once_they_were_measured(self):
        self.assertIsNone(report.many_part(ManyResults()))
        many = ManyResults(500, Figure([1e9]), Figure([0.1, 0.3]))
        self.assertIn("| for each app | 2.0 MB |", report.many_part(many))
        rows = [target.row() for target in report.of_many_apps(many)]
        self.assertEqual([row[2:4] for row in rows], [["1000.0 MB", "met"], ["300 ms", "**missed**"]])

    def test_a_neighbour_is_compared_with_its_usual_p99(self):
        neighbour = NeighbourResults()
        for took in (0.001, 0.002, 0.010):
            neighbour.rest.add_run([took])
        neighbour.during["spins"].add_run([0.001, 0.003])
        neighbour.made["spins"] = 7
        self.assertEqual(report.of_neighbour(neighbour)[0].row()[1:4], ["≤ 1.25×", "1.50×", "**missed**"])
        self.assertIn("| spins | 7 | 1.00 ms | 3.00 ms | 1.50× |", report.neighbour_part(neighbour).splitlines())

    def test_ways_into_the_network_have_a_part_once_they_were_measured(self):
        self.assertEqual(network_part(NetworkResults()), "")
        network = NetworkResults()
        network.made[REMOVED] = Figure([0.01] * 100)
        for way, took in ((SERVER, 3e-4), (PLAIN, 1e-4)):
            network.reach[ON_MACHINE][way].connect.add_run([took])
            network.reach[ON_MACHINE][way].exchange.add_run([2e-5])
            network.reach[ON_MACHINE][way].sent.add(2e9)
        network.tried = {way: {"listed": True, "datagram": "timed out"} for way in WAYS}
        network.tried[PORTS] = {"listed": True, "datagram": True}
        network.tried[CABLE]["datagram"] = False
        lines = network_part(network).splitlines()
        self.assertIn(f"| {REMOVED} | **10.00 ms** (10.00 to 10.00) | 1.00 s |", lines)
        plain = lines.index(f"| {PLAIN} | 100 µs | 100 µs | – | 20 µs | 2,000 MB/s | 1.00 |")
        self.assertEqual(lines[plain + 1], f"| {SERVER} | 300 µs | 300 µs | 200 µs | 20 µs | 2,000 MB/s | 1.00 |")
        self.assertIn("| datagram (tried) | no (timed out) | no | yes |", lines)

    def test_the_page_names_every_promise_and_ends_no_line_in_white_space(self):
        text = report.page(["a machine"], report.Results(), QUICK)
        self.assertEqual(text.count("not measured"), len(report.targets(report.Results())))
        self.assertEqual([line for line in text.splitlines() if line != line.rstrip()], [])


if __name__ == "__main__":
    unittest.main()
