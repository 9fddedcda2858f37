//! Scripts with what they must write and the exit code they must give.

use crate::command::testing::Room;

/// Runs each script; standard error must stay empty.
fn check(cases: &[(&str, &str, u8)]) {
    let room = Room::new();
    room.file("a.txt", "A\n");
    room.file("b.txt", "B\n");
    room.file("d/c.txt", "C\n");
    for (script, out, code) in cases {
        let ran = room.sh(script);
        assert_eq!(
            (ran.out.as_str(), ran.err.as_str(), ran.code),
            (*out, "", *code),
            "{script}"
        );
    }
}

#[test]
fn lists_and_conditions() {
    check(&[
        ("true && echo yes || echo no", "yes\n", 0),
        ("false && echo yes || echo no", "no\n", 0),
        ("false; echo $?", "1\n", 0),
        ("true; false", "", 1),
        ("! true", "", 1),
        ("! false && echo yes", "yes\n", 0),
        (
            "if false; then echo a; elif true; then echo b; else echo c; fi",
            "b\n",
            0,
        ),
        ("if false; then echo a; fi; echo $?", "0\n", 0),
        ("if [ -f a.txt ]; then echo there; fi", "there\n", 0),
        (
            "case foo.txt in *.md) echo md;; f*.txt|x) echo txt;; *) echo other;; esac",
            "txt\n",
            0,
        ),
        ("case '*' in '\\*') echo a;; \\*) echo b;; esac", "b\n", 0),
        ("exit 7; echo no", "", 7),
        ("{ echo a; echo b; } | tail -n 1", "b\n", 0),
        ("(exit 3); echo $?", "3\n", 0),
        ("# only a comment\n\n", "", 0),
    ]);
}

#[test]
fn loops() {
    check(&[
        ("for x in a b c; do echo $x; done", "a\nb\nc\n", 0),
        (
            "for x in a b c; do [ $x = b ] && continue; echo $x; done",
            "a\nc\n",
            0,
        ),
        (
            "for x in a b; do for y in 1 2; do break 2; done; echo no; done; echo $x$y",
            "a1\n",
            0,
        ),
        (
            "i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; echo $i",
            "3\n",
            0,
        ),
        (
            "until [ \"$x\" = aaa ]; do x=a$x; done; echo $x",
            "aaa\n",
            0,
        ),
        (
            "printf '1\\n2\\n' | while read n; do echo n$n; done",
            "n1\nn2\n",
            0,
        ),
        (
            "while read line; do echo $line; break; done < a.txt",
            "A\n",
            0,
        ),
        ("for x in $(seq 3); do printf $x; done", "123", 0),
        ("for x in *.txt; do echo $x; done", "a.txt\nb.txt\n", 0),
        ("while false; do :; done; echo $?", "0\n", 0),
    ]);
}

#[test]
fn words_and_quotes() {
    check(&[
        ("x='a  b'; echo $x; echo \"$x\"", "a b\na  b\n", 0),
        (
            "echo '$HOME' \"$HOME\" \\$HOME ~",
            "$HOME /home $HOME /home\n",
            0,
        ),
        (
            "x=1; echo ${x}y ${x:-2} ${none:-2} ${none-3} ${x:+set} ${none:+set}",
            "1y 1 2 3 set\n",
            0,
        ),
        ("echo ${new:=5}; echo $new", "5\n5\n", 0),
        (
            "f=/a/b.tar.gz; echo ${f##*/} ${f#*/} ${f%.*} ${f%%.*} ${#f}",
            "b.tar.gz a/b.tar.gz /a/b.tar /a/b 11\n",
            0,
        ),
        ("echo $(echo a; echo b) `echo c`", "a b c\n", 0),
        ("x=$(false); echo $?", "1\n", 0),
        (
            "echo $((1 + 2 * 3)) $((7 / 2)) $((2 ** 10)) $(( 1 < 2 ? 5 : 6 ))",
            "7 3 1024 5\n",
            0,
        ),
        ("echo *.txt d/*.txt none*", "a.txt b.txt d/c.txt none*\n", 0),
        ("echo '*.txt' \"*.txt\" \\*.txt", "*.txt *.txt *.txt\n", 0),
        ("x='*.txt'; echo $x \"$x\"", "a.txt b.txt *.txt\n", 0),
        (
            "set -- 'a b' c; for x in \"$@\"; do echo [$x]; done; echo $# $2 \"$*\"",
            "[a b]\n[c]\n2 c a b c\n",
            0,
        ),
        (
            "set --; for x in \"$@\"; do echo no; done; echo $#",
            "0\n",
            0,
        ),
        ("IFS=:; x=a:b; set -- $x; echo $1-$2", "a-b\n", 0),
        ("echo a\"b\"'c'd", "abcd\n", 0),
        ("echo \"a\\\"b\\$c\\d\"", "a\"b$c\\d\n", 0),
        ("echo ''", "\n", 0),
        ("echo a\\\nb", "ab\n", 0),
        ("echo $((x = 5)) $x $((x++ + 1)) $x", "5 5 6 6\n", 0),
        ("set -- 3 4; echo $(($1 * $2)) $(( $# ))", "12 2\n", 0),
        (
            "echo ${x:-'a  b'} ${x:-a  b} \"${x:-a  b}\" \"${x:-\"c d\"}\"",
            "a  b a b a  b c d\n",
            0,
        ),
        ("x=a.b; echo \"${x%.*}\" \"${x#*.}\"", "a b\n", 0),
    ]);
}

#[test]
fn variables_and_functions() {
    check(&[
        (
            "x=1; env | grep -c ^x=; export x; env | grep ^x=",
            "0\nx=1\n",
            0,
        ),
        ("x=1 env | grep ^x=; echo [$x]", "x=1\n[]\n", 0),
        (
            "f() { echo $1 $#; return 4; }; f a b; echo $?",
            "a 2\n4\n",
            0,
        ),
        (
            "x=out; f() { local x=in; echo $x; }; f; echo $x",
            "in\nout\n",
            0,
        ),
        ("f() { x=in; }; f; echo $x", "in\n", 0),
        ("x=1; (x=2; echo $x); echo $x", "2\n1\n", 0),
        ("x=1; unset x; echo ${x-unset}", "unset\n", 0),
        ("echo 'a b c' | { read x y; echo $y-$x; }", "b c-a\n", 0),
        ("echo x=5 > vars; . ./vars; echo $x", "5\n", 0),
        ("eval 'x=3; echo $x'", "3\n", 0),
        ("set -- a b c; shift 2; echo $1", "c\n", 0),
        (
            "cd d && pwd | sed 's/.*\\///' && cat c.txt && cd .. && cat a.txt",
            "d\nC\nA\n",
            0,
        ),
        (
            "command -v ls cd; command -v none; echo $?",
            "ls\ncd\n127\n",
            0,
        ),
        (
            "type cd ls",
            "cd: a shell builtin\nls: a command of wasmpod's toolbox\n",
            0,
        ),
        ("exec echo a; echo no", "a\n", 0),
        ("exec false", "", 1),
    ]);
}

#[test]
fn redirections_and_pipes() {
    check(&[
        (
            "echo one > out; echo two >> out; cat < out",
            "one\ntwo\n",
            0,
        ),
        ("echo a | tr a b | tr b c", "c\n", 0),
        ("false | true", "", 0),
        ("true | false", "", 1),
        ("ls none 2>&1 | grep -c none", "1\n", 0),
        (
            "ls none 2> err; cat err",
            "ls: none: No such file or directory\n",
            0,
        ),
        ("ls none > /dev/null 2>&1; echo $?", "1\n", 0),
        ("{ echo out; ls none; } > both 2>&1; wc -l < both", "2\n", 0),
        (
            "x=5; cat <<END\nvalue $x\nEND\ncat <<'END'\nvalue $x\nEND",
            "value 5\nvalue $x\n",
            0,
        ),
        ("for x in a b; do echo $x; done > out; cat out", "a\nb\n", 0),
        ("cat < a.txt | cat - b.txt", "A\nB\n", 0),
        ("echo x | xargs -I {} sh -c 'echo got {}'", "got x\n", 0),
        ("find . -name '*.txt' | sort | head -n 1", "./a.txt\n", 0),
        ("echo a 2>/dev/null >&2 | cat", "", 0),
    ]);
}

#[test]
fn the_options_of_set() {
    check(&[
        ("set -e; false; echo no", "", 1),
        (
            "set -e; false || echo yes; if false; then :; fi; ! true; echo on",
            "yes\non\n",
            0,
        ),
        (
            "set -e; f() { false; echo in; }; f && echo yes; echo on",
            "in\nyes\non\n",
            0,
        ),
        ("set -e; (exit 3); echo no", "", 3),
        ("set -e; true && false; echo no", "", 1),
        ("set -e; false && true; echo on", "on\n", 0),
        ("set -f; echo *", "*\n", 0),
        ("set -eu; set +e; false; echo $-", "u\n", 0),
        ("set -o errexit; false; echo no", "", 1),
    ]);
    let room = Room::new();
    let ran = room.sh("set -x; x=1; echo $x");
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        ("1\n", "+ x=1\n+ echo 1\n")
    );
}

#[test]
fn what_goes_wrong_is_told() {
    let room = Room::new();
    let cases = [
        ("if", "syntax", 2),
        ("echo 'a", "syntax", 2),
        ("set -u; echo $none", "is not set", 2),
        ("echo ${x:?is needed}", "is needed", 2),
        ("echo $((1 / 0))", "division by zero", 2),
        ("readonly x=1; x=2", "read-only", 2),
        ("sleep 1 &", "nothing runs in the background", 2),
        ("echo a > none/x; echo $?", "none/x: No such file", 0),
        ("cat < none", "none: No such file", 1),
        ("echo a >&5", "descriptor 5", 2),
        ("none", "no such command", 127),
        ("cd none", "cd: none", 1),
        ("./none.wasm", "no such command", 127),
        ("f() { f; }; f", "in each other", 2),
        ("local x=1", "only within a function", 2),
        ("bash -c x", "use `sh`", 127),
    ];
    for (script, text, code) in cases {
        let ran = room.sh(script);
        assert!(ran.err.contains(text), "{script}: {}", ran.err);
        assert_eq!(ran.code, code, "{script}: {}", ran.err);
    }
}
