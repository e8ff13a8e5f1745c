"""Clients that were away and come back to their windows."""

import io
import json
import unittest
from typing import Any

import headcount
from headcount import Bundle, Client, ListRequest, ListSpec, MemberList, MemberTable
from test_windows import GOLDEN, bare, open_found, run_step, seen, shown


def by_window(held: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["window"]: one for one in held}


class Vector(unittest.TestCase):
    """The vectors of frame format 2, which every client shares."""

    def test_the_client_holds_what_the_vectors_of_format_2_expect(self) -> None:
        for name in ("resume", "switch", "renamed-list"):
            for is_binary in (False, True):
                with self.subTest(name, is_binary=is_binary):
                    self.replay(name, is_binary)

    def replay(self, name: str, is_binary: bool) -> None:
        vector = json.loads((GOLDEN / "list-frames-2" / f"{name}.json").read_text())
        self.assertEqual(vector["server"]["format"], 2)
        client, checked = Client(), 0
        bundles: list[tuple[Any, ListRequest | None]] = []
        answers = [step for step in vector["steps"] if "n" in step]
        for at, step in enumerate(vector["steps"]):
            request = None
            if "open" in step:
                client.open(step["open"])
            if "close" in step:
                client.close(step["close"])
            if any(verb in step for verb in ("open", "search", "resync")):
                request = client.request()
            if "switch" in step:
                request = client.switch(step["switch"][1])
            if "reconnect" in step:
                request, held = client.reconnect()
                self.assertEqual(by_window(held), by_window(step["held"]), f"step {at}")
            if "n" in step:
                binary = Bundle.from_binary(bytes.fromhex(step["binary"]), int)
                self.assertEqual(binary.to_dict(), step["bundle"], f"step {at}")
                self.assertEqual(binary.to_binary().hex(), step["binary"], f"step {at}")
                bundles.append((binary if is_binary else step["bundle"], request))
            if "receive" not in step:
                continue
            what = step["receive"]
            open_found(client, answers[what])
            bundle, answered = bundles[what]
            applied = client.apply(bundle, answered)
            expect = step["expect"]
            self.assertEqual(seen(client), expect["windows"], f"step {at}")
            self.assertEqual(sorted(applied.resync), expect["resync"], f"step {at}")
            self.assertEqual(applied.resync_counts, expect["resync_counts"], f"step {at}")
            checked += 1
        self.assertGreaterEqual(checked, 8)

    def test_a_list_sends_what_the_vector_of_format_2_says(self) -> None:
        """Bodies apart: a Python list has payloads, the vector's list has a source of bodies."""
        vector = json.loads((GOLDEN / "list-frames-2" / "resume.json").read_text())
        server = vector["server"]
        ml = MemberList(int, groups=server["groups"])
        ml.begin_epoch(server["list"], server["epoch"], node=server["node"])
        viewer = ml.viewer(resumable=True)
        for at, step in enumerate(vector["steps"]):
            for verb, *args in step.get("do", ()):
                if verb == "epoch":
                    ml.begin_epoch(args[0], args[1], node=server["node"])
            if "reconnect" in step:
                viewer = ml.viewer(resumable=True)
                bundle = viewer.resume(step["held"])
            else:
                others = [op for op in step.get("do", ()) if op[0] != "epoch"]
                bundle = run_step(ml, viewer, {**step, "do": others})
            if step.get("bundle") is not None:
                self.assertEqual(bundle.to_dict(), bare(step["bundle"]), f"step {at}")


class Resume(unittest.TestCase):
    def list(self) -> MemberList[int]:
        ml = MemberList(int, groups=["online", "offline"], payloads="json")
        ml.begin_epoch("room:7", 1_790_000_000_000, node="node-1")
        for id in range(2_000):
            ml.upsert(id, "online", f"Name {id:04}")
            ml.set_payload(id, {"n": id})
        return ml

    def test_a_client_that_was_away_gets_one_delta(self) -> None:
        ml = self.list()
        viewer, client = ml.viewer(resumable=True), Client()
        for name in ("c:0", "a:950:20:20"):
            client.open(name)
            client.apply(viewer.open(name), client.request())
        del viewer
        ml.tick(0.0)
        ml.remove(3)
        ml.upsert(5_000, "online", "Aaron")
        ml.set_payload(5_000, {"n": 5_000})
        ml.upsert(10, "online", "Name 0050 and a half")
        ml.set_payload(20, {"n": -1})
        ml.upsert(950, "offline", "Name 0950")
        ml.tick(1.0)
        request, held = client.reconnect()
        bundle = ml.viewer(resumable=True).resume(json.loads(json.dumps(held)))
        self.assertEqual((bundle.node, bundle.epoch), ("node-1", 1_790_000_000_000))
        self.assertEqual([f["kind"] for f in bundle.to_dict()["frames"]], ["delta", "delta"])
        fresh = ml.viewer(resumable=True)
        sync = sum(len(fresh.open(name).to_binary()) for name in ("c:0", "a:951:20:20"))
        self.assertLess(len(bundle.to_binary()), sync / 3)
        self.assertEqual(client.apply(bundle, request).resync, [])
        self.assertEqual(sorted(client.windows), ["a:951:20:20", "c:0"])
        for window in client.windows.values():
            end = window.base_index + len(window.rows)
            self.assertEqual(window.rows, shown(ml, window.base_index, end))

    def test_windows_come_whole_when_their_versions_are_unknown(self) -> None:
        ml = self.list()
        held = {"window": "c:0", "epoch": {"node": "node-1", "number": 1_790_000_000_000}}
        viewer = ml.viewer(resumable=True)
        version = viewer.open("c:0").to_dict()["frames"][0]["new_version"]
        del viewer
        ml.set_payload(7, {"n": 0})
        ml.tick(0.0)
        others: list[dict[str, Any]] = [
            {**held, "version": 0},
            {**held, "version": 2**64 - 1},
            {**held, "version": version, "epoch": {"node": "node-2", "number": 1_790_000_000_000}},
            {**held, "version": version, "epoch": {"node": "node-1", "number": 1}},
        ]
        for other in others:
            (frame,) = ml.viewer(resumable=True).resume([other]).to_dict()["frames"]
            self.assertEqual(frame["kind"], "sync", other)
        (frame,) = ml.viewer(resumable=True).resume([{**held, "version": version}]).to_dict()["frames"]
        self.assertEqual(frame["kind"], "delta")
        ml.tick(1.0)
        ml.tick(70.0)
        (frame,) = ml.viewer(resumable=True).resume([{**held, "version": version}]).to_dict()["frames"]
        self.assertEqual(frame["kind"], "sync", "away for too long")

    def test_malformed_windows_are_refused(self) -> None:
        ml = self.list()
        good: dict[str, Any] = {"window": "c:0", "epoch": {"node": "n", "number": 1}, "version": 1}
        cases: list[tuple[Any, str]] = [
            ([{}], "malformed"),
            ([None], "malformed"),
            ([{**good, "version": -1}], "malformed"),
            ([{**good, "version": 1.5}], "malformed"),
            ([{**good, "version": 2**64}], "malformed"),
            ([{**good, "epoch": 7}], "malformed"),
            ([{**good, "window": 7}], "malformed"),
            ([good, {**good, "epoch": {"node": "n"}}], "malformed"),
            ([{**good, "window": "c:x"}], "bad_name"),
            ([good, good], "named_twice"),
        ]
        for held, kind in cases:
            viewer = ml.viewer(resumable=True)
            with self.assertRaises(headcount.WindowError) as caught:
                viewer.resume(held)
            self.assertEqual(caught.exception.kind, kind, held)
            self.assertEqual(viewer.windows(), [])
        with self.assertRaisesRegex(headcount.WindowError, r"held\[1\]: "):
            ml.viewer(resumable=True).resume([good, {}])
        for many in (9, 65):
            with self.assertRaises(headcount.LimitError):
                held = [{**good, "window": f"c:{at}"} for at in range(many)]
                ml.viewer(resumable=True).resume(held)
        with self.assertRaises(headcount.WindowError) as caught:
            ml.viewer().resume([good])
        self.assertEqual(caught.exception.kind, "not_resumable")
        with self.assertRaises(ValueError):
            ml.viewer(discord=True, resumable=True)

    def test_a_list_of_a_table_is_resumed(self) -> None:
        table = MemberTable(int, first_epoch=1_790_000_000_000, node="node-1")
        for id in range(200):
            table.upsert(id, f"Name {id:03}")
        view = table.add_list(ListSpec("room", "all"))
        table.build()
        viewer, client = view.viewer(resumable=True), Client()
        client.open("c:0")
        client.apply(viewer.open("c:0"), client.request())
        del viewer
        table.remove(5)
        table.tick(0.0)
        request, held = client.reconnect()
        bundle = view.viewer(resumable=True).resume(held)
        self.assertEqual(bundle.to_dict()["epoch"]["node"], "node-1")
        self.assertEqual(bundle.to_dict()["frames"][0]["kind"], "delta")
        self.assertEqual(client.apply(bundle, request).resync, [])
        self.assertNotIn("5", [row.get("id") for row in client.windows["c:0"].rows])

    def test_epochs_that_clients_would_not_take_are_refused(self) -> None:
        ml = self.list()
        for epoch in (1_790_000_000_000, 5):
            with self.assertRaises(headcount.ListError) as caught:
                ml.begin_epoch("room:7", epoch, node="node-1")
            self.assertEqual(caught.exception.kind, "epoch_not_higher")
        long = "x" * 1025
        with self.assertRaises(headcount.LimitError) as limit:
            ml.begin_epoch("room:7", 2**53)
        self.assertEqual(limit.exception.limit, 2**53 - 1)
        for name, node in ((long, ""), ("room:7", long)):
            with self.assertRaises(headcount.LimitError) as limit:
                ml.begin_epoch(name, 1_790_000_000_001, node=node)
            self.assertEqual(limit.exception.limit, 1024)
        bundle = ml.viewer(resumable=True).open("c:0")
        self.assertEqual((bundle.node, bundle.epoch), ("node-1", 1_790_000_000_000))
        with self.assertRaises(headcount.LimitError):
            MemberTable(int, first_epoch=2**64 - 1)
        with self.assertRaises(headcount.LimitError):
            MemberTable(int, node=long)
        file = io.BytesIO()
        ml.save(file)
        with self.assertRaises(headcount.LimitError):
            MemberList.load(io.BytesIO(file.getvalue()), payloads="json", epoch=2**53)

    def test_the_answer_to_a_search_is_taken_that_another_bundle_has_overtaken(self) -> None:
        ml = MemberList(int, groups=["online"])
        for id in range(100):
            ml.upsert(id, "online", f"name {id}")
        viewer, client = ml.viewer(), Client()
        client.open("c:0")
        client.apply(viewer.open("c:0"), client.request())
        name = MemberList.search_window("name 7")
        request = client.request()
        answer = viewer.open(name)
        ml.upsert(500, "online", "name 70 and more")
        client.open("c:1")  # is not answered yet, so the client asks for nothing else
        bundle = viewer.bundle(ml.tick(1.0))
        assert bundle is not None
        client.apply(bundle)
        client.open(name, request)
        client.apply(answer, request)
        window = client.windows[name]
        self.assertEqual((window.matches, window.waiting), (11, False))

        client.close(name)
        client.switch(["c:0"])
        client.open(name, request)
        self.assertNotIn(name, client.windows, "of another list")
