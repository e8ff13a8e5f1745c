//! Real-time presence as a delta-CRDT, and sorted, sliced member lists for millions.
#![forbid(unsafe_code)]
