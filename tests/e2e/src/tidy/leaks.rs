//! What no file of the project may tell: where packages came from, and paths of one machine.

use super::{assert_none, tree};

/// Host names of package registries, in two parts so that this file does not hold them itself.
/// The ordinary clients know where they get packages from; a name here would pin one place.
const REGISTRIES: [(&str, &str); 6] = [
    ("crates", ".io"),
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("registry.npmjs", ".org"),
    ("deb.debian", ".org"),
    ("proxy.golang", ".org"),
];

/// How paths of a developer's machine begin, in two parts for the same reason.
const MACHINE_PATHS: [(&str, &str); 5] = [
    ("/work", "/main"),
    ("/work", "/shared"),
    ("/work", "/."),
    ("/ro", "ot/"),
    ("/ho", "me/"),
];

/// Files that cargo writes.
const WRITTEN_BY_CARGO: &str = "Cargo.lock";

#[test]
fn no_file_names_a_package_registry_or_a_path_of_this_machine() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for file in tree::files()? {
        if file.path.ends_with(WRITTEN_BY_CARGO) {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            let number = number + 1;
            for (start, end) in REGISTRIES {
                if line.contains(&format!("{start}{end}")) {
                    violations.push(format!(
                        "{}:{number}: names the registry {start}{end}",
                        file.path
                    ));
                }
            }
            for (start, end) in MACHINE_PATHS {
                if begins_a_path(line, &format!("{start}{end}")) {
                    violations.push(format!(
                        "{}:{number}: a path of one machine, {start}{end}",
                        file.path
                    ));
                }
            }
        }
    }
    assert_none("leaks", &violations);
    Ok(())
}

/// Whether an absolute path in the line begins so; `{dir}/root/x` and `a/home/b` do not count.
fn begins_a_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "\"'`(=:,[".contains(c))
    })
}

#[test]
fn a_path_is_told_from_the_end_of_another() {
    let home = ["/ho", "me/"].concat();
    let cases = [
        (format!("cd {home}ann"), true),
        (format!("\"{home}ann\""), true),
        (format!("{{dir}}{home}ann"), false),
        (format!("a{home}ann"), false),
        ("cd /var/lib".to_owned(), false),
    ];
    for (line, wanted) in cases {
        assert_eq!(begins_a_path(&line, &home), wanted, "{line}");
    }
}
