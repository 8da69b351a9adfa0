//! The imports between files: a file imports the files that define the items it uses. A re-export is not an import, and an item
//! that is used by a re-exported path is imported from the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Source, flatten};

/// The files of a crate, and the imports between them.
pub struct Graph {
    sources: Vec<Source>,
    /// The indexes of the importing and of the imported file.
    edges: BTreeSet<(usize, usize)>,
}

impl Graph {
    /// Determines the imports between `sources`, which are those of a crate or of a part of it.
    pub fn from_sources(sources: Vec<Source>) -> Self {
        let modules: BTreeMap<_, _> =
            sources.iter().enumerate().map(|(index, source)| (source.module.clone(), index)).collect();
        let reexports = find_reexports(&sources, &modules);
        let mut edges = BTreeSet::new();
        for (index, source) in sources.iter().enumerate() {
            for path in source.paths() {
                let Some(path) = to_absolute(source, &path, &modules) else { continue };
                // A re-export of an item of a child module is not an import.
                if reexports.contains_key(&exported_path(source, &path)) && is_in_child_module(source, &path)
                {
                    continue;
                }
                if let Some(target) = resolve(path, &modules, &reexports)
                    && target != index
                {
                    edges.insert((index, target));
                }
            }
        }
        Self { sources, edges }
    }

    /// Returns the edges between groups of files. Files without a group and edges within a group are omitted.
    pub fn edges_between(&self, group: impl Fn(&Source) -> Option<String>) -> BTreeSet<(String, String)> {
        let pairs =
            self.edges.iter().map(|(from, to)| (group(&self.sources[*from]), group(&self.sources[*to])));
        pairs.filter_map(|(from, to)| Some((from?, to?))).filter(|(from, to)| from != to).collect()
    }
}

/// Returns the sorted members of each cycle of edges.
pub fn cycles(edges: &BTreeSet<(String, String)>) -> Vec<Vec<String>> {
    let reachable_from = |start: &String| {
        let mut reachable = BTreeSet::new();
        let mut pending = vec![start];
        while let Some(node) = pending.pop() {
            for (_, to) in edges.iter().filter(|(from, _)| from == node) {
                if reachable.insert(to.clone()) {
                    pending.push(to);
                }
            }
        }
        reachable
    };
    let nodes: BTreeSet<_> = edges.iter().flat_map(|(from, to)| [from, to]).collect();
    let reachable: BTreeMap<_, _> = nodes.into_iter().map(|node| (node, reachable_from(node))).collect();
    let mut cycles = BTreeSet::new();
    for (node, targets) in &reachable {
        if targets.contains(*node) {
            cycles.insert(
                targets.iter().filter(|other| reachable[other].contains(*node)).cloned().collect::<Vec<_>>(),
            );
        }
    }
    cycles.into_iter().collect()
}

/// The indexes of the files by the paths of their modules.
type Modules = BTreeMap<Vec<String>, usize>;
/// The paths to which exported paths refer.
type Reexports = BTreeMap<Vec<String>, Vec<String>>;

/// Finds the items of `pub use`.
fn find_reexports(sources: &[Source], modules: &Modules) -> Reexports {
    let mut reexports = Reexports::new();
    for source in sources {
        for item in &source.items {
            let syn::Item::Use(item) = item else { continue };
            if matches!(item.vis, syn::Visibility::Inherited) {
                continue;
            }
            let mut leaves = Vec::new();
            flatten(&item.tree, &mut Vec::new(), &mut leaves);
            for leaf in leaves {
                if let Some(path) = to_absolute(source, &leaf, modules)
                    && let Some(name) = path.last()
                {
                    let mut exported_path = source.module.clone();
                    exported_path.push(name.clone());
                    reexports.insert(exported_path, path);
                }
            }
        }
    }
    reexports
}

/// Returns the path by which `source` exports the item at `path`.
fn exported_path(source: &Source, path: &[String]) -> Vec<String> {
    source.module.iter().cloned().chain(path.last().cloned()).collect()
}

/// Whether `path` is the path of an item in a child module of `source`.
fn is_in_child_module(source: &Source, path: &[String]) -> bool {
    path.len() > source.module.len() + 1 && path.starts_with(&source.module)
}

/// Converts a path to a path from the root of the crate. Returns `None` for paths to other crates and to items of the file itself.
fn to_absolute(source: &Source, path: &[String], modules: &Modules) -> Option<Vec<String>> {
    let (mut base, mut rest) = match path.first()?.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (source.module.clone(), &path[1..]),
        "super" => (source.module.clone(), path),
        // Another first segment may be a module that this file declares.
        first => {
            let child: Vec<_> = source.module.iter().cloned().chain([first.to_owned()]).collect();
            if path.len() < 2 || !modules.contains_key(&child) {
                return None;
            }
            (source.module.clone(), path)
        }
    };
    while let [first, remaining @ ..] = rest
        && first == "super"
    {
        base.pop()?;
        rest = remaining;
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// Returns the index of the file that defines the item at `path`. Follows at most 16 re-exports, so that cyclic re-exports end.
fn resolve(mut path: Vec<String>, modules: &Modules, reexports: &Reexports) -> Option<usize> {
    'resolve: for _ in 0..16 {
        for length in 1..=path.len() {
            if let Some(target) = reexports.get(&path[..length]) {
                let resolved: Vec<_> = target.iter().chain(&path[length..]).cloned().collect();
                if resolved != path {
                    path = resolved;
                    continue 'resolve;
                }
            }
        }
        break;
    }
    (0..=path.len()).rev().find_map(|length| modules.get(&path[..length]).copied())
}
