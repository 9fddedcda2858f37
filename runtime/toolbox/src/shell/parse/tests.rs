//! Texts and whether they are scripts; what scripts do is tested with the shell.

use super::{SyntaxError, script};
use crate::shell::syntax::{Command, Compound, Part};

/// Texts that are scripts.
const WHOLE: [&str; 19] = [
    "",
    "# nothing",
    "a;b\nc",
    "a &&\n b ||\n\n c",
    "if a; then b; elif c; then d; else e; fi",
    "for x\ndo\n  a\ndone",
    "for x in; do a; done",
    "case x in esac",
    "case x in (a|b) c;; d) e\nesac",
    "f() { a; }",
    "f () (a)",
    "{ a; } > b 2>&1",
    "a <<E\nb\nE\nc",
    "a <<E <<F\n1\nE\n2\nF",
    "echo if then fi }",
    "a=1 b=2",
    "$(a $(b `c`))",
    "echo ${x:-${y:-z}} $((1 + (2 * 3)))",
    "! ! a",
];

/// Texts that further lines could make scripts.
const HALVES: [&str; 20] = [
    "if a",
    "if a; then",
    "while a; do b",
    "echo 'a",
    "echo \"a",
    "echo $(a",
    "echo ${a",
    "echo `a",
    "a |",
    "a &&",
    "{ a",
    "(a",
    "case x in a) b;;",
    "a <<E\nb",
    "for x in a",
    "f() {",
    "echo a\\",
    "echo $((1",
    "a >",
    "!",
];

/// Texts that nothing makes scripts.
const NONSENSE: [&str; 14] = [
    "fi",
    "a & b",
    "a &",
    ")",
    "a ;; b",
    "if ; then",
    "{ }",
    "()",
    "a ||| b",
    "; a",
    "echo ${x!}",
    "do",
    "a | ; b",
    "a (b)",
];

#[test]
fn whole_scripts_are_told_from_halves_and_from_nonsense() {
    for text in WHOLE {
        assert!(script(text).is_ok(), "{text:?}: {:?}", script(text));
    }
    for text in HALVES {
        let parsed = script(text);
        assert!(
            matches!(parsed, Err(SyntaxError::Incomplete(_))),
            "{text:?}: {parsed:?}"
        );
    }
    for text in NONSENSE {
        let parsed = script(text);
        assert!(
            matches!(parsed, Err(SyntaxError::Wrong(_))),
            "{text:?}: {parsed:?}"
        );
    }
}

#[test]
fn errors_name_the_line() {
    let error = script("a\nb\nfi\n").unwrap_err();
    assert_eq!(error.to_string(), "syntax: `fi` is unexpected in line 3");
}

#[test]
fn nesting_has_an_end() {
    for (open, close) in [
        ("(", ")"),
        ("$(", ")"),
        ("{ ", ";}"),
        ("${x:-", "}"),
        ("! ", ""),
        ("$((", "))"),
        ("`\\`", ""),
        ("\"$(", ")\""),
    ] {
        let text = format!("{}a{}", open.repeat(50_000), close.repeat(50_000));
        // Whatever it is, it is an answer and no overflow.
        let _ = script(&text);
    }
    let deep = format!("{}a{}", "(".repeat(200), ")".repeat(200));
    assert!(matches!(script(&deep), Err(SyntaxError::Wrong(_))));
}

#[test]
fn words_are_made_of_their_parts() {
    let parsed = script("case a in b) c ;; esac; echo 'a'b\"c$d\"*").unwrap();
    let commands: Vec<&Command> = parsed
        .iter()
        .flat_map(|list| &list.first.commands)
        .collect();
    assert!(
        matches!(commands[0], Command::Compound(Compound::Case { arms, .. }, _) if arms.len() == 1)
    );
    let Command::Simple(simple) = commands[1] else {
        panic!("{:?}", commands[1])
    };
    let word = &simple.words[1];
    assert!(
        matches!(word.as_slice(), [Part::Quoted(a), Part::Literal(b), Part::DoubleQuoted(_), Part::Glob('*')]
            if a == "a" && b == "b"),
        "{word:?}"
    );
}
