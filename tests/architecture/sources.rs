//! The workspace as files: its crates, and their sources without tests, parsed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A crate of the workspace.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The folder of its sources, relative to the workspace.
    pub sources: String,
    /// Its dependencies, without dev-dependencies and crates of the workspace.
    pub dependencies: BTreeSet<String>,
    /// The crates of the workspace it depends on.
    pub local_dependencies: BTreeSet<String>,
    /// The dependencies that a feature enables.
    pub optional: BTreeSet<String>,
}

/// A source file of the product.
pub struct Source {
    /// Relative to the workspace.
    pub path: String,
    /// `src/studies/search/plan.rs` is `["studies", "search", "plan"]`, the root of a crate is empty.
    pub module: Vec<String>,
    /// The text before the tests.
    pub text: String,
    /// The whole text.
    pub text_with_tests: String,
    /// The items without tests.
    pub items: Vec<syn::Item>,
}

/// A document of the project.
pub fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every crate, including the gateway.
pub fn crates() -> Vec<Member> {
    let mut members = vec![member("", "src")];
    let mut folders: Vec<_> =
        fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        members.push(member(&format!("crates/{name}/"), &format!("crates/{name}/src")));
    }
    members
}

fn member(folder: &str, sources: &str) -> Member {
    let manifest: toml::Table = document(&format!("{folder}Cargo.toml")).parse().unwrap();
    let table = manifest["dependencies"].as_table().unwrap();
    let is_local = |name: &&String| root().join("crates").join(name).is_dir();
    Member {
        name: manifest["package"]["name"].as_str().unwrap().to_owned(),
        sources: sources.to_owned(),
        dependencies: table.keys().filter(|name| !is_local(name)).cloned().collect(),
        local_dependencies: table.keys().filter(is_local).cloned().collect(),
        optional: table
            .iter()
            .filter(|(_, value)| value.get("optional").and_then(toml::Value::as_bool) == Some(true))
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

/// The sources below `folder` and the file `folder.rs`, without files of tests.
pub fn product_sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join(folder), &mut paths);
    let beside = root().join(format!("{folder}.rs"));
    if beside.is_file() {
        paths.push(beside);
    }
    paths.sort();
    let sources = paths.into_iter().filter(|path| !is_test(path)).map(|path| {
        let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        read(path)
    });
    let sources: Vec<_> = sources.collect();
    assert!(!sources.is_empty(), "{folder} contains no sources");
    sources
}

fn read(path: String) -> Source {
    let text_with_tests = document(&path);
    let file = syn::parse_file(&text_with_tests).unwrap_or_else(|error| panic!("{path}: {error}"));
    let items = without_tests(file.items);
    let end = text_with_tests.find("\n#[cfg(test)]\nmod ").unwrap_or(text_with_tests.len());
    let (_, below) = path.split_once("src/").unwrap();
    let mut module: Vec<_> = below.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(module.as_slice(), [one] if one == "lib" || one == "main") {
        module.clear();
    }
    Source { module, text: text_with_tests[..end].to_owned(), text_with_tests, items, path }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

fn without_tests(items: Vec<syn::Item>) -> Vec<syn::Item> {
    items.into_iter().filter(|item| !is_for_tests(item)).collect()
}

fn is_for_tests(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl Source {
    /// `studies` for everything in `src/studies`; `None` for the root of a crate.
    pub fn top_module(&self) -> Option<String> {
        self.module.first().cloned()
    }

    /// Every path that the product code names, as written, imports included.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let mut names = Names::default();
        for item in &self.items {
            names.visit_item(item);
        }
        names.paths
    }

    /// The structs, enums, unions, traits and free type aliases that are defined here.
    pub fn type_names(&self) -> Vec<String> {
        let mut names = Names::default();
        for item in &self.items {
            names.visit_item(item);
        }
        names.types
    }

    /// The constants and statics that are defined here.
    pub fn constant_names(&self) -> Vec<String> {
        let mut names = Names::default();
        for item in &self.items {
            names.visit_item(item);
        }
        names.constants
    }
}

#[derive(Default)]
struct Names {
    paths: Vec<Vec<String>>,
    types: Vec<String>,
    constants: Vec<String>,
}

impl<'ast> Visit<'ast> for Names {
    // `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Struct(item) => self.types.push(item.ident.to_string()),
            syn::Item::Enum(item) => self.types.push(item.ident.to_string()),
            syn::Item::Union(item) => self.types.push(item.ident.to_string()),
            syn::Item::Trait(item) => self.types.push(item.ident.to_string()),
            syn::Item::Type(item) => self.types.push(item.ident.to_string()),
            syn::Item::Const(item) => self.constants.push(item.ident.to_string()),
            syn::Item::Static(item) => self.constants.push(item.ident.to_string()),
            _ => {}
        }
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        flatten(&item.tree, &mut Vec::new(), &mut self.paths);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// `pub(super)` is not an import from the parent module.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// The leaves of a `use` tree.
pub fn flatten(tree: &syn::UseTree, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
            before.pop();
        }
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, found);
            }
        }
        syn::UseTree::Name(name) => leaf(before, &name.ident, found),
        syn::UseTree::Rename(rename) => leaf(before, &rename.ident, found),
        syn::UseTree::Glob(_) => found.push(before.clone()),
    }
}

fn leaf(before: &[String], name: &syn::Ident, found: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    if name != "self" {
        path.push(name.to_string());
    }
    found.push(path);
}
