//! The content of the repository: no captures, corpora or builds, and only known entries at its root; and the
//! dependencies of its files.

mod imports;

use std::fs;
use std::path::Path;
use std::process::Command;

/// The most octets of one file. Lock files and drawings are the largest that are kept.
const FILE_LEN_MAX: u64 = 256 << 10;

/// The entries of the root.
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

/// The most files under `src/` that may name one service: its section of the file (with the files in the section's own
/// folder), the list of sections, the list of services, and the administrator's requests about the service.
const NAMED_IN_MAX: usize = 4;

/// Files that use `dhcp` for something else than the service: the provider's client on the WAN, and messages between
/// LAN hosts.
const OF_SOMETHING_ELSE: [(&str, &str); 2] =
    [("dhcp", "src/gateway/wan_client.rs"), ("dhcp", "src/config/dataplane.rs")];

/// The text of a source file up to the first module in it that is for tests.
fn without_tests(text: &str) -> &str {
    let mark = "\n#[cfg(test)]\n";
    let begins = text.match_indices(mark).find(|(at, _)| {
        let line = text[at + mark.len()..].lines().next().unwrap_or_default();
        line.contains("mod ")
    });
    begins.map_or(text, |(at, _)| &text[..at])
}

/// Whether `file` is a source file that is not for tests.
fn is_source(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    name.ends_with(".rs") && !file.contains("/tests/") && !name.contains("tests") && !name.contains("testing")
}

/// The program's own code in a source file: without tests, comments and the contents of strings.
fn code(source: &str) -> String {
    let lines = without_tests(source).lines().map(|line| line.split("//").next().unwrap_or_default());
    // Of the parts between quotes every second is a text.
    let lines = lines.map(|line| line.replace("\\\"", ""));
    lines.map(|line| line.split('"').step_by(2).collect::<Vec<_>>().join("\"")).collect::<Vec<_>>().join("\n")
}

/// Whether `code` has `name` as a whole word, in lower case or with a capital: a module, a type, a field, a variable.
fn names(code: &str, name: &str) -> bool {
    let capital = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name || word == capital)
}

#[test]
fn few_files_name_a_service() {
    let is_counted =
        |file: &&String| file.starts_with("src/") && is_source(file) && !file.starts_with("src/lab/");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = files();
    for service in ["dhcp", "dns", "ntp"] {
        let own_folder = format!("src/config/services/{service}/");
        let naming: Vec<_> = files
            .iter()
            .filter(|file| !file.starts_with(&own_folder))
            .filter(is_counted)
            .filter(|file| !OF_SOMETHING_ELSE.contains(&(service, file.as_str())))
            .filter(|file| fs::read_to_string(root.join(file)).is_ok_and(|text| names(&code(&text), service)))
            .collect();
        assert!(!naming.is_empty() && naming.len() <= NAMED_IN_MAX, "{service} is named in {naming:?}");
    }
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
