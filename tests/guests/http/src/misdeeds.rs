//! Everything but an answer.

use wasip2::http::types::{ErrorCode, ResponseOutparam};

use crate::answer::{Answer, text};

pub(crate) fn answer(what: &str, out: ResponseOutparam) {
    match what {
        "nothing" => {}
        "error" => ResponseOutparam::set(out, Err(ErrorCode::HttpRequestDenied)),
        "early" => text(out, 103, "hints\n"),
        "wordy" => {
            let words = "word ".repeat(100_000);
            ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some(words))));
        }
        "trap" => panic!("as asked"),
        "cut" => {
            let mut answer = Answer::begin(out, 200, &[]);
            answer.write(b"half of it");
            // So that it is under way.
            std::thread::sleep(std::time::Duration::from_millis(300));
            panic!("before the other half");
        }
        "long" => {
            let mut answer = Answer::begin(out, 200, &[("content-length", "4")]);
            answer.write(b"more than that");
        }
        "spin" => {
            println!("spin begins");
            loop {
                std::hint::black_box(0);
            }
        }
        "hoard" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        "exit" => std::process::exit(3),
        _ => text(out, 404, "no such path\n"),
    }
}
