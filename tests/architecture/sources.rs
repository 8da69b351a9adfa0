//! The crates of the workspace, and their parsed sources without tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A crate of the workspace.
#[derive(Debug)]
pub struct Crate {
    /// The name of the crate.
    pub name: String,
    /// The folder of the sources, relative to the workspace.
    pub sources: String,
    /// The dependencies, without dev-dependencies and crates of the workspace.
    pub dependencies: BTreeSet<String>,
    /// The dependencies that are crates of the workspace.
    pub local_dependencies: BTreeSet<String>,
    /// The optional dependencies, which a feature enables.
    pub optional_dependencies: BTreeSet<String>,
}

/// A source file that is not a test.
pub struct Source {
    /// The path of the file, relative to the workspace.
    pub path: String,
    /// The path of the module: `["studies", "plan"]` for `src/studies/plan.rs`. It is empty for the root of a crate.
    pub module: Vec<String>,
    /// The text before the tests.
    pub text: String,
    /// The complete text.
    pub text_with_tests: String,
    /// The items, without tests.
    pub items: Vec<syn::Item>,
}

/// Reads a file of the project; panics with its path if the file cannot be read.
pub fn read_file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns every crate, including the gateway.
pub fn crates() -> Vec<Crate> {
    let mut members = vec![read_crate("", "src")];
    let mut folders: Vec<_> =
        fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        members.push(read_crate(&format!("crates/{name}/"), &format!("crates/{name}/src")));
    }
    members
}

/// Reads the manifest in `folder`, which is empty or ends with a slash.
fn read_crate(folder: &str, sources: &str) -> Crate {
    let manifest: toml::Table = read_file(&format!("{folder}Cargo.toml")).parse().unwrap();
    let table = manifest["dependencies"].as_table().unwrap();
    let is_local = |name: &&String| root().join("crates").join(name).is_dir();
    Crate {
        name: manifest["package"]["name"].as_str().unwrap().to_owned(),
        sources: sources.to_owned(),
        dependencies: table.keys().filter(|name| !is_local(name)).cloned().collect(),
        local_dependencies: table.keys().filter(is_local).cloned().collect(),
        optional_dependencies: table
            .iter()
            .filter(|(_, value)| value.get("optional").and_then(toml::Value::as_bool) == Some(true))
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

/// Returns the sources in `folder` and the file `folder.rs`, without test files.
pub fn sources_without_tests(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect_files(&root().join(folder), &mut paths);
    let file = root().join(format!("{folder}.rs"));
    if file.is_file() {
        paths.push(file);
    }
    paths.sort();
    let sources = paths.into_iter().filter(|path| !is_test_file(path)).map(|path| {
        let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        read_source(path)
    });
    let sources: Vec<_> = sources.collect();
    assert!(!sources.is_empty(), "{folder} contains no sources");
    sources
}

/// Reads and parses a source file.
fn read_source(path: String) -> Source {
    let text_with_tests = read_file(&path);
    let file = syn::parse_file(&text_with_tests).unwrap_or_else(|error| panic!("{path}: {error}"));
    let items = without_tests(file.items);
    let end = text_with_tests.find("\n#[cfg(test)]\nmod ").unwrap_or(text_with_tests.len());
    let (_, relative_path) = path.split_once("src/").unwrap();
    let mut module: Vec<_> = relative_path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(module.as_slice(), [name] if name == "lib" || name == "main") {
        module.clear();
    }
    Source { module, text: text_with_tests[..end].to_owned(), text_with_tests, items, path }
}

/// Adds the Rust files in `folder` and its subfolders to `paths`.
fn collect_files(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

fn without_tests(items: Vec<syn::Item>) -> Vec<syn::Item> {
    items.into_iter().filter(|item| !is_test_item(item)).collect()
}

fn is_test_item(item: &syn::Item) -> bool {
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

/// Returns the root of the workspace.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl Source {
    /// Returns the top-level module, such as `studies` for all files in `src/studies`; `None` for the root of a crate.
    pub fn top_module(&self) -> Option<String> {
        self.module.first().cloned()
    }

    /// Returns every path in the code without tests, as it is written, including imports.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let mut names = CollectedNames::default();
        for item in &self.items {
            names.visit_item(item);
        }
        names.paths
    }

    /// Returns the names of the structs, enums, unions, traits and free type aliases that the file defines.
    pub fn type_names(&self) -> Vec<String> {
        let mut names = CollectedNames::default();
        for item in &self.items {
            names.visit_item(item);
        }
        names.types
    }

    /// Returns the names of the constants and statics that the file defines.
    pub fn constant_names(&self) -> Vec<String> {
        let mut names = CollectedNames::default();
        for item in &self.items {
            names.visit_item(item);
        }
        names.constants
    }
}

/// The paths and the names of definitions in a source file, collected by a visitor.
#[derive(Default)]
struct CollectedNames {
    paths: Vec<Vec<String>>,
    types: Vec<String>,
    constants: Vec<String>,
}

impl<'ast> Visit<'ast> for CollectedNames {
    /// Skips `pub(super)`, which is not an import.
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
        if !is_test_item(item) {
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

    /// Skips the path in `pub(in path)`, which is not an import.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// Adds the paths of a `use` tree to `paths`; `prefix` is the path of the tree.
pub fn flatten(tree: &syn::UseTree, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    match tree {
        syn::UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, paths);
            prefix.pop();
        }
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, paths);
            }
        }
        syn::UseTree::Name(name) => add_path(prefix, &name.ident, paths),
        syn::UseTree::Rename(rename) => add_path(prefix, &rename.ident, paths),
        syn::UseTree::Glob(_) => paths.push(prefix.clone()),
    }
}

fn add_path(prefix: &[String], name: &syn::Ident, paths: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    if name != "self" {
        path.push(name.to_string());
    }
    paths.push(path);
}
