//! The examples run, and what they assert holds.

use std::error::Error;

#[path = "../../examples/many_lists.rs"]
mod many_lists;
#[path = "../../examples/presence_to_list.rs"]
mod presence_to_list;
#[path = "../../examples/two_nodes.rs"]
mod two_nodes;
#[path = "../../examples/watched_list.rs"]
mod watched_list;

#[test]
fn two_nodes_runs() -> Result<(), Box<dyn Error>> {
    two_nodes::main()
}

#[test]
fn watched_list_runs() -> Result<(), Box<dyn Error>> {
    watched_list::main()
}

#[test]
fn many_lists_runs() -> Result<(), Box<dyn Error>> {
    many_lists::main()
}

#[test]
fn presence_to_list_runs() -> Result<(), Box<dyn Error>> {
    presence_to_list::main()
}
