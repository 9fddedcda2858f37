//! Redirections: what the three descriptors of a command are.

use std::io::{self, Write as _};

use super::syntax::{Redirect, RedirectKind};
use super::{Fatal, Shell};
use crate::call::reason;
use crate::streams::{Input, Output, Streams};

/// The most descriptors that a script may name: 0, 1 and 2.
const DESCRIPTORS: u16 = 3;

// === impl Shell ===

impl Shell {
    /// The streams after these redirections, in their order. Nothing where one of them failed:
    /// that is told by then, and the command does not run.
    pub(super) fn redirected(
        &mut self,
        redirects: &[Redirect],
        streams: &Streams,
    ) -> Result<Option<Streams>, Fatal> {
        let mut changed = streams.clone();
        for redirect in redirects {
            if let Err((name, error)) = self.redirect(redirect, &mut changed)? {
                // When standard error is gone, the exit code still tells.
                let _ = writeln!(&streams.err, "{}: {name}: {}", self.name, reason(&error));
                self.status = 1;
                return Ok(None);
            }
        }
        Ok(Some(changed))
    }

    /// The inner result is about the file, the outer one about the script.
    fn redirect(
        &mut self,
        redirect: &Redirect,
        streams: &mut Streams,
    ) -> Result<Result<(), (String, io::Error)>, Fatal> {
        let text = self.text(&redirect.target, streams)?;
        let number = redirect.descriptor;
        let opened = match redirect.kind {
            RedirectKind::Here => {
                set_input(number, Input::bytes(text.into_bytes()), streams)?;
                return Ok(Ok(()));
            }
            RedirectKind::Read => match self.session().read(&text) {
                Ok(input) => {
                    set_input(number, input, streams)?;
                    return Ok(Ok(()));
                }
                Err(error) => Err(error),
            },
            RedirectKind::DuplicateInput => {
                match text.as_str() {
                    "0" => {}
                    "-" => set_input(number, Input::empty(), streams)?,
                    other => return Err(no_such(other)),
                }
                return Ok(Ok(()));
            }
            RedirectKind::Write => self.session().write(&text, false),
            RedirectKind::Append => self.session().write(&text, true),
            RedirectKind::DuplicateOutput => match text.as_str() {
                "1" => Ok(streams.out.clone()),
                "2" => Ok(streams.err.clone()),
                "-" => Ok(Output::null()),
                other => return Err(no_such(other)),
            },
        };
        match opened {
            Ok(output) => set_output(number, output, streams).map(Ok),
            Err(error) => Ok(Err((text, error))),
        }
    }
}

fn set_input(number: Option<u16>, input: Input, streams: &mut Streams) -> Result<(), Fatal> {
    match number.unwrap_or(0) {
        0 => streams.input = input,
        other => return Err(no_such(other)),
    }
    Ok(())
}

fn set_output(number: Option<u16>, output: Output, streams: &mut Streams) -> Result<(), Fatal> {
    match number.unwrap_or(1) {
        1 => streams.out = output,
        2 => streams.err = output,
        other => return Err(no_such(other)),
    }
    Ok(())
}

fn no_such(descriptor: impl std::fmt::Display) -> Fatal {
    Fatal::new(format!(
        "descriptor {descriptor}: there are input 0 and outputs 1 and 2, {DESCRIPTORS} in all"
    ))
}
