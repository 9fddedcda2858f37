//! What a guest asks of its host besides files and sockets, in sensible and in hostile amounts.

mod ending;
mod flood;
mod plain;

use std::process::ExitCode;

/// What it can do.
#[rustfmt::skip]
const CASES: &[case::Case] = &[
    ("args", "...: prints every argument", plain::args),
    ("env", "[NAME...]: prints these variables, or all, sorted", plain::env),
    ("cwd", ": prints the working directory", plain::cwd),
    ("stdin", ": gives back its input line by line", plain::stdin),
    ("terminal", ": tells whether its streams are a terminal", plain::terminal),
    ("clock", ": tells both clocks and their steps", plain::clock),
    ("lines", "COUNT [PAUSE_MS]: prints numbered lines", plain::lines),
    ("sleep", "[SECONDS]: prints `sleeping`, then sleeps that long or for ever", plain::sleep),
    ("exit", "CODE [TEXT]: prints TEXT and ends with any code", ending::exit),
    ("trap", ": executes `unreachable`", ending::trap),
    ("panic", "[TEXT]", ending::panic),
    ("fail-once", "PATH [CODE]: fails unless PATH exists, which it creates", ending::fail_once),
    ("log", "MIB [LINE_BYTES]: floods standard output", flood::log),
    ("line", "BYTES: one line without an end", flood::line),
    ("bytes", ": every byte from 0 to 255 and a sequence that clears a terminal", flood::bytes),
    ("random", "MIB [CALL_BYTES]: asks for random bytes", flood::random),
    ("pollables", "[COUNT]: makes timers and never drops them (0.2 only)", flood::pollables),
    ("poll", "[COUNT]: one poll over that many timers (0.2 only)", flood::poll),
    ("timers", "[COUNT]: sleeps of 1 ns, one after the other", flood::timers),
];

fn main() -> ExitCode {
    case::run(CASES)
}
