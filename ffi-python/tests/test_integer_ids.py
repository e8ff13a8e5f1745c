"""Ids that are integers, below 0 too, and what stands for integers."""

import copy
import pickle
import random
import unittest

import headcount
from headcount import Client, Member, MemberList
from test_member_list import index


class Integers(unittest.TestCase):
    def test_negative_ids_are_ordered_as_numbers(self) -> None:
        ids = [-(2**63), -(2**63) + 1, -(2**32), -5, -1, 0, 3, 2**63 - 1, 2**63, 2**64 - 5, 2**64 - 1]
        ml = MemberList(int, groups=["g", "h"], headers=False, payloads="json")
        shuffled = random.Random(5).sample(ids, len(ids))
        report = ml.bulk_load([(id, "g", "the same") for id in shuffled[:6]] + [(shuffled[0], "h", "again")])
        self.assertEqual((report.loaded, report.duplicates), (6, [(6, shuffled[0])]))
        ml.apply_batch([("upsert", index(id), "g", "the same") for id in shuffled[6:]])
        self.assertEqual([row.id for row in ml if isinstance(row, Member)], ids)
        for at, id in enumerate(ids):
            self.assertEqual((id in ml, ml.index(index(id)), ml[at]), (True, at, ml.get(id)))
            self.assertEqual(ml.set_payload(id, {"n": id}), at)
        self.assertEqual(repr(ml.get(-5)), "Member(id=-5, group='g', revision=1, attrs=0)")
        self.assertEqual(ml.index_of_many([-5, -6, 3]), [3, None, 6])
        self.assertEqual(ml.rows_of([-6, -1]), [None, (4, ml.get(-1))])
        self.assertEqual(ml.snapshot().get(-(2**63)), ml[0])
        for copied in (copy.copy(ml), pickle.loads(pickle.dumps(ml))):
            self.assertEqual(list(copied), list(ml))
        self.assertEqual(ml.set_group_many([-5, 3], "h"), 2)
        self.assertEqual((ml.remove(-1), ml.remove(-2)), (3, None))
        with self.assertRaisesRegex(headcount.UnknownMember, "-7"):
            ml.index(-7)

    def test_windows_name_negative_ids(self) -> None:
        ml = MemberList(int, groups=["g"], headers=False)
        viewer, client = ml.viewer(), Client()
        for id in (-(2**63), -5, 3, 2**64 - 1):
            ml.upsert(id, "g", "x")
        client.open("a:-5:1:1")
        client.apply(viewer.open("a:-5:1:1"))
        rows = client.windows["a:-5:1:1"].rows
        self.assertEqual([row["id"] for row in rows], [str(-(2**63)), "-5", "3"])
        for name in ("a:-05:1:1", "a:--5:1:1", "a:-0:1:1", f"a:{-(2**63) - 1}:1:1"):
            with self.assertRaises(headcount.WindowError):
                viewer.open(name)


if __name__ == "__main__":
    unittest.main()
