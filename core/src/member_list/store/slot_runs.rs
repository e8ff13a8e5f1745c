//! The part of a tree's context that is the same for all trees of member slots.

/// Makes the methods of a [`TreeContext`](crate::member_list::tree::TreeContext) that work on
/// [`LeafSlots`](super::leaf::LeafSlots). The context has the keys of its order in a field `keys`,
/// the members in `cells`, and compares two of them with `order`.
macro_rules! slot_runs {
    () => {
        const LEAF: usize = SLOTS;
        const WINDOW: usize = 6;
        type Run = LeafSlots;
        type Entry = u32;
        type Probe<'p>
            = (&'p Needle<'p>, Option<&'p I>)
        where
            Self: 'p;

        fn empty(&self) -> LeafSlots {
            LeafSlots::EMPTY
        }

        fn len(run: &LeafSlots) -> usize {
            run.slots().len()
        }

        fn entry(run: &LeafSlots, at: usize) -> &u32 {
            &run.slots()[at]
        }

        fn rank(&self, run: &LeafSlots, probe: (&Needle<'_>, Option<&I>)) -> Result<usize, usize> {
            rank(&self.cells, &self.keys, run, probe)
        }

        fn insert(&self, run: &mut LeafSlots, at: usize, slot: u32) {
            run.insert(&self.keys, at, slot);
            self.check_written(run);
        }

        fn set(&self, run: &mut LeafSlots, at: usize, slot: u32) {
            run.set(&self.keys, at, slot);
            self.check_written(run);
        }

        fn replace(run: &mut LeafSlots, at: usize, slot: u32) {
            run.replace(at, slot);
        }

        fn remove(&self, run: &mut LeafSlots, at: usize) -> u32 {
            let slot = run.remove(at);
            self.check_written(run);
            slot
        }

        fn split_off(&self, run: &mut LeafSlots, at: usize) -> LeafSlots {
            let tail = run.split_off(at);
            self.check_written(run);
            self.check_written(&tail);
            tail
        }

        fn fill(&self, run: &mut LeafSlots, slots: impl Iterator<Item = u32>) {
            run.fill(&self.keys, slots);
            self.check_written(run);
        }

        fn append(&self, run: &mut LeafSlots, tail: LeafSlots) {
            run.append(&self.keys, &tail);
            self.check_written(run);
        }

        fn check_run(&self, run: &LeafSlots) {
            let ascends = |a: &u32, b: &u32| self.is_before(a, b);
            assert!(run.slots().is_sorted_by(ascends), "a run out of order");
            run.check(&self.keys);
        }

        fn is_before(&self, &a: &u32, &b: &u32) -> bool {
            self.order(a, b).is_lt()
        }
    };
}
pub(super) use slot_runs;
