//! sed: edits lines. The commands `s`, `d`, `p` and `q`, with addresses; nothing that holds text.

mod script;

use std::io::Write as _;

use crate::call::{Call, Failure, Outcome};
use crate::regular::Notation;
use crate::streams::{Input, Output};
use script::{Action, Step};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let mut options =
        call.options("n,quiet,silent e:,expression: E,regexp-extended r i,in-place s")?;
    let mut texts: Vec<String> = options.values("e").map(str::to_owned).collect();
    if texts.is_empty() {
        if options.operands.is_empty() {
            return Err(Failure::usage("name a script"));
        }
        texts.push(options.operands.remove(0));
    }
    let extended = options.has("E") || options.has("r");
    let notation = if extended {
        Notation::Extended
    } else {
        Notation::Basic
    };
    let mut steps = script::parse(&texts.join("\n"), notation)?;
    let quiet = options.has("n");
    if options.has("i") {
        return call.each_path(&options.operands, |name| {
            let input = Input::bytes(call.session.read(name)?.all()?);
            let out = call.session.write(name, false)?;
            steps.iter_mut().for_each(Step::restart);
            edit(&mut steps, quiet, &[input], &out)?;
            (&out).flush()
        });
    }
    let mut inputs = Vec::new();
    let code = call.each_input(&options.operands, |_, input| {
        inputs.push(input.clone());
        Ok(())
    })?;
    edit(&mut steps, quiet, &inputs, &call.streams.out)?;
    Ok(code)
}

/// Edits all inputs as one text.
fn edit(steps: &mut [Step], quiet: bool, inputs: &[Input], out: &Output) -> std::io::Result<()> {
    let mut out = out;
    let mut lines = inputs.iter().flat_map(Input::lines).peekable();
    let mut number = 0;
    while let Some(line) = lines.next() {
        number += 1;
        let mut text = String::from_utf8_lossy(&line?).into_owned();
        let is_last = lines.peek().is_none();
        let (mut deleted, mut quits) = (false, false);
        for step in &mut *steps {
            if !step.applies(number, is_last, &text) {
                continue;
            }
            match &step.action {
                Action::Delete => deleted = true,
                Action::Quit => quits = true,
                Action::Print => writeln!(out, "{text}")?,
                Action::Substitute(substitution) => {
                    if let Some(changed) = substitution.apply(&text) {
                        text = changed;
                        if substitution.prints {
                            writeln!(out, "{text}")?;
                        }
                    }
                }
            }
            if deleted || quits {
                break;
            }
        }
        if !quiet && !deleted {
            writeln!(out, "{text}")?;
        }
        if quits {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn lines_are_edited() {
        let room = Room::new();
        let text = "one\ntwo\nthree\n";
        let cases: [(&[&str], &str); 18] = [
            (&["s/o/0/"], "0ne\ntw0\nthree\n"),
            (&["s/e/E/g"], "onE\ntwo\nthrEE\n"),
            (&["s/e/E/2"], "one\ntwo\nthreE\n"),
            (&["-n", "s/o/0/p"], "0ne\ntw0\n"),
            (&["2d"], "one\nthree\n"),
            (&["$d"], "one\ntwo\n"),
            (&["-n", "2,3p"], "two\nthree\n"),
            (&["-n", "/two/,$p"], "two\nthree\n"),
            (&["/t/!d"], "two\nthree\n"),
            (&["1q"], "one\n"),
            (&["s/\\(.\\)\\(.\\)/\\2\\1/"], "noe\nwto\nhtree\n"),
            (&["-E", "s/(t)(.)/[&]/"], "one\n[tw]o\n[th]ree\n"),
            (&["s|e|/|"], "on/\ntwo\nthr/e\n"),
            (&["s/O/x/i"], "xne\ntwx\nthree\n"),
            (&["-e", "1d", "-e", "s/^/> /"], "> two\n> three\n"),
            (&["1d;s/$/!/"], "two!\nthree!\n"),
            (&["s/x*/-/g"], "-o-n-e-\n-t-w-o-\n-t-h-r-e-e-\n"),
            (&["s/n/a\\nb\\&/"], "oa\nb&e\ntwo\nthree\n"),
        ];
        for (words, wanted) in cases {
            let words: Vec<&str> = ["sed"].iter().chain(words).copied().collect();
            let ran = room.run_with(&words, text);
            assert_eq!(
                (ran.out.as_str(), ran.err.as_str()),
                (wanted, ""),
                "{words:?}"
            );
        }
    }

    #[test]
    fn files_are_edited_in_place() {
        let room = Room::new();
        room.file("a", "x\n");
        room.file("b", "x\nx\n");
        assert_eq!(room.run(&["sed", "-i", "1s/x/y/", "a", "b"]).code, 0);
        assert_eq!(
            (room.read("a"), room.read("b")),
            ("y\n".to_owned(), "y\nx\n".to_owned())
        );
    }

    #[test]
    fn scripts_that_it_does_not_know_are_refused() {
        let room = Room::new();
        for script in ["y/a/b/", "s/a", "s/a/b/z", "/a", "2,", "s/\\(/x/"] {
            assert_eq!(room.run_with(&["sed", script], "a\n").code, 2, "{script}");
        }
    }
}
