//! No import circle in core and in the server: files can be read in one order, each after those
//! that it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

use crate::support::sources::{assert_none, files, root};

/// The other rooms that a room may use, by folder. All of them may use [`COMMON`].
const ROOMS: &[(&str, &[&str])] = &[
    ("member_list/tree", &[]),
    ("member_list/changes", &[]),
    ("member_list/frames", &[]),
    (
        "member_list/store",
        &["member_list/tree", "member_list/changes"],
    ),
    (
        "member_list/saves",
        &["member_list/store", "member_list/tree"],
    ),
    (
        "member_list/windows",
        &[
            "member_list/store",
            "member_list/changes",
            "member_list/frames",
        ],
    ),
    (
        "member_list/table",
        &[
            "member_list/saves",
            "member_list/snapshot",
            "member_list/store",
            "member_list/changes",
            "member_list/frames",
            "member_list/tree",
            "member_list/viewer",
            "member_list/windows",
        ],
    ),
];

/// The files before the rooms of a module: values, bounds and errors.
const COMMON: &[&str] = &[
    "member_list/attrs",
    "member_list/error",
    "member_list/id",
    "member_list/int_id",
    "member_list/limits",
    "member_list/load_error",
    "member_list/options",
    "member_list/sort_key",
    "member_list/table_error",
];

#[test]
fn no_files_of_core_import_each_other_in_a_circle() {
    assert_circles("core/src");
}

#[test]
fn no_files_of_the_server_import_each_other_in_a_circle() {
    assert_circles("reference-server/src");
}

#[test]
fn the_rooms_of_a_module_only_point_one_way() {
    let modules = modules_of("core/src");
    let mut wrong = Vec::new();
    for (file, used) in modules.arrows() {
        let Some((room, allowed)) = ROOMS.iter().find(|(room, _)| is_in(file, room)) else {
            continue;
        };
        let module = room.split('/').next().unwrap_or_default();
        let may = |used: &str| {
            is_in(used, room)
                || !is_in(used, module)
                || COMMON.contains(&used)
                || allowed.iter().any(|other| is_in(used, other))
        };
        let bad = used.into_iter().filter(|used| !may(used));
        wrong.extend(bad.map(|used| format!("{file} may not use {used}")));
    }
    assert_none("arrows between rooms that point the wrong way", &wrong);
}

fn is_in(file: &str, folder: &str) -> bool {
    let rest = file.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn assert_circles(folder: &str) {
    let modules = modules_of(folder);
    let found = circles(&modules.arrows());
    assert!(found.is_empty(), "circles in {folder}: {found:?}");
}

/// Reads and parses the modules below a folder, without the roots of its crate and files of tests.
fn modules_of(folder: &str) -> Modules {
    let source = root().join(folder);
    let modules = files(&source, "rs").into_iter().map(|file| {
        let path = file
            .strip_prefix(&source)
            .expect("the file was found below the folder");
        let path = path.with_extension("").display().to_string();
        let code = fs::read_to_string(&file).expect("a source file can be read");
        (path.strip_suffix("/mod").unwrap_or(&path).to_owned(), code)
    });
    let is_code = |name: &str| !["lib", "main"].contains(&name) && !name.ends_with("/tests");
    Modules::parse(modules.filter(|(name, _)| is_code(name)))
}

#[test]
fn the_finder_of_circles_sees_what_it_should() {
    let modules = [
        ("list", "mod store; mod tree; pub use store::Cell;"),
        ("list/store", "use super::tree::{Node, walk}; fn f() {}"),
        (
            "list/tree",
            "fn g(cell: &crate::list::Cell) {} #[cfg(test)] mod tests { use crate::list::other::A; }",
        ),
        ("list/other", "use super::tree::Node;"),
    ];
    let modules = modules.map(|(name, code)| (name.to_owned(), code.to_owned()));
    let modules = Modules::parse(modules.into_iter());
    let arrows = modules.arrows();
    assert_eq!(arrows["list/store"], BTreeSet::from(["list/tree"]));
    assert_eq!(arrows["list/tree"], BTreeSet::from(["list/store"]));
    assert_eq!(arrows["list/other"], BTreeSet::from(["list/tree"]));
    assert_eq!(circles(&arrows), [["list/store", "list/tree"]]);
}

/// The modules that each module names.
type Arrows<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// A path of names from the root of the crate.
type Path = Vec<String>;

/// The names that each module uses and re-exports, by the module's own path.
struct Modules(BTreeMap<String, Names>);

impl Modules {
    fn parse(modules: impl Iterator<Item = (String, String)>) -> Self {
        let parsed = modules.map(|(module, code)| {
            let file = syn::parse_file(&code).unwrap_or_else(|error| panic!("{module}: {error}"));
            let mut names = Names::of(&module);
            names.visit_file(&file);
            (module, names)
        });
        Self(parsed.collect())
    }

    /// Returns the arrows between files. A folder's own file may name the files in it: that is no
    /// arrow. A name that a folder re-exports is an arrow to the file that declares it.
    fn arrows(&self) -> Arrows<'_> {
        let arrows_of = |(module, names): (&'_ String, &Names)| {
            let targets = names.used.iter().filter_map(|path| self.declared_in(path));
            targets.filter(|target| target != module).collect()
        };
        self.0
            .iter()
            .map(|entry| (entry.0.as_str(), arrows_of(entry)))
            .collect()
    }

    /// Returns the module that declares what a path names; `None` for a path to a folder, and to
    /// other crates.
    fn declared_in(&self, path: &[String]) -> Option<&str> {
        let (module, rest) = self.longest_module(path)?;
        let exported = self.0[module]
            .exports
            .iter()
            .find(|export| rest.first().is_some_and(|name| export.last() == Some(name)));
        match exported {
            Some(export) if self.longest_module(export)?.0 != module => self.declared_in(export),
            _ if rest.is_empty()
                && self
                    .0
                    .keys()
                    .any(|other| other.starts_with(&format!("{module}/"))) =>
            {
                None
            }
            _ => Some(module),
        }
    }

    /// Splits a path into the longest module that it begins with, and the rest.
    fn longest_module<'p>(&self, path: &'p [String]) -> Option<(&str, &'p [String])> {
        (1..=path.len()).rev().find_map(|len| {
            let (module, _) = self.0.get_key_value(&path[..len].join("/"))?;
            Some((module.as_str(), &path[len..]))
        })
    }
}

/// Collects the paths of one file.
struct Names {
    module: Path,
    used: Vec<Path>,
    exports: Vec<Path>,
}

impl Names {
    fn of(module: &str) -> Self {
        Self {
            module: module.split('/').map(str::to_owned).collect(),
            used: Vec::new(),
            exports: Vec::new(),
        }
    }

    /// Returns a path as seen from the crate's root; `None` when it does not begin with `crate` or
    /// `super`.
    fn absolute(&self, path: &[String]) -> Option<Path> {
        let supers = path.iter().take_while(|name| *name == "super").count();
        if supers > 0 {
            let above = self.module.len().checked_sub(supers)?;
            return Some([&self.module[..above], &path[supers..]].concat());
        }
        (path.first()? == "crate").then(|| path[1..].to_vec())
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        let is_test =
            matches!(item, Item::Mod(ItemMod { attrs, .. }) if attrs.iter().any(is_cfg_test));
        if !is_test {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_export = !matches!(item.vis, Visibility::Inherited);
        for path in leaves(&item.tree, &[]) {
            match self.absolute(&path) {
                Some(path) if !is_export => self.used.push(path),
                Some(path) => self.exports.push(path),
                None if is_export => self.exports.push([self.module.as_slice(), &path].concat()),
                None => {}
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Path = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.used.extend(self.absolute(&names));
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn is_cfg_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|path| path.is_ident("test"))
}

/// Returns the paths that a `use` names.
fn leaves(tree: &UseTree, base: &[String]) -> Vec<Path> {
    let below = |name: &syn::Ident| [base, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &below(&path.ident)),
        UseTree::Group(group) => group
            .items
            .iter()
            .flat_map(|item| leaves(item, base))
            .collect(),
        UseTree::Name(name) if name.ident == "self" => vec![base.to_vec()],
        UseTree::Name(name) => vec![below(&name.ident)],
        UseTree::Rename(rename) => vec![below(&rename.ident)],
        UseTree::Glob(_) => vec![base.to_vec()],
    }
}

/// Returns the groups of modules that reach each other.
fn circles<'a>(arrows: &Arrows<'a>) -> Vec<Vec<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows
        .keys()
        .map(|module| (*module, reach(arrows, module)))
        .collect();
    let mut circles = BTreeSet::new();
    for (module, seen) in &reached {
        let circle: Vec<&str> = seen
            .iter()
            .copied()
            .filter(|other| reached[other].contains(module))
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn reach<'a>(arrows: &Arrows<'a>, start: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = arrows[start].iter().copied().collect();
    while let Some(module) = open.pop() {
        if seen.insert(module) {
            open.extend(arrows.get(module).into_iter().flatten());
        }
    }
    seen
}
