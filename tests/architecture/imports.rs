//! Which file imports items that another file defines. A re-export is not an import: a file that uses the name imports the file
//! that defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Source, flatten};

/// Imports between files.
pub struct Graph {
    sources: Vec<Source>,
    edges: BTreeSet<(usize, usize)>,
}

impl Graph {
    /// Reads the imports of `sources`, which are those of one crate or of a part of it.
    pub fn of(sources: Vec<Source>) -> Self {
        let modules: BTreeMap<_, _> =
            sources.iter().enumerate().map(|(index, source)| (source.module.clone(), index)).collect();
        let reexports = reexports(&sources, &modules);
        let mut edges = BTreeSet::new();
        for (index, source) in sources.iter().enumerate() {
            for path in source.paths() {
                let Some(path) = absolute(source, &path, &modules) else { continue };
                // A re-export of a child module's item is already in `reexports`.
                if reexports.contains_key(&named_here(source, &path)) && is_below(source, &path) {
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

    /// The edges between groups of files, without files that have no group and edges within a group.
    pub fn edges_between(&self, group: impl Fn(&Source) -> Option<String>) -> BTreeSet<(String, String)> {
        let pairs =
            self.edges.iter().map(|(from, to)| (group(&self.sources[*from]), group(&self.sources[*to])));
        pairs.filter_map(|(from, to)| Some((from?, to?))).filter(|(from, to)| from != to).collect()
    }
}

/// The groups that import each other in a cycle, each sorted.
pub fn cycles(edges: &BTreeSet<(String, String)>) -> Vec<Vec<String>> {
    let reached = |start: &String| {
        let mut reached = BTreeSet::new();
        let mut next = vec![start];
        while let Some(at) = next.pop() {
            for (_, to) in edges.iter().filter(|(from, _)| from == at) {
                if reached.insert(to.clone()) {
                    next.push(to);
                }
            }
        }
        reached
    };
    let all: BTreeSet<_> = edges.iter().flat_map(|(from, to)| [from, to]).collect();
    let reach: BTreeMap<_, _> = all.into_iter().map(|name| (name, reached(name))).collect();
    let mut cycles = BTreeSet::new();
    for (name, to) in &reach {
        if to.contains(*name) {
            cycles
                .insert(to.iter().filter(|other| reach[other].contains(*name)).cloned().collect::<Vec<_>>());
        }
    }
    cycles.into_iter().collect()
}

type Modules = BTreeMap<Vec<String>, usize>;
type Reexports = BTreeMap<Vec<String>, Vec<String>>;

/// `pub use`: the exported path, and the path that it refers to.
fn reexports(sources: &[Source], modules: &Modules) -> Reexports {
    let mut found = Reexports::new();
    for source in sources {
        for item in &source.items {
            let syn::Item::Use(item) = item else { continue };
            if matches!(item.vis, syn::Visibility::Inherited) {
                continue;
            }
            let mut leaves = Vec::new();
            flatten(&item.tree, &mut Vec::new(), &mut leaves);
            for leaf in leaves {
                if let Some(path) = absolute(source, &leaf, modules)
                    && let Some(name) = path.last()
                {
                    let mut from_outside = source.module.clone();
                    from_outside.push(name.clone());
                    found.insert(from_outside, path);
                }
            }
        }
    }
    found
}

fn named_here(source: &Source, path: &[String]) -> Vec<String> {
    source.module.iter().cloned().chain(path.last().cloned()).collect()
}

fn is_below(source: &Source, path: &[String]) -> bool {
    path.len() > source.module.len() + 1 && path.starts_with(&source.module)
}

/// A path from the root of the crate; `None` for paths to other crates and names that the file itself defines.
fn absolute(source: &Source, path: &[String], modules: &Modules) -> Option<Vec<String>> {
    let (mut base, mut rest) = match path.first()?.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (source.module.clone(), &path[1..]),
        "super" => (source.module.clone(), path),
        // A module that is declared in this file.
        first => {
            let child: Vec<_> = source.module.iter().cloned().chain([first.to_owned()]).collect();
            if path.len() < 2 || !modules.contains_key(&child) {
                return None;
            }
            (source.module.clone(), path)
        }
    };
    while let [first, below @ ..] = rest
        && first == "super"
    {
        base.pop()?;
        rest = below;
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// The file that defines what `path` names.
fn resolve(mut path: Vec<String>, modules: &Modules, reexports: &Reexports) -> Option<usize> {
    'again: for _ in 0..16 {
        for length in 1..=path.len() {
            if let Some(target) = reexports.get(&path[..length]) {
                let renamed: Vec<_> = target.iter().chain(&path[length..]).cloned().collect();
                if renamed != path {
                    path = renamed;
                    continue 'again;
                }
            }
        }
        break;
    }
    (0..=path.len()).rev().find_map(|length| modules.get(&path[..length]).copied())
}
