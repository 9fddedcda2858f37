//! Lines on the standard streams, each through a stream of its own.

use futures::join;
use wasip3::cli::{stderr, stdout};
use wasip3::wit_stream;

/// A line on standard output.
pub(crate) async fn say(line: &str) {
    print(&format!("{line}\n")).await;
}

/// A text on standard output.
pub(crate) async fn print(text: &str) {
    let (mut writer, reader) = wit_stream::new();
    let written = stdout::write_via_stream(reader);
    let text = text.as_bytes().to_vec();
    let write = async move {
        writer.write_all(text).await;
    };
    // Nobody can be told that standard output is gone.
    let _ = join!(write, async { written.await });
}

/// A line on standard error.
pub(crate) async fn complain(line: &str) {
    let (mut writer, reader) = wit_stream::new();
    let written = stderr::write_via_stream(reader);
    let write = async move {
        writer.write_all(format!("{line}\n").into_bytes()).await;
    };
    let _ = join!(write, async { written.await });
}
