//! Files of different folders do not import one another in a circle: a reader from the bottom up finds no dependency on
//! what comes later.
//!
//! A file is a module. Its imports are those in `use`; whole paths elsewhere in the text are not seen. A re-exported
//! item counts as imported from its own module. Tests may import anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::{files, is_source, without_tests};

/// Where the crates' sources are.
const CRATES: [&str; 5] = ["src", "dataplane/ground/src", "dataplane/src", "services/src", "sim/src"];

/// A module's path from its crate on, without the crate.
type ModulePath = Vec<String>;

/// The modules of a crate.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

/// A file's dependencies.
struct Module {
    file: String,
    /// The folder of those that it is one of: its own, if it has modules below it.
    folder: ModulePath,
    /// The paths of all that it imports.
    imports: Vec<Vec<String>>,
    /// Its re-exports, by the names that others use.
    handed_on: BTreeMap<String, Vec<String>>,
}

impl Crate {
    /// The crate whose sources are below `sources`, of the repository's `files`.
    fn read(sources: &str, files: &[String]) -> Self {
        let below = |file: &&String| file.starts_with(&format!("{sources}/")) && is_source(file);
        let files: Vec<_> = files.iter().filter(below).filter(|file| !file.contains("/bin/")).collect();
        let mut this = Self::default();
        for file in &files {
            let relative = Path::new(file).strip_prefix(sources).expect("below it").with_extension("");
            let mut path: ModulePath =
                relative.iter().map(|part| part.to_str().expect("UTF-8").to_owned()).collect();
            path.pop_if(|name| ["mod", "lib", "main"].contains(&name.as_str()));
            let text =
                fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it is there");
            let text = without_tests(&text);
            let has_children =
                files.iter().any(|other| other.starts_with(&format!("{}/", file.trim_end_matches(".rs"))));
            let is_folder = file.ends_with("/mod.rs") || has_children;
            let folder = if is_folder { path.clone() } else { path[..path.len().saturating_sub(1)].to_vec() };
            let (mut imports, mut handed_on) = (Vec::new(), BTreeMap::new());
            for (is_public, tree) in uses(text) {
                for mut import in expand(&tree) {
                    let name = import.pop_if(|name| name.starts_with("as ")).map(|name| name[3..].to_owned());
                    let import = absolute(&path, import);
                    if let Some(last) = import.last().filter(|_| is_public) {
                        handed_on.insert(name.unwrap_or_else(|| last.clone()), import.clone());
                    }
                    imports.push(import);
                }
            }
            this.modules.insert(path, Module { file: (*file).clone(), folder, imports, handed_on });
        }
        this
    }

    /// The module that has what `path` leads to.
    fn owner(&self, path: &[String]) -> Option<&ModulePath> {
        let (len, (place, module)) =
            (0..=path.len()).rev().find_map(|len| Some((len, self.modules.get_key_value(&path[..len])?)))?;
        match path.get(len).and_then(|name| module.handed_on.get(name)) {
            // Nobody hands on to himself.
            Some(whole) if !whole.starts_with(path) => self.owner(whole),
            _ => Some(place),
        }
    }

    /// What each module imports from.
    fn edges(&self) -> BTreeMap<&ModulePath, BTreeSet<&ModulePath>> {
        let targets = |from: &ModulePath, module: &Module| {
            let owners = module.imports.iter().filter_map(|import| self.owner(import));
            owners.filter(|owner| *owner != from).collect()
        };
        self.modules.iter().map(|(path, module)| (path, targets(path, module))).collect()
    }
}

/// The trees of all `use` of a text that lead into its own crate, and whether they hand on.
fn uses(text: &str) -> impl Iterator<Item = (bool, String)> {
    let starts = text.match_indices("use ").filter(|(at, _)| {
        let line = text[..*at].rsplit('\n').next().unwrap_or_default().trim_start();
        line.is_empty() || line.starts_with("pub")
    });
    starts.filter_map(|(at, _)| {
        let tree: String = text[at + 4..].split(';').next()?.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_public = text[..at].rsplit('\n').next().unwrap_or_default().contains("pub");
        let is_own = ["crate", "super", "self"].iter().any(|root| tree.starts_with(root));
        // A child module can be named without `self`.
        (is_own || is_public).then_some((is_public, tree))
    })
}

/// The paths of a tree: `a::{b, c::{d as e}}` has two, the second with an `as e` behind it.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let Some((stem, branches)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path: Vec<_> = path.split("::").map(|part| part.trim().to_owned()).collect();
        path.extend((!name.is_empty()).then(|| format!("as {}", name.trim())));
        return vec![path];
    };
    let branches = &branches[..branches.rfind('}').unwrap_or(branches.len())];
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, letter) in branches.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&branches[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&branches[start..]);
    let stem: Vec<_> = stem.split("::").map(str::trim).filter(|part| !part.is_empty()).collect();
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts
        .flat_map(expand)
        .map(|path| {
            let path = path.into_iter().filter(|part| part != "self");
            stem.iter().map(|part| (*part).to_owned()).chain(path).collect()
        })
        .collect()
}

/// `import` of the module `from`, from the crate on.
fn absolute(from: &ModulePath, import: Vec<String>) -> Vec<String> {
    let mut place = from.clone();
    let mut rest = &import[..];
    while let Some((root, further)) = rest.split_first() {
        match root.as_str() {
            "crate" => place.clear(),
            "super" => _ = place.pop(),
            "self" => {}
            _ => break,
        }
        rest = further;
    }
    place.extend(rest.iter().cloned());
    place
}

/// Those that lead to one another, with `module` among them.
fn circle<'a>(
    edges: &BTreeMap<&'a ModulePath, BTreeSet<&'a ModulePath>>,
    module: &'a ModulePath,
) -> BTreeSet<&'a ModulePath> {
    let reached = |from: &'a ModulePath| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(next) = open.pop() {
            open.extend(edges.get(next).into_iter().flatten().filter(|target| seen.insert(**target)));
        }
        seen
    };
    reached(module).into_iter().filter(|other| reached(other).contains(module)).collect()
}

#[test]
fn no_files_of_different_folders_import_one_another_in_a_circle() {
    let (files, mut circles) = (files(), BTreeSet::new());
    for sources in CRATES {
        let of_crate = Crate::read(sources, &files);
        assert!(of_crate.modules.len() > 5, "{sources} is read");
        let edges = of_crate.edges();
        assert!(edges.values().any(|targets| !targets.is_empty()), "{sources} imports something");
        for module in of_crate.modules.keys() {
            let circle: Vec<_> =
                circle(&edges, module).into_iter().map(|path| &of_crate.modules[path]).collect();
            let folders: BTreeSet<_> = circle.iter().map(|module| &module.folder).collect();
            if folders.len() > 1 {
                circles.insert(circle.iter().map(|module| &*module.file).collect::<Vec<_>>().join(", "));
            }
        }
    }
    assert!(circles.is_empty(), "{}", circles.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_tree_of_imports_is_read() {
    let paths = |tree| expand(tree).into_iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(paths("crate::a::B"), ["crate::a::B"]);
    assert_eq!(paths("crate::{a::{self, B}, c as d}"), ["crate::a", "crate::a::B", "crate::c::as d"]);
    let from = ["gateway".to_owned(), "ring".to_owned()].to_vec();
    let import = expand("super::link::Link").remove(0);
    assert_eq!(absolute(&from, import).join("::"), "gateway::link::Link");
}
