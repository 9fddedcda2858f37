//! env and printenv: variables.

use std::io::Write as _;

use crate::call::{Call, Outcome};
use crate::command;
use crate::session::Session;

pub(crate) fn env(call: &Call<'_>) -> Outcome {
    let options = call.options_first("i,ignore-environment u:,unset:")?;
    let mut session = call.session.clone();
    if options.has("i") {
        session.env.clear();
    }
    for name in options.values("u") {
        session.env.remove(name);
    }
    let mut words = options.operands.as_slice();
    while let Some((first, rest)) = words.split_first() {
        let Some((name, value)) = first.split_once('=') else {
            break;
        };
        session.env.insert(name.to_owned(), value.to_owned());
        words = rest;
    }
    if words.is_empty() {
        return show(call, &session);
    }
    Ok(command::run(&session, call.streams, words))
}

pub(crate) fn printenv(call: &Call<'_>) -> Outcome {
    if call.args.is_empty() {
        return show(call, call.session);
    }
    let mut code = 0;
    for name in call.args {
        match call.session.env.get(name) {
            Some(value) => writeln!(&call.streams.out, "{value}")?,
            None => code = 1,
        }
    }
    Ok(code)
}

fn show(call: &Call<'_>, session: &Session) -> Outcome {
    for (name, value) in &session.env {
        writeln!(&call.streams.out, "{name}={value}")?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn variables_are_shown_and_given_to_commands() {
        let room = Room::new();
        room.check(&[
            ("env", "", "HOME=/home\n"),
            ("env A=1", "", "A=1\nHOME=/home\n"),
            ("env -i A=1 env", "", "A=1\n"),
            ("env -u HOME B=x=y printenv B", "", "x=y\n"),
            ("printenv HOME", "", "/home\n"),
        ]);
        assert_eq!(room.run(&["printenv", "NONE"]).code, 1);
        assert_eq!(room.run(&["env", "none"]).code, 127);
    }
}
