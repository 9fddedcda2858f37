//! The documents tell what there is: every crate, every example, every guest, nothing more.

use super::{assert_none, tree};

/// What the top level may hold beside dot files.
const TOP: [&str; 12] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "NOTICE",
    "README.md",
    "examples",
    "runtime",
    "rust-toolchain.toml",
    "shim",
    "tests",
    "wit",
];

/// What every folder of `examples/` holds: what it shows, the pod, and what a run of it gives.
const EXAMPLE: [&str; 3] = ["README.md", "expect.json", "pod.yaml"];

/// Folders of `examples/` that hold programs only.
const PROGRAMS: [&str; 2] = ["guests", "src"];

#[test]
fn the_top_level_is_that_of_the_design() -> anyhow::Result<()> {
    let violations: Vec<String> = tree::entries(".")?
        .into_iter()
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .map(|name| format!("{name}: the top level has no place for it"))
        .collect();
    assert_none("top level", &violations);
    Ok(())
}

#[test]
fn every_crate_has_its_line_in_the_readme() -> anyhow::Result<()> {
    let readme = tree::read("README.md")?;
    let map = tree::read("runtime/ARCHITECTURE.md")?;
    let mut violations = Vec::new();
    for name in tree::entries("runtime")? {
        if name.ends_with(".md") {
            continue;
        }
        if !readme.contains(&format!("| `runtime/{name}` |")) {
            violations.push(format!(
                "README.md: a line `| `runtime/{name}` | what it does |` is missing"
            ));
        }
        if !map.contains(&format!("`{name}`")) {
            violations.push(format!(
                "runtime/ARCHITECTURE.md: the code map leaves out `{name}`"
            ));
        }
    }
    assert_none("crates in documents", &violations);
    Ok(())
}

#[test]
fn documents_point_at_files_that_exist() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for file in tree::files()?
        .iter()
        .filter(|file| file.path.ends_with(".md"))
    {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in links(&file.text) {
            if !tree::root().join(folder).join(target).exists() {
                violations.push(format!("{}: `{target}` does not exist", file.path));
            }
        }
    }
    assert_none("links", &violations);
    Ok(())
}

#[test]
fn every_example_has_a_text_a_pod_and_an_expectation() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for folder in example_folders()? {
        let names = tree::entries(&format!("examples/{folder}"))?;
        for wanted in EXAMPLE
            .iter()
            .filter(|wanted| !names.iter().any(|name| name == *wanted))
        {
            violations.push(format!("examples/{folder}: {wanted} is missing"));
        }
    }
    assert_none("examples", &violations);
    Ok(())
}

#[test]
fn every_guest_program_is_run_by_a_test() -> anyhow::Result<()> {
    let files = tree::files()?;
    let is_run_from = |path: &str| {
        path.starts_with("tests/e2e/src/") && !path.contains("/tidy/")
            || path.starts_with("tests/isolation/")
            || path.starts_with("examples/") && path.ends_with(".yaml")
            || path.starts_with("runtime/") && path.ends_with(".rs")
    };
    let texts: Vec<&str> = files
        .iter()
        .filter(|file| is_run_from(&file.path))
        .map(|file| file.text.as_str())
        .collect();
    let violations: Vec<String> = files
        .iter()
        .filter_map(|file| program(&file.path))
        .filter(|program| !texts.iter().any(|text| names(text, program)))
        .map(|program| format!("{program}: no test and no example runs this guest"))
        .collect();
    assert_none("guests", &violations);
    Ok(())
}

/// The name of the guest program whose first file this is: `hello/src/main.rs` and
/// `pair/src/bin/pair-server.rs` are programs, other files only parts of one.
fn program(path: &str) -> Option<&str> {
    let within = path
        .strip_prefix("examples/")
        .or_else(|| path.strip_prefix("tests/guests/"))?;
    match within.split('/').collect::<Vec<_>>().as_slice() {
        [package, "src", "main.rs"] => Some(package),
        [_, "src", "bin", file] => file.strip_suffix(".rs"),
        [_, "src", "bin", program, "main.rs"] => Some(program),
        [_, file] => file
            .strip_suffix(".c")
            .or_else(|| file.strip_suffix(".wat")),
        _ => None,
    }
}

/// The folders of examples, one per idea.
fn example_folders() -> anyhow::Result<Vec<String>> {
    let mut folders = tree::entries("examples")?;
    folders.retain(|name| {
        tree::root().join("examples").join(name).is_dir()
            && !name.starts_with('.')
            && !PROGRAMS.contains(&name.as_str())
    });
    Ok(folders)
}

/// Whether a text names a program, as a word of its own.
fn names(text: &str, program: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(program).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + program.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The targets of relative links in a Markdown text.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or(target))
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

#[test]
fn programs_are_told_from_their_parts() {
    let cases = [
        ("examples/hello/src/main.rs", Some("hello")),
        ("examples/pair/src/bin/pair-server.rs", Some("pair-server")),
        ("tests/guests/hostile/src/bin/spin.rs", Some("spin")),
        (
            "examples/preview1/preview1-server.c",
            Some("preview1-server"),
        ),
        ("tests/guests/wat/divide.wat", Some("divide")),
        ("examples/lifecycle/src/bindings.rs", None),
        ("runtime/cli/src/main.rs", None),
    ];
    for (path, wanted) in cases {
        assert_eq!(program(path), wanted, "{path}");
    }
}

#[test]
fn a_program_is_named_as_a_word_of_its_own() {
    let cases = [
        ("image: file:hello.wasm", "hello", true),
        ("guest(\"hello\")", "hello", true),
        ("hello-world.wasm", "hello", false),
        ("othello", "hello", false),
    ];
    for (text, program, wanted) in cases {
        assert_eq!(names(text, program), wanted, "{text}");
    }
}
