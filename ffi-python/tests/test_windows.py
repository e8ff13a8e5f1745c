import json
import pathlib
import random
import sys
import unittest
from types import MappingProxyType
from typing import Any

import headcount
from headcount import Bundle, Client, Header, Member, MemberList, Viewer

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "core" / "tests" / "golden"


def vectors() -> list[dict[str, Any]]:
    paths = sorted((GOLDEN / "list-frames").glob("*.json"))
    return [{"name": path.stem, **json.loads(path.read_text())} for path in paths]


def seen(client: Client) -> dict[str, Any]:
    return {
        name: {
            "base_index": window.base_index,
            "rows": window.rows,
            "version": window.version,
            "waiting": window.waiting,
            **({} if window.matches is None else {"matches": window.matches}),
        }
        for name, window in client.windows.items()
    }


def open_found(client: Client, step: dict[str, Any]) -> None:
    """The answer names the window of a search."""
    if "search" in step:
        client.open(step["bundle"]["frames"][0]["window"])


class Vectors(unittest.TestCase):
    """The vectors that every client of the wire format shares."""

    def test_the_client_holds_what_the_vectors_expect(self) -> None:
        checked = 0
        for vector in vectors():
            client = Client()
            answers = [step for step in vector["steps"] if "n" in step]
            for at, step in enumerate(vector["steps"]):
                where = f"{vector['name']}, step {at}"
                if "open" in step:
                    client.open(step["open"])
                if "move" in step:
                    client.close(step["move"][0])
                    client.open(step["move"][1])
                if "close" in step:
                    client.close(step["close"])
                if "receive" not in step:
                    continue
                what = step["receive"]
                if isinstance(what, int):
                    open_found(client, answers[what])
                    what = answers[what]["bundle"]
                applied = client.apply(what)
                expect = step["expect"]
                self.assertEqual(seen(client), expect["windows"], where)
                self.assertEqual(sorted(applied.resync), expect["resync"], where)
                self.assertEqual(applied.resync_counts, expect["resync_counts"], where)
                counts = {k: v for k, v in (client.counts or {}).items() if k != "headers"}
                self.assertEqual(counts or None, expect["counts"], where)
                checked += 1
        self.assertGreater(checked, 150)

    def test_a_list_with_payloads_sends_what_the_vector_says(self) -> None:
        (vector,) = [v for v in vectors() if v["name"] == "payloads"]
        server = vector["server"]
        ml = MemberList(int, groups=server["groups"], payloads="json", headers=server["headers"])
        ml.begin_epoch(server["list"], server["epoch"])
        viewer, people = ml.viewer(), dict[int, dict[str, str]]()
        for step in vector["steps"]:
            bundle = None
            for verb, *args in step.get("do", ()):
                id = int(args[0])
                if verb == "upsert":
                    ml.upsert(id, args[1], args[2], attrs=args[3])
                    people[id] = {"name": args[2]}
                elif verb == "status":
                    people[id]["status"] = args[1]
                elif verb == "rename":
                    ml.set_key(id, args[1])
                    people[id]["name"] = args[1]
                elif verb == "attrs":
                    ml.set_attrs(id, args[1])
                elif verb == "set_group":
                    ml.set_group(id, args[1])
                else:
                    self.fail(verb)
                if verb in ("upsert", "status", "rename"):
                    ml.set_payload(id, people[id])
            if "open" in step:
                bundle = viewer.open(step["open"])
            if "tick" in step:
                bundle = viewer.bundle(ml.tick(step["tick"] / 1_000))
            if "bundle" in step:
                assert bundle is not None
                self.assertEqual(bundle.to_dict(), step["bundle"])
                self.assertEqual(json.loads(bundle.to_json()), step["bundle"])

    def test_other_steps_of_the_vectors_give_the_same_windows(self) -> None:
        """Bodies apart: a Python list has payloads, the vectors' lists have a source of bodies."""
        for vector in vectors():
            if vector["name"] not in ("anchors", "groups", "many-groups", "search"):
                continue
            server = vector["server"]
            ml = MemberList(int, groups=server["groups"], headers=server.get("headers", True))
            ml.begin_epoch(server["list"], server["epoch"])
            viewer = ml.viewer()
            for at, step in enumerate(vector["steps"]):
                bundle = run_step(ml, viewer, step)
                if step.get("bundle") is not None:
                    assert bundle is not None
                    where = f"{vector['name']}, step {at}"
                    self.assertEqual(bundle.to_dict(), bare(step["bundle"]), where)


def run_step(ml: MemberList[int], viewer: Viewer, step: dict[str, Any]) -> Any:
    for verb, *args in step.get("do", ()):
        operate(ml, verb, args)
    window = step.get("open")
    if "search" in step:
        search = step["search"]
        key = search["search"]
        window = MemberList.search_window(key, search.get("page", 0), search.get("group"))
        assert window == step.get("window", window), window
    if window is not None:
        if "error" not in step:
            return viewer.open(window)
        try:
            viewer.open(window)
        except (headcount.WindowError, headcount.LimitError) as error:
            assert str(error) == step["error"]
        else:
            raise AssertionError(step)
    if "move" in step:
        return viewer.retarget(*step["move"])
    if "close" in step and step["close"] in viewer.windows():
        viewer.close(step["close"])
    if "resync" in step:
        return viewer.resync(step["resync"])
    if "tick" in step:
        return viewer.bundle(ml.tick(step["tick"] / 1_000))
    if "hidden" in step:
        viewer.set_hidden(step["hidden"])
        return None if step["hidden"] else viewer.catch_up()
    return None


def operate(ml: MemberList[int], verb: str, args: list[Any]) -> None:
    match verb, *args:
        case "upsert", id, group, name, attrs:
            ml.upsert(int(id), group, name, attrs=attrs)
        case "remove", id:
            ml.remove(int(id))
        case "set_group", id, group:
            ml.set_group(int(id), group)
        case "rename", id, name:
            ml.set_key(int(id), name)
            ml.touch(int(id))
        case ("status", id, _) | ("touch", id):
            ml.touch(int(id))
        case "attrs", id, attrs:
            ml.set_attrs(int(id), attrs)
        case "hide", group, hidden:
            ml.set_group_hidden(group, hidden)
        case "collapse", group, collapsed:
            ml.set_group_collapsed(group, collapsed)
        case "order", groups:
            ml.set_groups(groups)
        case "merge", group, to:
            ml.merge_group(group, to)
        case "rename_group", group, to:
            ml.rename_group(group, to)
        case _:
            raise AssertionError(verb)


def bare(value: Any) -> Any:
    """The same without bodies and patches."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if k not in ("body", "patch")}
    return [bare(item) for item in value] if isinstance(value, list) else value


def shown(ml: MemberList[int], start: int, end: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for row in ml[start:end]:
        match row:
            case Header(group, count):
                rows.append({"group": group, "count": count})
            case Member(id):
                fields = {"id": str(id), "revision": row.revision, "body": json.loads(row.payload)}
                rows.append({**fields, "attrs": row.attrs} if row.attrs else fields)
    return rows


class EndToEnd(unittest.TestCase):
    def test_client_windows_equal_server_windows_over_a_bad_line(self) -> None:
        rng = random.Random(11)
        ml = MemberList(int, groups=["online", "idle", "offline"], payloads="json")
        for id in range(400):
            ml.upsert(id, rng.choice(["online", "offline"]), f"{rng.randrange(99)}")
            ml.set_payload(id, {"n": id})
        viewer, client = ml.viewer(), Client()
        for name in ("c:0", "c:2", "a:7:5:5", "f:9:20:20", "g:offline:3:9"):
            client.open(name)
            client.apply(viewer.open(name))
        late: list[bytes] = []
        for tick in range(200):
            for _ in range(rng.randrange(6)):
                id, group = rng.randrange(420), rng.choice(["online", "idle", "offline"])
                if rng.random() < 0.2:
                    ml.remove(id)
                else:
                    ml.upsert(id, group, f"{rng.randrange(99)}", attrs=rng.randrange(3))
                    ml.set_payload(id, {"n": rng.randrange(5)})
            bundle = viewer.bundle(ml.tick(tick * 0.25))
            fate, wanted = rng.random(), set[str]()
            if bundle is not None and fate < 0.1:
                late.append(bundle.to_json())
            elif bundle is not None and fate > 0.2:
                for _ in range(1 + (fate > 0.9)):
                    wanted.update(client.apply(bundle.to_json()).resync)
            if late and rng.random() < 0.3:
                wanted.update(client.apply(late.pop()).resync)
            if wanted:
                client.apply(viewer.resync(sorted(wanted)))
        for id in range(400):
            if id not in ml:
                ml.upsert(id, "online", "back")
            ml.set_payload(id, {"back": id})
        wanted = set[str]()
        bundle = viewer.bundle(ml.tick(60))
        assert bundle is not None
        wanted.update(client.apply(bundle.to_json()).resync)
        wanted.update(name for name, window in client.windows.items() if window.waiting)
        client.apply(viewer.resync(sorted(wanted)))
        self.assertEqual(sorted(client.windows), sorted(viewer.windows()))
        for name, window in client.windows.items():
            self.assertFalse(window.waiting, name)
            start, end = window.base_index, window.base_index + len(window.rows)
            self.assertEqual(window.rows, shown(ml, start, end), name)
        assert client.counts is not None
        self.assertEqual(client.counts["rows"], len(ml))

    def test_a_slow_viewer_gets_one_sync(self) -> None:
        ml = MemberList(int, groups=["g"])
        viewer, client = ml.viewer(), Client()
        client.open("c:0")
        client.apply(viewer.open("c:0"))
        for id in range(20):
            ml.upsert(id, "g", id)
            tick = ml.tick(id)
        bundle = viewer.bundle(tick)
        self.assertTrue(viewer.is_stale())
        if bundle is not None:
            client.apply(bundle)
        caught_up = viewer.catch_up()
        self.assertEqual(caught_up.windows, ["c:0"])
        client.apply(caught_up)
        self.assertEqual(len(client.windows["c:0"].rows), 21)
        self.assertFalse(viewer.is_stale())
        self.assertFalse(ml.tick(20), "nothing happened")

    def test_any_tick_may_be_left_out(self) -> None:
        rng = random.Random(11)
        ml = MemberList(int, groups=["g", "h"], payloads="json")
        for id in range(150):
            ml.upsert(id, "g", id)
            ml.set_payload(id, {"n": id})
        viewer, client = ml.viewer(), Client()
        client.open("c:0")
        client.apply(viewer.open("c:0"))
        members = 150
        for now in range(100):
            if rng.randrange(2):
                ml.upsert(members, "h", members)
                members += 1
            if rng.randrange(2):
                ml.touch(rng.randrange(150))
            tick = ml.tick(now)
            if tick and rng.randrange(2):
                bundle = viewer.bundle(tick)
                if bundle is not None:
                    client.apply(bundle)
        for now in range(100, 102):
            tick = ml.tick(now)
            bundle = viewer.bundle(tick) if tick else None
            if bundle is not None:
                self.assertEqual(client.apply(bundle).resync, [])
        self.assertFalse(viewer.is_stale())
        self.assertEqual(client.windows["c:0"].rows, shown(ml, 0, 100))
        assert client.counts is not None
        self.assertEqual(client.counts["members"], members)
        self.assertFalse(ml.tick(103))

    def test_the_binary_form_says_the_same(self) -> None:
        ml = MemberList(int, groups=["g"], payloads="json")
        viewer = ml.viewer()
        bundles = [viewer.open("c:0")]
        for now, id in enumerate((3, -1, 2**64 - 1, -(2**63), 251)):
            ml.upsert(id, "g", -now % 3)
            ml.set_payload(id, {"n": now})
            bundle = viewer.bundle(ml.tick(now))
            assert bundle is not None
            bundles.append(bundle)
        rng = random.Random(3)
        for bundle in bundles:
            binary = bundle.to_binary()
            again = Bundle.from_binary(memoryview(binary), int)
            self.assertEqual(again.to_dict(), bundle.to_dict())
            self.assertEqual((again.version, again.epoch, again.windows), (bundle.version, 1, ["c:0"]))
            self.assertLess(len(binary), len(bundle.to_json()))
            for _ in range(100):
                broken = bytearray(binary)
                broken[rng.randrange(len(broken))] ^= rng.randrange(1, 256)
                with self.assertRaises(headcount.DecodeError):
                    Bundle.from_binary(broken, int)

    def test_discord_events(self) -> None:
        ml = MemberList(int, groups=["online"], payloads="json")
        for id in (1, 2):
            ml.upsert(id, "online", id)
            ml.set_payload(id, {"user": {"id": str(id)}})
        viewer = ml.viewer(discord=True)
        data = json.loads(viewer.open("c:0").to_discord("77"))
        (sync,) = data["ops"]
        self.assertEqual((sync["op"], sync["range"], data["guild_id"]), ("SYNC", [0, 99], "77"))
        self.assertEqual(len(sync["items"]), 3)
        ml.remove(1)
        bundle = viewer.bundle(ml.tick(0))
        assert bundle is not None
        ops = json.loads(bundle.to_discord("77"))["ops"]
        self.assertIn({"op": "DELETE", "index": 1}, ops)
        viewer.close("c:0")
        event = json.loads(viewer.invalidate(0, "77"))
        self.assertEqual(event["ops"], [{"op": "INVALIDATE", "range": [0, 99]}])
        self.assertEqual((event["guild_id"], event["id"]), ("77", "everyone"))
        with self.assertRaises(OverflowError):
            viewer.invalidate(-1, "77")
        with self.assertRaises(headcount.WindowError) as caught:
            viewer.open("a:2:1:1")
        self.assertEqual(caught.exception.kind, "unsupported")

    def test_every_kind_of_id(self) -> None:
        import uuid

        one = uuid.UUID(int=1)
        ids: list[tuple[MemberList[Any], Any]] = [
            (MemberList(groups=["g"]), "a:b"),
            (MemberList(uuid.UUID, groups=["g"]), one),
        ]
        for ml, id in ids:
            ml.upsert(id, "g", "x")
            bundle = ml.viewer().open(f"a:{id}:1:1")
            self.assertEqual(bundle.to_dict()["frames"][0]["rows"][1]["id"], str(id))


class Refusals(unittest.TestCase):
    def test_windows_that_cannot_be(self) -> None:
        ml = MemberList(int, groups=["g"])
        ml.upsert(1, "g", "x")
        viewer = ml.viewer()
        for bad in ("", "c", "c:-1", "c:01", "x:1", "a:1:1", "a:y:1:1", "a:01:1:1", "\0"):
            with self.assertRaises(headcount.WindowError) as caught:
                viewer.open(bad)
            self.assertEqual(caught.exception.kind, "bad_name")
        with self.assertRaises(headcount.WindowError):
            viewer.open("a:77:1:1")
        for high in ("c:4294967295", "a:1:250:250"):
            with self.assertRaises(headcount.LimitError):
                viewer.open(high)
        for call in (viewer.close, lambda name: viewer.resync([name]), lambda n: viewer.retarget(n, "c:0")):
            with self.assertRaises(headcount.WindowError):
                call("c:5")
        for chunk in range(8):
            viewer.open(f"c:{chunk}")
        with self.assertRaises(headcount.LimitError) as limit:
            viewer.open("c:8")
        self.assertEqual(limit.exception.limit, 8)
        self.assertEqual(len(viewer.windows()), 8)
        with self.assertRaises(UnicodeEncodeError):
            viewer.open("c:\ud800")
        with self.assertRaises(ValueError):
            viewer.bundle(MemberList(int, groups=["g"]).tick(0))
        with self.assertRaises(ValueError):
            viewer.bundle(MemberList(str, groups=["g"]).tick(0))
        with self.assertRaises(ValueError):
            ml.tick(-1)

    def test_a_client_refuses_what_is_no_bundle(self) -> None:
        ml = MemberList(int, groups=["g"])
        ml.upsert(1, "g", "x")
        viewer, client = ml.viewer(), Client()
        client.open("c:0")
        good = viewer.open("c:0").to_json()
        client.apply(good)
        before, rng = seen(client), random.Random(6)
        junk: list[Any] = [b"", "", b"\xff", "{", "[]", "1", {}, {"epoch": 1}, b"[" * 100_000]
        for bundle in junk:
            with self.assertRaises(headcount.DecodeError):
                client.apply(bundle)
        ml.upsert(2, "g", "y")
        delta = viewer.bundle(ml.tick(1))
        assert delta is not None
        parts = [b"null", b"-1", b'"x"', b"[]", b"{}", b"1e9", b"true"]
        for _ in range(3_000):
            bad = bytearray(delta.to_json())
            at = rng.randrange(len(bad))
            if rng.random() < 0.5:
                bad[at] = rng.randrange(256)
            else:
                bad[at : at + rng.randrange(8)] = rng.choice(parts)
            fresh = Client()
            fresh.open("c:0")
            fresh.apply(good)
            try:
                applied = fresh.apply(bytes(bad))
            except headcount.DecodeError:
                self.assertEqual(seen(fresh), before)
            else:
                # One that the bundle changes and does not name among its windows is both.
                both = "c:0" in applied.changed and "c:0" not in json.loads(bytes(bad)).get("windows", [])
                if applied.resync and not both:
                    self.assertEqual(fresh.windows["c:0"].rows, before["c:0"]["rows"])
        client.apply(delta)
        self.assertEqual(len(client.windows["c:0"].rows), 3)

    def test_a_bundle_with_one_fault_changes_nothing_at_all(self) -> None:
        ml = MemberList(int, groups=["g"])
        for id in range(3):
            ml.upsert(id, "g", id)
        viewer, client = ml.viewer(), Client()
        client.open("c:0")
        client.apply(viewer.open("c:0"))
        for id in range(3, 6):
            ml.upsert(id, "g", id)
        delta = viewer.bundle(ml.tick(1))
        assert delta is not None
        before, counts = seen(client), client.counts
        deep: Any = "x"
        for _ in range(sys.getrecursionlimit() - 100):
            deep = [deep]
        deep_text = "[" * 200_000 + "]" * 200_000
        good = delta.to_dict()
        second = {**good["frames"][0], "window": "c:1"}
        changes: list[dict[str, Any]] = [
            {"windows": [f"c:{n}" for n in range(9)]},
            {"windows": ["c:0"] * 10_000},
            {"frames": [*good["frames"], {**second, "deletes": None}]},
            {"frames": [*good["frames"], {k: v for k, v in second.items() if k != "updates"}]},
            {"frames": [*good["frames"], {k: v for k, v in second.items() if k != "new_version"}]},
            {"frames": [*good["frames"], {**second, "inserts": [None]}]},
            {"frames": [*good["frames"], {**second, "inserts": [{"index": 0, "move": deep}]}]},
            {"frames": good["frames"] * 65},
            {"counts": {}},
            {"bases": [{"window": "c:0", "base_index": -1}]},
            {"version": 1.5},
        ]
        for change in changes:
            bad = {**good, **change}
            for form in (bad, MappingProxyType(bad), json.dumps(bad), json.dumps(bad).encode()):
                with self.assertRaises(headcount.DecodeError):
                    client.apply(form)
                self.assertEqual(seen(client), before)
                self.assertEqual(client.counts, counts)
        row = '{"id":"DEEP","revision":1}'.replace('"DEEP"', deep_text)
        with self.assertRaises(headcount.DecodeError) as caught:
            client.apply(delta.to_json().replace(b'"inserts":[', b'"inserts":[{"index":0,"row":%b},' % row.encode()))
        self.assertGreater(caught.exception.offset, 0)
        self.assertEqual(seen(client), before)
        self.assertEqual(client.apply(MappingProxyType(good)).changed, ["c:0"])

    def test_bodies_of_every_shape_are_shown_as_json_shows_them(self) -> None:
        bodies: list[Any] = [None, True, 0, -1, 2**70, 1.5, 1e300, "", "é\n\"", [], [[1]], {}, {"a": {"b": None}}]
        ml = MemberList(int, groups=["g"], payloads="json")
        viewer, client = ml.viewer(), Client()
        for id, body in enumerate(bodies):
            ml.upsert(id, "g", id)
            ml.set_payload(id, body)
        client.open("c:0")
        client.apply(viewer.open("c:0"))
        self.assertEqual([row["body"] for row in client.windows["c:0"].rows[1:]], bodies)
        raw = MemberList(int, groups=["g"], payloads="raw")
        raw.upsert(1, "g", 1)
        raw.set_payload(1, b"\xff")
        client = Client()
        client.open("c:0")
        client.apply(raw.viewer().open("c:0"))
        self.assertEqual(client.windows["c:0"].rows[1]["body"], {"base64": "/w=="})


if __name__ == "__main__":
    unittest.main()
