//! What the repository may hold: no captures, corpora or builds, and nothing unforeseen at its root.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The most octets of one file. Lock files and drawings are the largest that are kept.
const FILE_LEN_MAX: u64 = 256 << 10;

/// What stands at the root.
const ROOT: [&str; 26] = [
    ".cargo",
    ".ci",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "clippy.toml",
    "dataplane",
    "deny.toml",
    "dev",
    "docs",
    "fuzz",
    "gatepost.example.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "services",
    "sim",
    "src",
    "tests",
];

/// The files that git tracks, and those that it would add.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("git can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names in UTF-8");
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn no_file_is_over_256_kib() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let too_long: Vec<_> = files()
        .into_iter()
        .filter(|name| fs::symlink_metadata(root.join(name)).is_ok_and(|file| file.len() > FILE_LEN_MAX))
        .collect();
    assert!(too_long.is_empty(), "these belong under target/, or nowhere: {too_long:?}");
}

#[test]
fn nothing_unknown_stands_at_the_root() {
    let files = files();
    assert!(!files.is_empty(), "git lists no file at all");
    let unknown: Vec<_> = files
        .iter()
        .filter(|name| !name.split('/').next().is_some_and(|at_root| ROOT.contains(&at_root)))
        .collect();
    assert!(unknown.is_empty(), "move these, or name them in this test: {unknown:?}");
}

/// The names of the test programs in a package's `tests/`.
fn test_programs(package: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("tests");
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned)).collect()
}

#[test]
fn no_test_of_another_package_has_the_name_of_a_scenario() {
    // `cargo test --workspace --test NAME` runs all that have the name, and `./dev check` means the dataplane's.
    let scenarios = test_programs("dataplane");
    assert!(scenarios.len() > 10, "{scenarios:?}");
    for package in [".", "services", "sim", "dataplane/ground"] {
        let mut same = test_programs(package);
        same.retain(|name| scenarios.contains(name));
        assert!(same.is_empty(), "give these of {package} other names: {same:?}");
    }
}
