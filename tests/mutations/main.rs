//! The list of mutations is up to date: every patch applies to the tree, and the table has every one.
//!
//! `./dev mutations` tests whether the swarm or a scenario finds them, which takes long.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SEEDS_MAX: u32 = 100;

#[test]
fn every_patch_applies() {
    for patch in patches() {
        let mut git = Command::new("git");
        git.args(["apply", "--check"]).arg(&patch).current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = git.output().expect("git can be started");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {why}\nmake the patch anew, see README.md", patch.display());
    }
}

#[test]
fn the_table_tells_of_every_patch_what_its_header_says() {
    let readme = read(&directory().join("README.md"));
    let told: Vec<_> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    let (alone, simulated): (Vec<_>, Vec<_>) =
        patches().into_iter().partition(|patch| is_found_by_tests_alone(patch));
    let rows: Vec<_> = simulated.iter().chain(&alone).map(|patch| row(patch)).collect();
    assert_eq!(told, rows, "the table is to be:\n{}", rows.join("\n"));
}

#[test]
fn there_are_a_dozen_at_least_and_each_is_found_within_a_hundred_seeds() {
    let patches = patches();
    assert!(patches.len() >= 12, "{}", patches.len());
    for patch in patches.iter().filter(|patch| !is_found_by_tests_alone(patch)) {
        let seeds = field(&read(patch), "Seeds").parse::<u32>();
        assert!(seeds.is_ok_and(|seeds| (1..=SEEDS_MAX).contains(&seeds)), "{}", patch.display());
    }
}

fn row(patch: &Path) -> String {
    let text = read(patch);
    let name = patch.file_stem().expect("a name").to_string_lossy();
    let [bug, breaks, found_by] = ["Bug", "Breaks", "Found by"].map(|name| field(&text, name));
    if let Some(test) = find_field(&text, "Test") {
        let why = field(&text, "Why");
        return format!("| `{name}` | {bug} | {breaks} | `{found_by}`, in `{test}` | {why} |");
    }
    let seeds = field(&text, "Seeds");
    let scenario = find_field(&text, "Scenario").map(|name| format!(", in `{name}`")).unwrap_or_default();
    format!("| `{name}` | {bug} | {breaks} | {found_by}{scenario} | {seeds} |")
}

/// Whether the simulation cannot find it.
fn is_found_by_tests_alone(patch: &Path) -> bool {
    find_field(&read(patch), "Test").is_some()
}

/// A line of a patch's header, without its name.
fn field<'a>(patch: &'a str, name: &str) -> &'a str {
    find_field(patch, name).unwrap_or_else(|| panic!("no line {name:?} before the patch:\n{patch}"))
}

/// The same for an optional line.
fn find_field<'a>(patch: &'a str, name: &str) -> Option<&'a str> {
    let mut header = patch.lines().take_while(|line| !line.starts_with("--- "));
    header.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn patches() -> Vec<PathBuf> {
    let files = fs::read_dir(directory()).expect("the directory of this test");
    let mut patches: Vec<_> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "patch"))
        .collect();
    patches.sort();
    patches
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutations")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a readable file")
}
