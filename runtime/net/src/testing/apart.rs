//! A test that needs a process of its own: it runs a second time there, or says that it cannot.

use std::io::Write as _;
use std::process::Command;

/// Says that this process is that one.
const APART: &str = "NET_TEST_APART";

/// A network namespace without anything but loopback.
pub(crate) const OWN_NETWORK: &[&str] = &["unshare", "--net"];

/// A process that may open no low port, unless everybody may.
pub(crate) const WITHOUT_LOW_PORTS: &[&str] = &["setpriv", "--bounding-set=-net_bind_service"];

/// Says that the calling test is skipped, and why: past the test runner, which would keep it to
/// itself.
pub(crate) fn skip(why: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    // In one piece, as others write there too.
    let line = format!("skipped: {name}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

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
