//! xargs: runs a command with words from its input.

use crate::call::{Call, Failure, Outcome};
use crate::command;
use crate::streams::{Input, Streams};

/// Words given to one call where `-n` does not say: far below what a host takes as arguments.
const MOST: usize = 1000;

/// Exit code where some command failed, as POSIX has it.
const FAILED: u8 = 123;

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options_first("n:,max-args: I: r,no-run-if-empty 0,null d:")?;
    let text = String::from_utf8_lossy(&call.streams.input.all()?).into_owned();
    let words: Vec<&str> = match (options.has("0"), options.has("I")) {
        (true, _) => text.split('\0').filter(|word| !word.is_empty()).collect(),
        (false, true) => text
            .lines()
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect(),
        (false, false) => text.split_whitespace().collect(),
    };
    let most = if options.has("I") {
        1
    } else {
        options.number("n", MOST)?
    };
    if most == 0 {
        return Err(Failure::usage("-n: at least 1"));
    }
    let echo = ["echo".to_owned()];
    let command = if options.operands.is_empty() {
        &echo
    } else {
        options.operands.as_slice()
    };
    let streams = Streams {
        input: Input::empty(),
        ..call.streams.clone()
    };
    let mut code = 0;
    let empty: &[&str] = &[];
    let runs_once = words.is_empty() && !options.has("r") && !options.has("I");
    for chunk in words.chunks(most).chain(runs_once.then_some(empty)) {
        let line: Vec<String> = match (options.value("I"), chunk) {
            (Some(place), [word]) => command
                .iter()
                .map(|part| part.replace(place, word))
                .collect(),
            _ => command
                .iter()
                .cloned()
                .chain(chunk.iter().map(|&word| word.to_owned()))
                .collect(),
        };
        match command::run(call.session, &streams, &line) {
            0 => {}
            missing @ (command::CANNOT_RUN | command::NOT_FOUND) => return Ok(missing),
            _ => code = FAILED,
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn words_of_the_input_become_arguments() {
        let room = Room::new();
        room.check(&[
            ("xargs", "a b\nc", "a b c\n"),
            ("xargs -n 2 echo x", "a b c", "x a b\nx c\n"),
            ("xargs -I {} echo <{}>", "a b\nc\n", "<a b>\n<c>\n"),
            ("xargs -0", "a b\0c", "a b c\n"),
            ("xargs -r", "", ""),
            ("xargs", "", "\n"),
        ]);
        assert_eq!(room.run_with(&["xargs", "false"], "a").code, 123);
        assert_eq!(room.run_with(&["xargs", "none"], "a").code, 127);
    }
}
