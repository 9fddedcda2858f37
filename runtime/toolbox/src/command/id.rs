//! id, whoami and hostname: who this is, as far as a guest can know.

use std::io::Write as _;

use crate::call::{Call, Failure, Outcome};

/// WASI has no users: the guest may do in its mounts whatever their owner may, as root may elsewhere.
const NUMBER: &str = "0";
const NAME: &str = "root";

pub(crate) fn id(call: &Call<'_>) -> Outcome {
    let options = call.options("u,user g,group n,name")?;
    let shown = match (options.has("u") || options.has("g"), options.has("n")) {
        (true, true) => NAME.to_owned(),
        (true, false) => NUMBER.to_owned(),
        (false, _) => format!("uid={NUMBER}({NAME}) gid={NUMBER}({NAME})"),
    };
    writeln!(&call.streams.out, "{shown}")?;
    Ok(0)
}

pub(crate) fn whoami(call: &Call<'_>) -> Outcome {
    writeln!(&call.streams.out, "{NAME}")?;
    Ok(0)
}

/// Kubernetes sets HOSTNAME and /etc/hostname in every container.
pub(crate) fn hostname(call: &Call<'_>) -> Outcome {
    let from_file = || call.session.read("/etc/hostname").ok()?.line().ok();
    let name = match call.session.env.get("HOSTNAME") {
        Some(name) => name.clone(),
        None => String::from_utf8_lossy(&from_file().unwrap_or_default())
            .trim()
            .to_owned(),
    };
    if name.is_empty() {
        return Err(Failure::new("neither $HOSTNAME nor /etc/hostname tells it"));
    }
    writeln!(&call.streams.out, "{name}")?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn a_guest_is_told_who_it_is() {
        Room::new().check(&[
            ("id -u", "", "0\n"),
            ("id", "", "uid=0(root) gid=0(root)\n"),
            ("whoami", "", "root\n"),
            ("env HOSTNAME=web-0 hostname", "", "web-0\n"),
        ]);
    }
}
