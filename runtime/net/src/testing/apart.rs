//! A test that needs a process of its own: it runs a second time there.

use std::process::Command;

/// Says that this process is that one.
const APART: &str = "NET_TEST_APART";

/// A network namespace without anything but loopback.
pub(crate) const OWN_NETWORK: &[&str] = &["unshare", "--net"];

/// Runs the calling test a second time, in a process that these words start, and holds it to
/// success there. Whether this is that process, where the test does its work.
pub(crate) fn apart(by: &[&str]) -> bool {
    if std::env::var_os(APART).is_some() {
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let mut command = match by {
        [] => Command::new(own),
        [program, words @ ..] => {
            let mut command = Command::new(program);
            command.args(words).arg(own);
            command
        }
    };
    let thread = std::thread::current();
    let output = command
        .args(["--exact", thread.name().unwrap(), "--nocapture"])
        .env(APART, "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}{err}"
    );
    false
}

/// `ip` with these words, in a namespace of the test's own.
pub(crate) fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status();
    assert!(status.unwrap().success(), "ip {words}");
}
