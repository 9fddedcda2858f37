//! sh: a shell. The language is in [`crate::shell`]; here are only its arguments.

use std::io::{IsTerminal as _, Write as _};

use crate::call::{Call, Failure, Outcome};
use crate::shell::{self, Shell};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options_first("c e u x l i s")?;
    let mut shell = Shell::new(call.session);
    for letter in ["e", "u", "x"] {
        if options.has(letter) {
            shell.set_option(letter, true);
        }
    }
    let has_text = options.has("c");
    let mut words = options.operands.into_iter();
    let text = if has_text {
        let text = words
            .next()
            .ok_or_else(|| Failure::usage("-c: its text is missing"))?;
        if let Some(name) = words.next() {
            shell.name = name;
        }
        text
    } else if let Some(file) = words.next() {
        let bytes = call.open(&file)?.all()?;
        shell.name = file;
        String::from_utf8_lossy(&bytes).into_owned()
    } else {
        return interactive(call, &mut shell);
    };
    shell.positional = words.collect();
    Ok(shell.script(&text, call.streams))
}

/// Runs its input command by command, with a prompt if it is a terminal.
fn interactive(call: &Call<'_>, shell: &mut Shell) -> Outcome {
    let prompts = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let prompt = |text: &str| {
        if prompts {
            // A prompt that nobody sees is no reason to end.
            let _ = write!(&call.streams.err, "{text}");
            let _ = (&call.streams.err).flush();
        }
    };
    let mut pending = String::new();
    prompt("$ ");
    loop {
        let line = call.streams.input.line()?;
        if line.is_empty() {
            break;
        }
        pending.push_str(&String::from_utf8_lossy(&line));
        if shell::is_incomplete(&pending) {
            prompt("> ");
            continue;
        }
        let code = shell.script(&std::mem::take(&mut pending), call.streams);
        if shell.has_ended() {
            return Ok(code);
        }
        prompt("$ ");
    }
    if pending.is_empty() {
        Ok(shell.status)
    } else {
        Ok(shell.script(&pending, call.streams))
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn scripts_come_from_words_files_and_input() {
        let room = Room::new();
        room.file("script", "echo $0 $1 $#\n");
        let cases: [(&[&str], &str, &str, u8); 7] = [
            (
                &["sh", "-c", "echo $0 $1", "name", "one"],
                "",
                "name one\n",
                0,
            ),
            (&["sh", "script", "a", "b"], "", "script a 2\n", 0),
            (
                &["sh"],
                "x=1\nif true\nthen echo $x\nfi\nexit 3\necho no\n",
                "1\n",
                3,
            ),
            (&["sh"], "read line\nhello\necho $line\n", "hello\n", 0),
            (&["sh", "-ec", "false; echo no"], "", "", 1),
            (&["sh"], "echo 'a\n", "", 2),
            (&["sh"], "", "", 0),
        ];
        for (words, input, out, code) in cases {
            let ran = room.run_with(words, input);
            assert_eq!(
                (ran.out.as_str(), ran.code),
                (out, code),
                "{words:?} {input:?}: {}",
                ran.err
            );
        }
        assert_eq!(room.run(&["sh", "-c"]).code, 2);
        assert_eq!(room.run(&["sh", "none"]).code, 1);
    }
}
