//! help and which: what there is.

use std::io::Write as _;

use crate::call::{Call, Failure, Outcome};
use crate::command::{self, ABSENT, ALL};

const INTRODUCTION: &str = "\
wasmpod's toolbox: commands for exec and exec probes in wasm pods. They run with the container's
mounts, network and environment. WASI starts no processes: a pipe is a buffer, nothing runs in the
background, and other programs are exec'ed directly (kubectl exec POD -- /path/tool.wasm).
";

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let mut out = &call.streams.out;
    let Some(name) = call.args.first() else {
        writeln!(out, "{INTRODUCTION}")?;
        for command in ALL {
            writeln!(out, "  {:<10} {}", command.name, command.about)?;
        }
        return Ok(0);
    };
    if let Some((name, remedy)) = ABSENT.iter().find(|(absent, _)| absent == name) {
        writeln!(out, "{name}: not here: {remedy}")?;
        return Ok(0);
    }
    match command::find_by_name(name) {
        Some(command) => {
            writeln!(
                out,
                "{} {}\n    {}",
                command.name, command.usage, command.about
            )?;
            Ok(0)
        }
        None => Err(Failure::new(format!(
            "{name}: no such command; there are: {}",
            command::names()
        ))),
    }
}

pub(crate) fn which(call: &Call<'_>) -> Outcome {
    let mut code = 0;
    for name in call.args {
        match command::find_by_name(name) {
            Some(command) => writeln!(&call.streams.out, "{}: in wasmpod's toolbox", command.name)?,
            None => code = 1,
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn every_command_is_listed_and_told_of() {
        let room = Room::new();
        let all = room.run(&["help"]).out;
        for command in super::ALL {
            assert!(all.contains(command.about), "{}", command.name);
            let one = room.run(&["help", command.name]);
            assert!(
                one.code == 0 && one.out.contains(command.usage),
                "{}",
                command.name
            );
        }
        assert!(room.run(&["help", "ps"]).out.contains("kubectl"));
        assert_eq!(room.run(&["help", "nonsense"]).code, 1);
        assert_eq!(room.run(&["which", "ls", "nonsense"]).code, 1);
        assert_eq!(room.run(&["which", "ls"]).out, "ls: in wasmpod's toolbox\n");
    }
}
