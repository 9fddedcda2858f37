//! What a Rust file must be: opened by what it is, short, named by its idea, without unsafe code
//! and without silenced lints.
//!
//! Files are read as tokens, so that words in comments and strings do not count, and code inside
//! of macros does.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use super::assert_none;
use super::tree::{self, File};

/// The most lines of a file; 100 to 400 is usual.
const FILE_LINES: usize = 700;

/// The most lines of a function from its signature to its last brace; 10 to 40 is usual.
const FUNCTION_LINES: usize = 80;

/// Files and functions (`path` or `path::function`) that may be longer, and why. One that is not
/// longer any more must leave.
const LONG: [(&str, &str); 0] = [];

/// Names that say nothing.
const BANNED_NAMES: [&str; 8] = [
    "utils", "util", "helpers", "helper", "common", "manager", "misc", "mod",
];

/// Where `unsafe` may stand, and how often. The type of a function pointer does nothing and is free.
const UNSAFE: [(&str, usize); 3] = [
    ("runtime/native/src/sys.rs", usize::MAX),
    ("runtime/engine/src/cache.rs", 1),
    // A guest that calls preview 1 by hand, which is foreign functions.
    ("tests/guests/sockets1/src/raw.rs", usize::MAX),
];

/// Paths that may not be named in a part of the tree, and why. The end of a path suffices.
const BANNED_PATHS: [(&[&str], &str, &str); 6] = [
    (
        &["Instant", "now"],
        "runtime/model/",
        "model gets time as a value",
    ),
    (
        &["SystemTime", "now"],
        "runtime/model/",
        "model gets time as a value",
    ),
    (
        &["Instant", "now"],
        "runtime/control/",
        "plans get time as a value",
    ),
    (
        &["env", "var"],
        "runtime/model/",
        "only cli and compile read the environment",
    ),
    (
        &["env", "var"],
        "runtime/net/",
        "only cli and compile read the environment",
    ),
    (
        &["thread", "sleep"],
        "runtime/",
        "wait on a channel, a watch or a deadline",
    ),
];

/// Guests: programs that run inside pods, where the rules for the program itself do not hold.
const GUESTS: [&str; 3] = ["examples/", "tests/guests/", "runtime/toolbox/"];

/// A file's tokens, flat, each with its line.
fn tokens(file: &File) -> Vec<(String, usize)> {
    fn flatten(stream: TokenStream, into: &mut Vec<(String, usize)>) {
        for token in stream {
            let line = token.span().start().line;
            match token {
                TokenTree::Group(group) => {
                    let opened = match group.delimiter() {
                        Delimiter::Parenthesis => "(",
                        Delimiter::Brace => "{",
                        Delimiter::Bracket => "[",
                        Delimiter::None => "",
                    };
                    into.push((opened.to_owned(), line));
                    flatten(group.stream(), into);
                }
                other => into.push((other.to_string(), line)),
            }
        }
    }
    let mut all = Vec::new();
    match file.text.parse() {
        Ok(stream) => flatten(stream, &mut all),
        Err(error) => panic!("{} is no Rust: {error}", file.path),
    }
    all
}

/// The lines at which the words stand one after the other.
fn occurrences(tokens: &[(String, usize)], words: &[&str]) -> Vec<usize> {
    tokens
        .windows(words.len())
        .filter(|window| {
            window
                .iter()
                .zip(words)
                .all(|((token, _), word)| token == word)
        })
        .filter_map(|window| window.first().map(|(_, line)| *line))
        .collect()
}

/// The functions of a file, with their line and length.
#[derive(Default)]
struct Functions(Vec<(String, usize, usize)>);

// === impl Functions ===

impl Functions {
    fn add(&mut self, signature: &syn::Signature, end: usize) {
        let start = signature.span().start().line;
        self.0
            .push((signature.ident.to_string(), start, end + 1 - start));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, function.block.span().end().line);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, function.block.span().end().line);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block.span().end().line);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn every_file_opens_with_what_it_is() -> anyhow::Result<()> {
    let is_silent = |file: &&File| !file.text.starts_with("//! ");
    let violations: Vec<String> = tree::rust_files()?
        .iter()
        .filter(is_silent)
        .map(|file| {
            format!(
                "{}: begin with `//!`, what it is and what it is not",
                file.path
            )
        })
        .collect();
    assert_none("module documentation", &violations);
    Ok(())
}

#[test]
fn files_and_functions_are_short() -> anyhow::Result<()> {
    let mut long = Vec::new();
    for file in tree::rust_files()? {
        let lines = file.text.lines().count();
        if lines > FILE_LINES {
            long.push((
                file.path.clone(),
                format!(
                    "{}: {lines} lines, at most {FILE_LINES}: split by idea",
                    file.path
                ),
            ));
        }
        let parsed = syn::parse_file(&file.text);
        let parsed = parsed.map_err(|error| anyhow::anyhow!("{}: {error}", file.path))?;
        let mut functions = Functions::default();
        functions.visit_file(&parsed);
        for (name, line, lines) in functions.0 {
            if lines > FUNCTION_LINES {
                let text = format!(
                    "{}:{line}: `{name}` has {lines} lines, at most {FUNCTION_LINES}",
                    file.path
                );
                long.push((format!("{}::{name}", file.path), text));
            }
        }
    }
    let is_excepted = |key: &str| LONG.iter().any(|(exception, _)| *exception == key);
    let stale = LONG
        .iter()
        .filter(|(exception, _)| !long.iter().any(|(key, _)| key == exception));
    let violations: Vec<String> = long
        .iter()
        .filter(|(key, _)| !is_excepted(key))
        .map(|(_, text)| text.clone())
        .chain(stale.map(|(exception, _)| format!("{exception}: an exception that is not needed")))
        .collect();
    assert_none("length", &violations);
    Ok(())
}

#[test]
fn files_are_named_by_their_idea() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for file in tree::rust_files()? {
        let parts = file.path.trim_end_matches(".rs").split('/');
        for part in parts.filter(|part| BANNED_NAMES.contains(part)) {
            violations.push(format!(
                "{}: `{part}` says nothing, or is the old layout",
                file.path
            ));
        }
        let is_own_binary =
            file.path.starts_with("runtime/") && file.path.split('/').nth(2) == Some("tests");
        if is_own_binary {
            violations.push(format!(
                "{}: a test binary of its own; e2e is the only one",
                file.path
            ));
        }
    }
    assert_none("names", &violations);
    Ok(())
}

#[test]
fn unsafe_code_stands_in_two_places_only() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for file in tree::rust_files()? {
        let tokens = tokens(&file);
        let types = occurrences(&tokens, &["unsafe", "fn", "("]);
        let mut found = occurrences(&tokens, &["unsafe"]);
        found.retain(|line| !types.contains(line));
        let most = UNSAFE
            .iter()
            .find(|(path, _)| *path == file.path)
            .map_or(0, |(_, most)| *most);
        for line in found.iter().skip(most) {
            violations.push(format!("{}:{line}: unsafe code", file.path));
        }
    }
    assert_none("unsafe", &violations);
    Ok(())
}

#[test]
fn lints_are_expected_with_a_reason_not_allowed() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for file in tree::rust_files()? {
        let tokens = tokens(&file);
        // An attribute, outer or inner, or one inside `cfg_attr`.
        for line in occurrences(&tokens, &["allow", "("]) {
            let is_attribute = file
                .text
                .lines()
                .nth(line - 1)
                .is_some_and(|text| text.contains("#[") || text.contains("#!["));
            if is_attribute {
                violations.push(format!(
                    "{}:{line}: write `#[expect(…, reason = \"…\")]`",
                    file.path
                ));
            }
        }
    }
    assert_none("silenced lints", &violations);
    Ok(())
}

#[test]
fn clocks_environment_and_sleep_stay_where_they_belong() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for file in tree::rust_files()? {
        // A test that starts itself again in another namespace tells itself so by a variable.
        let starts_itself = file.path == "runtime/net/src/testing/outside.rs";
        if starts_itself || GUESTS.iter().any(|guest| file.path.starts_with(guest)) {
            continue;
        }
        let tokens = tokens(&file);
        for (path, _, why) in BANNED_PATHS
            .iter()
            .filter(|(_, folder, _)| file.path.starts_with(folder))
        {
            let mut words = Vec::new();
            for (at, word) in path.iter().enumerate() {
                if at > 0 {
                    words.extend([":", ":"]);
                }
                words.push(*word);
            }
            for line in occurrences(&tokens, &words) {
                violations.push(format!("{}:{line}: {}: {why}", file.path, path.join("::")));
            }
        }
    }
    assert_none("clocks, environment, sleep", &violations);
    Ok(())
}
