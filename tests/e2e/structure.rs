//! The modules of a crate have an order, and each imports only earlier ones. So no two modules
//! depend on each other, directly or in a circle. [`layers`] has the orders. The crates that we build
//! on are as deny.toml says ([`dependencies`]).

mod dependencies;
mod imports;
mod layers;

use std::collections::{BTreeMap, BTreeSet};

use tests::documents::Page;
use tests::files::below;

use imports::imports;
use layers::{DEVICES, HOST, LAUNCHER, MACHINE, WIRE};

/// The modules that each top-level module of a crate imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn modules_of_the_launcher_import_only_earlier_modules() {
    check("launcher/src", &LAUNCHER);
}

#[test]
fn modules_of_devices_import_only_earlier_modules() {
    check("devices/src", &DEVICES);
}

#[test]
fn modules_of_machine_import_only_earlier_modules() {
    check("launcher/machine/src", &MACHINE);
}

#[test]
fn modules_of_host_import_only_earlier_modules() {
    check("launcher/host/src", &HOST);
}

#[test]
fn modules_of_wire_import_only_earlier_modules() {
    check("launcher/wire/src", &WIRE);
}

/// The crates below the launcher itself, each with those of ours that it may depend on.
const CRATES: [(&str, &[&str]); 4] = [
    ("devices", &[]),
    ("launcher/wire", &[]),
    ("launcher/machine", &["devices"]),
    ("launcher/host", &["devices"]),
];

#[test]
fn a_crate_depends_only_on_crates_below_it() {
    for (directory, allowed) in CRATES {
        let manifest = Page::root().join(directory).join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        assert_eq!(ours(&manifest), allowed, "{directory}/Cargo.toml");
    }
    let planted = "[dependencies]\nhost = { path = \"../host\" }\nlibc = \"1\"\n[features]\n";
    assert_eq!(ours(planted), ["host"]);
}

/// The crates of this repository that a manifest depends on.
fn ours(manifest: &str) -> Vec<&str> {
    let from = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = from.take_while(|line| !line.starts_with('['));
    lines.filter(|line| line.contains("path =")).filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn an_upward_import_is_found() {
    let order = ["low", "high"];
    let graph = |from: &str, to: &str| Graph::from([(from.into(), BTreeSet::from([to.into()]))]);
    assert_eq!(upward(&graph("high", "low"), &order), []);
    assert_eq!(upward(&graph("low", "high"), &order), [("low".into(), "high".into())]);
}

#[track_caller]
fn check(source: &str, order: &[&str]) {
    let graph = graph(source);
    let modules: BTreeSet<_> = graph.keys().map(String::as_str).collect();
    let listed: BTreeSet<_> = order.iter().copied().collect();
    assert_eq!(modules, listed, "{source}: tests/e2e/structure/layers.rs lists every module once");
    let upward = upward(&graph, order);
    assert!(upward.is_empty(), "{source}: imports of a later module: {upward:#?}");
}

/// Returns the imports (importer, imported) whose target does not come before the importer.
fn upward(graph: &Graph, order: &[&str]) -> Vec<(String, String)> {
    let place = |module: &str| order.iter().position(|it| *it == module);
    let edges = graph.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
    let upward = edges.filter(|(from, to)| place(to) >= place(from));
    upward.map(|(from, to)| (from.clone(), to.clone())).collect()
}

fn graph(source: &str) -> Graph {
    let root = Page::root().join(source);
    let mut graph = Graph::new();
    for path in below_all(&root) {
        let inside = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let path_of_module: Vec<_> = inside.trim_end_matches(".rs").split('/').collect();
        // Tests and their helpers may import anything.
        if matches!(path_of_module.first(), Some(&"lib" | &"main" | &"testing"))
            || path_of_module.contains(&"tests")
        {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let module = path_of_module.first().unwrap();
        let imported = imports(&text, &path_of_module);
        let imported = imported.into_iter().filter(|it| it != module && root_has(&root, it));
        graph.entry((*module).to_string()).or_default().extend(imported);
    }
    graph
}

/// Whether a crate has this top-level module: `crate::Name` may also be an item of its root.
fn root_has(root: &std::path::Path, module: &str) -> bool {
    root.join(format!("{module}.rs")).exists()
}

fn below_all(root: &std::path::Path) -> Vec<std::path::PathBuf> {
    let (mut left, mut found) = (vec![root.to_path_buf()], Vec::new());
    while let Some(directory) = left.pop() {
        for path in below(&directory) {
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
    }
    found
}
