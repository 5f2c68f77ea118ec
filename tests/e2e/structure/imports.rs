//! Finds the top-level modules of its crate that a source file names outside of its tests.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, Path, UseTree};

/// Returns the top-level modules named in `text`, the file of the module at `place`: by `crate::`,
/// or by as many `super::` as lead to the root of the crate.
pub(super) fn imports(text: &str, place: &[&str]) -> BTreeSet<String> {
    let file = syn::parse_file(text).unwrap();
    let mut found = Found {
        place: place.iter().map(|it| (*it).to_string()).collect(),
        modules: BTreeSet::new(),
    };
    found.visit_file(&file);
    found.modules
}

struct Found {
    /// The path of the module whose text is being read, including modules inside the file.
    place: Vec<String>,
    modules: BTreeSet<String>,
}

impl Found {
    fn name(&mut self, path: &[String]) {
        let up = path.iter().take_while(|it| *it == "super").count();
        let (root, rest) = match path.first().map(String::as_str) {
            Some("crate") => (true, path.get(1)),
            Some("super") => (up == self.place.len(), path.get(up)),
            _ => (false, None),
        };
        if let (true, Some(module)) = (root, rest) {
            self.modules.insert(module.clone());
        }
    }

    fn name_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.name_tree(&path.tree, &with(path.ident.to_string())),
            UseTree::Name(name) => self.name(&with(name.ident.to_string())),
            UseTree::Rename(rename) => self.name(&with(rename.ident.to_string())),
            UseTree::Glob(_) => self.name(before),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.name_tree(tree, before));
            }
        }
    }
}

impl<'a> Visit<'a> for Found {
    fn visit_item(&mut self, item: &'a Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        self.place.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.place.pop();
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.name_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'a Path) {
        let path_names: Vec<_> = path.segments.iter().map(|it| it.ident.to_string()).collect();
        self.name(&path_names);
        visit::visit_path(self, path);
    }
}

/// Whether an item is compiled for tests only.
fn is_test(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Const(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    };
    attributes.iter().any(|it| {
        it.path().is_ident("cfg") && it.parse_args::<syn::Ident>().is_ok_and(|it| it == "test")
    })
}

#[test]
fn every_form_of_import_is_recognized() {
    let of = |text: &str| imports(text, &["a", "b"]).into_iter().collect::<Vec<_>>();
    assert_eq!(of("use crate::c::X;"), ["c"]);
    assert_eq!(of("use crate::{c, d::{X, Y as Z}, e::*};"), ["c", "d", "e"]);
    assert_eq!(of("fn f() { crate::c::g(); }"), ["c"]);
    assert_eq!(of("fn f(_: Option<crate::c::X>) {}"), ["c"]);
    assert_eq!(of("use super::super::c;"), ["c"]);
    assert_eq!(of("use super::c;"), [""; 0]);
    assert_eq!(of("mod inside { use super::super::super::c; }"), ["c"]);
    assert_eq!(of("#[cfg(test)] mod tests { use crate::c; } #[cfg(test)] use crate::d;"), [""; 0]);
    assert_eq!(of("// crate::c\nuse std::fs;"), [""; 0]);
}
