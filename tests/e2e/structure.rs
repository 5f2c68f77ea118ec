//! The modules of a crate have an order, and each imports only earlier ones. So no two modules
//! depend on each other, directly or in a circle. [`layers`] has the orders. The crates that we build
//! on are as deny.toml says ([`dependencies`]).

mod dependencies;
mod imports;
mod layers;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use serde_json::{Value, json};
use tests::documents::Page;
use tests::files::below;

use imports::imports;
use layers::{DEVICES, HOST, LAUNCHER, MACHINE, WIRE};

/// The modules that each top-level module of a crate imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The directories of the crates, with the orders of their modules.
const CRATES: [(&str, &[&str]); 5] = [
    ("devices/src", &DEVICES),
    ("launcher/wire/src", &WIRE),
    ("launcher/machine/src", &MACHINE),
    ("launcher/host/src", &HOST),
    ("launcher/src", &LAUNCHER),
];

#[test]
fn modules_import_only_earlier_modules_of_their_crate() {
    for (source, order) in CRATES {
        check(source, order);
    }
}

/// All packages of the workspace but the tests, each with those of ours that it may depend on.
const PACKAGES: [(&str, &[&str]); 6] = [
    ("devices", &[]),
    ("host", &["devices"]),
    ("lguest", &["devices", "host", "lguest-init", "machine", "wire"]),
    ("lguest-init", &[]),
    ("machine", &["devices"]),
    ("wire", &[]),
];

#[test]
fn a_crate_depends_only_on_crates_below_it() {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--locked", "--no-deps", "--format-version=1"]);
    let output = command.current_dir(Page::root()).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter().map(ours);
    let found: BTreeMap<_, _> = packages.filter(|(name, _)| *name != "tests").collect();
    let allowed = PACKAGES.map(|(name, ours)| (name, ours.iter().copied().collect()));
    assert_eq!(found, BTreeMap::from(allowed));
}

/// The name of a package, and those of this repository that it depends on, but for its tests.
fn ours(package: &Value) -> (&str, BTreeSet<&str>) {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    let ours = dependencies.filter(|it| it["path"].is_string() && it["kind"] != "dev");
    (package["name"].as_str().unwrap(), ours.map(|it| it["name"].as_str().unwrap()).collect())
}

#[test]
fn every_kind_of_dependency_on_ours_is_seen_but_those_of_tests() {
    let package = json!({ "name": "wire", "dependencies": [
        { "name": "host", "path": "/launcher/host", "kind": null },
        { "name": "machine", "path": "/launcher/machine", "kind": "build" },
        { "name": "devices", "path": "/devices", "kind": "dev" },
        { "name": "libc", "kind": null },
    ] });
    assert_eq!(ours(&package), ("wire", BTreeSet::from(["host", "machine"])));
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
